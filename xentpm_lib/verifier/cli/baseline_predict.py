"""``baseline predict``: known-good values for a planned update, before the host is restarted."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import Any

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.verifier.cli import prompts, words
from xentpm_lib.verifier.cli.baseline_view import differences_json, reference_json, tell_differences
from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.words import advice
from xentpm_lib.verifier.findings import advice_for
from xentpm_lib.verifier.operations import predicting
from xentpm_lib.verifier.operations.group_effect import GroupEffect
from xentpm_lib.verifier.plain import host_says
from xentpm_lib.verifier.records import ReferenceValues
from xentpm_lib.verifier.station import Station

__all__ = ["add"]

_ID_SHOWN = 8  # characters; as many as may stand for the whole
_MAX_TITLE = 80  # characters of a menu entry's title
_MAX_NOTES = 10  # of what a host had to assume
_WARNING = (
    "No TPM has signed this: it is the host's own word, handed on by its pool's master. Whoever controls the"
    " host's dom0, or the pool's master, can make it predict a boot of anything. Say yes only if you yourself"
    " have just updated this host, and it was trusted before."
)


def add(commands: Commands) -> None:
    """Add the command."""
    predict = add_command(
        commands,
        "predict",
        _predict,
        "prepare for a host's next boot, so that a planned update raises no alarm",
        'xentpm-attest baseline predict host2 --label "update of March"',
        "Update the host, do not restart it yet, and predict. The host has to be trusted now. It tells what"
        " its boot loader will measure; the command shows what will be different and wants a yes. Then"
        " restart. The old values go on to count until they are retired: after the update, retire them.\n\n"
        "Only PCR 8 and 9 are predicted: an update of firmware or boot loader changes others as well.",
    )
    predict.add_argument("host", metavar="HOST", help="name or UUID")
    predict.add_argument(
        "--label", type=words.label, help="what to call it (default: predicted, and the date)"
    )
    predict.add_argument(
        "--for-group", action="store_true", help="the values count for the host's group, too"
    )
    predict.add_argument("--yes", action="store_true", help="do not ask")


def _predict(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        host = station.registry.host(arguments.host)
        try:
            prepared = predicting.prepare(station, host, arguments.for_group)
            if prepared.proposal.counts:
                status = _nothing_to_prepare(out, prepared, arguments.label)
                _tell_never_booted(out, station, prepared, prepared.proposal.nearest)
                return status
            if not (out.as_json and arguments.yes):
                _tell(out, prepared)
            if not arguments.yes:
                hint = "After a look at the differences: --yes prepares without a question."
                prompts.confirm(_question(prepared), "nothing was prepared", hint)
            reference = predicting.keep(station, prepared, arguments.label)
        except XenTpmError as error:
            error.hint = advice_for(error.hint or advice(error), station.registry.word_for(host.host_id))
            raise
        if out.as_json:
            out.document(_json(prepared, reference_json(reference)))
        else:
            _tell_prepared(out, station, prepared, reference)
        _tell_never_booted(out, station, prepared, reference)
    return 0


def _tell_never_booted(
    out: Output, station: Station, prepared: predicting.Prepared, but: ReferenceValues | None
) -> None:
    host = prepared.proposal.host
    for one in predicting.never_booted(station, host, but):
        retire = f"xentpm-attest baseline retire {one.reference_id[:_ID_SHOWN]}"
        out.note(f"{host.name} has never booted {one.label}, which counts all the same: {retire}")


def _question(prepared: predicting.Prepared) -> str:
    name, group = prepared.proposal.host.name, prepared.group
    if group is None:
        return f"Shall {name} be trusted when it has booted this?"
    return (
        f"Shall {name}, and every host of the group {group.name} ({_hosts(group.hosts)}), be trusted when it"
        " has booted this?"
    )


def _hosts(number: int) -> str:
    return "1 host" if number == 1 else f"{number} hosts"


def _tell_prepared(
    out: Output, station: Station, prepared: predicting.Prepared, reference: ReferenceValues
) -> None:
    host, old, group = prepared.proposal.host, prepared.proposal.nearest, prepared.group
    label = reference.label
    said = label if label.startswith("predicted ") else f"prepared as {label}"
    whom = "" if group is None else f", for the group {group.name} ({_hosts(group.hosts)})"
    out.text(f"{host.name}: {said} ({reference.reference_id[:_ID_SHOWN]}){whom}")
    word = station.registry.word_for(host.host_id)
    out.note(f"Next: restart {host.name}; then: xentpm-attest attest {word}")
    if old is not None:
        last = f"xentpm-attest baseline retire {old.reference_id[:_ID_SHOWN]}"
        out.note(f"At last, when no host needs {old.label} any more: {last}")


def _nothing_to_prepare(out: Output, prepared: predicting.Prepared, label: str | None) -> int:
    """Raises: UsageError where it counts for the host, and was to count for the group."""
    proposal, group, nearest = prepared.proposal, prepared.group, prepared.proposal.nearest
    name = proposal.host.name
    if group is not None and (nearest is None or group.name not in nearest.groups):
        which = "NAME" if nearest is None else nearest.reference_id[:_ID_SHOWN]
        command = f"xentpm-attest baseline assign {which} --group {shlex.quote(group.name)}"
        message = f"{name} needs nothing, and for the group {group.name} nothing was prepared"
        raise UsageError(message, f"What {name} will boot is known already. For the group: {command}")
    if out.as_json:
        out.document(_json(prepared, None))
    elif proposal.differences and nearest is not None:
        out.text(f"{name}: {nearest.label} has the next boot already; nothing to prepare")
    else:
        out.text(f"{name}: the next boot will be the same; nothing to prepare")
    if label is not None and (nearest is None or nearest.label != label):
        out.note(
            f"--label {shlex.quote(label)} was not used: no baseline was made, and none changes its label."
        )
    return 0


def _json(prepared: predicting.Prepared, reference: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "baseline": reference,
        "differences": differences_json(prepared.proposal.differences),
        "entry": prepared.entry,
        "notes": list(prepared.notes),
    }


def _tell(out: Output, prepared: predicting.Prepared) -> None:
    """What will be different; beside the result where that is JSON, for nobody prepares unseen.

    The host's own sentences come first and are short, so that they cannot stand in for what is below.
    """
    tell = out.note if out.as_json else out.text
    proposal, group = prepared.proposal, prepared.group
    tell(f"The menu entry that {proposal.host.name} will boot: {host_says(prepared.entry, _MAX_TITLE)}")
    if prepared.notes:
        tell("What it had to assume:")
    for note in prepared.notes[:_MAX_NOTES]:
        tell(f"    {host_says(note)}")
    if len(prepared.notes) > _MAX_NOTES:
        tell(f"    {len(prepared.notes) - _MAX_NOTES} more are left out here; --json has them all")
    tell(f"What will be different when {proposal.host.name} has booted it:")
    tell_differences(tell, proposal.differences)
    if group is not None:
        _tell_new_for_group(tell, group)
    tell(_WARNING)


def _tell_new_for_group(tell: Callable[[str], None], group: GroupEffect) -> None:
    for one in group.new:
        tell(f"Known-good for the group {group.name}, too, and new for {_hosts(one.hosts)} of it:")
        tell(f"    PCR {one.pcr} ({one.bank}): {one.what}: {one.value.hex()}")
