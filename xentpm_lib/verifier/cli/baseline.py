"""``baseline``: known-good values. Its commands, and those of them that change what counts for whom."""

from __future__ import annotations

import argparse

from xentpm_lib.verifier.cli import baseline_files, baseline_new, baseline_predict, baseline_view
from xentpm_lib.verifier.cli.grammar import Commands, add_command, add_group
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.targets import add_baseline, add_targets
from xentpm_lib.verifier.operations import baselines

__all__ = ["add"]

_EXAMPLE = """\
xentpm-attest baseline capture --all --label installed
xentpm-attest baseline approve host2 --label "update of March"
xentpm-attest baseline list"""


def add(commands: Commands) -> None:
    """Add the commands."""
    group = add_group(
        commands, "baseline", "known-good values: capture, approve, predict, compare, retire, move", _EXAMPLE
    )
    baseline_new.add(group)
    baseline_predict.add(group)
    baseline_view.add(group)
    retire = add_command(
        group,
        "retire",
        _retire,
        "let a baseline count no more",
        "xentpm-attest baseline retire installed",
        "It stays in the list (--retired) and in the history.",
    )
    add_baseline(retire)
    for name, run, text in (
        ("assign", _assign, "let a baseline count for more hosts or groups"),
        ("unassign", _unassign, "let a baseline count no more for hosts or groups"),
    ):
        command = add_command(
            group, name, run, text, f"xentpm-attest baseline {name} installed --group rack7"
        )
        add_baseline(command)
        add_targets(command)
    baseline_files.add(group)


def _retire(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        reference = baselines.retire(station, arguments.baseline)
        bare = baselines.bare_hosts(station, reference)
        status = baseline_view.tell(out, station, reference)
    if bare:
        out.note(f"No baseline counts any more for {', '.join(bare)}: not trusted until there is one.")
    return status


def _assign(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        reference = baselines.assign(station, arguments.baseline, arguments.host, arguments.group)
        return baseline_view.tell(out, station, reference)


def _unassign(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        reference = baselines.unassign(station, arguments.baseline, arguments.host, arguments.group)
        return baseline_view.tell(out, station, reference)
