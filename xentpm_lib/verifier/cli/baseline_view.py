"""``baseline list``, ``show``, ``diff``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.targets import add_baseline
from xentpm_lib.verifier.cli.words import clock_time
from xentpm_lib.verifier.operations import baselines
from xentpm_lib.verifier.records import ReferenceValues
from xentpm_lib.verifier.reference.diff import Difference, EventChange
from xentpm_lib.verifier.reference.words import change_lines
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.times import format_time

__all__ = ["add", "differences_json", "reference_json", "tell", "tell_differences"]

_ID_SHOWN = 8  # characters; as many as may stand for the whole
_MANY = 20  # events that are more than a screen


def add(commands: Commands) -> None:
    """Add the commands."""
    listing = add_command(
        commands, "list", _list, "list the baselines, and for whom each counts", "xentpm-attest baseline list"
    )
    listing.add_argument("--host", help="only those that count for this host")
    listing.add_argument("--retired", action="store_true", help="the retired ones, too")
    show = add_command(
        commands, "show", _show, "show a baseline's values", "xentpm-attest baseline show installed"
    )
    add_baseline(show)
    diff = add_command(
        commands,
        "diff",
        _diff,
        "show where two baselines differ",
        "xentpm-attest baseline diff installed 'update of March'\nxentpm-attest baseline diff installed"
        " host2",
        "A host's name stands for what it showed at its last attestation. Exit status 0, whether they"
        " differ or not.",
    )
    for dest, metavar in (("first", "A"), ("second", "B")):
        diff.add_argument(dest, metavar=metavar, help="a baseline, or a host")


def tell(out: Output, station: Station, reference: ReferenceValues) -> int:
    """What a baseline is after a change."""
    if out.as_json:
        out.document(reference_json(reference))
    elif reference.retired_at is not None:
        out.text(f"{reference.label} ({reference.reference_id[:_ID_SHOWN]}): retired, it counts for nobody")
    else:
        whom = _whom(station, reference) or "nobody: assign it to hosts or groups"
        out.text(f"{reference.label} ({reference.reference_id[:_ID_SHOWN]}): counts for {whom}")
    out.note_effect()
    return 0


def reference_json(reference: ReferenceValues) -> dict[str, Any]:
    """A baseline for programs."""
    retired = reference.retired_at
    return {
        "id": reference.reference_id,
        "label": reference.label,
        "origin": reference.origin,
        "created_at": format_time(reference.created_at),
        "created_by": reference.created_by,
        "source_host": reference.source_host or None,
        "hosts": sorted(reference.hosts),
        "groups": sorted(reference.groups),
        "retired_at": None if retired is None else format_time(retired),
        "pcrs": {
            bank: {str(pcr): value.hex() for pcr, value in sorted(values.items())}
            for bank, values in reference.pcrs.items()
        },
    }


def tell_differences(tell: Callable[[str], None], found: tuple[Difference, ...]) -> None:
    """Lines for people who decide by them: each register, and every event that differs, with nothing cut.

    Where the logs of both do not tell, that is said.
    """
    for one in found:
        tell(f"PCR {one.pcr} ({one.bank}): {one.what}")
        tell(f"    was  {_value(one.a)}\n    is   {_value(one.b)}")
        if one.events is None:
            tell("    which part of it: not known, for no logs lead to both values")
        for line in change_lines(one.events or (), one.pcr, whole=True):
            tell(f"    {line}")
    many = sum(len(one.events or ()) for one in found)
    if many > _MANY:
        tell(f"{many} measurements differ, and all of them are above: scroll back, and read them all.")


def differences_json(found: tuple[Difference, ...]) -> list[dict[str, Any]]:
    """Differences for programs."""
    return [
        {
            "bank": one.bank,
            "pcr": one.pcr,
            "component": one.what,
            "a": one.a.hex() if one.a else None,
            "b": one.b.hex() if one.b else None,
            "events": None if one.events is None else [_event_json(event) for event in one.events],
        }
        for one in found
    ]


def _value(value: bytes | None) -> str:
    return value.hex() if value else "not recorded"


def _event_json(change: EventChange) -> dict[str, Any]:
    return {
        name: None
        if event is None
        else {"digest": event.digest.hex(), "text": event.text, "proven": event.proven}
        for name, event in (("a", change.a), ("b", change.b))
    }


def _whom(station: Station, reference: ReferenceValues) -> str:
    known = {host.host_id: host.name for host in station.registry.hosts()}
    names = sorted(known.get(one, one) for one in reference.hosts)
    return ", ".join(names + [f"group {group}" for group in sorted(reference.groups)])


def _list(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        found = baselines.listing(station, arguments.host, arguments.retired)
        rows = [
            [
                one.reference_id[:_ID_SHOWN],
                one.label,
                one.origin,
                clock_time(one.created_at),
                one.created_by,
                "retired" if one.retired_at is not None else _whom(station, one),
            ]
            for one in found
        ]
    if out.as_json:
        out.document([reference_json(one) for one in found])
    elif rows:
        out.table(["ID", "LABEL", "ORIGIN", "SINCE", "BY", "COUNTS FOR"], rows)
    else:
        out.note("There are no baselines. Next: xentpm-attest baseline capture --all --label installed")
    return 0


def _show(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        reference = baselines.find(station, arguments.baseline)
        shown = baselines.described(station, reference)
        whom = _whom(station, reference)
    if out.as_json:
        out.document(reference_json(reference))
        return 0
    retired = f", retired {clock_time(reference.retired_at)}" if reference.retired_at is not None else ""
    out.text(f"{reference.label} ({reference.reference_id})")
    out.text(f"{reference.origin} {clock_time(reference.created_at)} by {reference.created_by}{retired}")
    out.text(f"counts for {whom or 'nobody'}\n")
    out.table(["BANK", "PCR", "VALUE", "WHAT IS MEASURED"], [list(map(str, row)) for row in shown])
    return 0


def _diff(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        found = baselines.compare(station, arguments.first, arguments.second)
    if out.as_json:
        out.document(differences_json(found))
    elif found:
        tell_differences(out.text, found)
    else:
        out.text("They do not differ.")
    return 0
