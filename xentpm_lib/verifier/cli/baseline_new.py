"""``baseline capture`` and ``approve``: new known-good values from what hosts show."""

from __future__ import annotations

import argparse
from typing import Any

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.verifier.cli import prompts, words
from xentpm_lib.verifier.cli.baseline_view import differences_json, reference_json, tell_differences
from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.targets import add_host_choice
from xentpm_lib.verifier.cli.words import advice
from xentpm_lib.verifier.findings import advice_for
from xentpm_lib.verifier.operations import approving, choice
from xentpm_lib.verifier.station import Station

__all__ = ["add"]

_ERROR = 1


def add(commands: Commands) -> None:
    """Add the commands."""
    capture = add_command(
        commands,
        "capture",
        _capture,
        "take what hosts show now as known-good",
        "xentpm-attest baseline capture host1 --label installed\n"
        "xentpm-attest baseline capture --all --label installed",
        "Do it when you know that the hosts are good: freshly installed, from media that you checked. The"
        " evidence"
        " has to be authentic; the first baseline of a host is believed as it is.\n\nEach host's values"
        " count for"
        " itself; with --for-group they count for its group as well, apart from registers that carry"
        " serial numbers.",
    )
    add_host_choice(capture, default="none: name them, or say --all")
    capture.add_argument("--all", action="store_true", help="all enrolled hosts")
    capture.add_argument("--label", type=words.label, required=True, help="what to call it")
    capture.add_argument(
        "--for-group", action="store_true", help="the values count for the hosts' groups, too"
    )
    approve = add_command(
        commands,
        "approve",
        _approve,
        "accept what a host shows now, after a look at the differences",
        'xentpm-attest baseline approve host2 --label "update of March"',
        "It asks the host anew, shows what differs from its baseline, and wants a yes. Authentic evidence"
        " only: a"
        " changed key cannot be approved. The old values go on to count unless --retire-old is given.",
    )
    approve.add_argument("host", metavar="HOST", help="name or UUID")
    approve.add_argument(
        "--label", type=words.label, help="what to call it (default: approved, and the date)"
    )
    approve.add_argument(
        "--for-group", action="store_true", help="the values count for the host's group, too"
    )
    approve.add_argument(
        "--retire-old", action="store_true", help="what counted for this host alone is retired"
    )
    approve.add_argument("--yes", action="store_true", help="do not ask")


def _capture(arguments: argparse.Namespace, out: Output) -> int:
    if not (arguments.hosts or arguments.all or arguments.group or arguments.pool):
        raise UsageError("no host was named", "Name hosts, or say --all, --group GROUP or --pool POOL.")
    if arguments.all and arguments.hosts:
        raise UsageError("hosts were named, and --all was said", "Leave out one of the two.")
    with open_station(arguments) as station:
        hosts = choice.chosen_hosts(station, arguments.hosts, arguments.group, arguments.pool)
        with out.progress("asking hosts", len(hosts)) as progress:
            done = approving.capture(
                station,
                hosts,
                arguments.label,
                arguments.for_group,
                lambda host: progress.advance(host.name),
            )
    failed = [one for one in done if one.reference is None]
    if out.as_json:
        out.document([_captured_json(one) for one in done])
    else:
        _tell_captured(done, out, station)
    return _ERROR if failed else 0


def _tell_captured(done: list[approving.Captured], out: Output, station: Station) -> None:
    for one in done:
        if one.reference is not None:
            out.text(f"{one.host.name}: captured as {one.reference.label} ({one.reference.reference_id[:8]})")
    for one in done:
        if one.error is not None:
            host = station.registry.word_for(one.host.host_id)
            hint = advice_for(one.error.hint or advice(one.error), host)
            out.note(
                f"{one.host.name}: not captured: {one.error.message}" + (f"\nhint: {hint}" if hint else "")
            )
    if all(one.reference for one in done):
        out.note("Next: xentpm-attest attest")


def _captured_json(one: approving.Captured) -> dict[str, Any]:
    return {
        "host": {"uuid": one.host.host_id, "name": one.host.name},
        "baseline": reference_json(one.reference) if one.reference else None,
        "error": {"code": one.error.code, "message": one.error.message} if one.error else None,
    }


def _approve(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        host = station.registry.host(arguments.host)
        try:
            proposal = approving.propose(station, host)
        except XenTpmError as error:
            error.hint = advice_for(error.hint or advice(error), station.registry.word_for(host.host_id))
            raise
        if proposal.counts:
            return _nothing_to_approve(out, proposal)
        if not (out.as_json and arguments.yes):
            _tell_proposal(out, proposal)
        if not arguments.yes:
            prompts.confirm(
                f"Is this what {host.name} should boot from now on?",
                "nothing was approved",
                "After a look at the differences: --yes approves without a question.",
            )
        reference = approving.approve(
            station, proposal, arguments.label, arguments.for_group, arguments.retire_old
        )
    if out.as_json:
        out.document(
            {"baseline": reference_json(reference), "differences": differences_json(proposal.differences)}
        )
    else:
        said = (
            reference.label if reference.label.startswith("approved ") else f"approved as {reference.label}"
        )
        out.text(f"{host.name}: {said} ({reference.reference_id[:8]})")
        out.note(f"Next: xentpm-attest attest {station.registry.word_for(host.host_id)}")
    return 0


def _nothing_to_approve(out: Output, proposal: approving.Proposal) -> int:
    if out.as_json:
        out.document({"baseline": None, "differences": []})
    elif proposal.nearest is not None:
        label = proposal.nearest.label
        out.text(f"{proposal.host.name} shows what {label} says: there is nothing to approve.")
    return 0


def _tell_proposal(out: Output, proposal: approving.Proposal) -> None:
    """What an approval would change; beside the result where that is JSON, for nobody approves unseen."""
    tell = out.note if out.as_json else out.text
    if proposal.nearest is None:
        tell(f"{proposal.host.name} has no baseline yet; this is its first.")
    elif proposal.differences:
        tell(f"{proposal.host.name} differs from {proposal.nearest.label}:")
        tell_differences(tell, proposal.differences)
    else:
        tell(
            f"{proposal.host.name} shows what {proposal.nearest.label} says, which does not count for it by"
            " itself; this is its own."
        )
