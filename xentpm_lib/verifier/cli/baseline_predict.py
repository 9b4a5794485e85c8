"""``baseline predict``: known-good values for a planned update, before the host is restarted."""

from __future__ import annotations

import argparse
from typing import Any

from xentpm_lib.errors import XenTpmError
from xentpm_lib.verifier.cli import prompts, words
from xentpm_lib.verifier.cli.baseline_view import differences_json, reference_json, tell_differences
from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.words import advice
from xentpm_lib.verifier.findings import advice_for
from xentpm_lib.verifier.operations import approving, predicting
from xentpm_lib.verifier.plain import one_line

__all__ = ["add"]

_ID_SHOWN = 8  # characters; as many as may stand for the whole
_WARNING = (
    "No TPM has signed this: it is the host's own word. Whoever controls its dom0 can make it predict a boot"
    " of anything. Say yes only if you yourself have just updated this host, and it was trusted before."
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
            prepared = predicting.prepare(station, host)
        except XenTpmError as error:
            error.hint = advice_for(error.hint or advice(error), station.registry.word_for(host.host_id))
            raise
        if prepared.proposal.counts:
            return _nothing_to_prepare(out, prepared)
        if not (out.as_json and arguments.yes):
            _tell(out, prepared)
        if not arguments.yes:
            prompts.confirm(
                f"Shall {host.name} be trusted when it has booted this?",
                "nothing was prepared",
                "After a look at the differences: --yes prepares without a question.",
            )
        reference = approving.approve(
            station, prepared.proposal, arguments.label, arguments.for_group, retire_old=False
        )
    if out.as_json:
        out.document(_json(prepared, reference_json(reference)))
    else:
        said = (
            reference.label if reference.label.startswith("predicted ") else f"prepared as {reference.label}"
        )
        out.text(f"{host.name}: {said} ({reference.reference_id[:_ID_SHOWN]})")
        word, old = station.registry.word_for(host.host_id), prepared.proposal.nearest
        out.note(f"Next: restart {host.name}; then: xentpm-attest attest {word}")
        if old is not None:
            last = f"xentpm-attest baseline retire {old.reference_id[:_ID_SHOWN]}"
            out.note(f"At last, when no host needs {old.label} any more: {last}")
    return 0


def _nothing_to_prepare(out: Output, prepared: predicting.Prepared) -> int:
    proposal = prepared.proposal
    name = proposal.host.name
    if out.as_json:
        out.document(_json(prepared, None))
    elif proposal.differences and proposal.nearest is not None:
        out.text(f"{name}: {proposal.nearest.label} has the next boot already; nothing to prepare")
    else:
        out.text(f"{name}: the next boot will be the same; nothing to prepare")
    return 0


def _json(prepared: predicting.Prepared, reference: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "baseline": reference,
        "differences": differences_json(prepared.proposal.differences),
        "entry": prepared.entry,
        "notes": list(prepared.notes),
    }


def _tell(out: Output, prepared: predicting.Prepared) -> None:
    """What will be different; beside the result where that is JSON, for nobody prepares unseen."""
    tell = out.note if out.as_json else out.text
    proposal = prepared.proposal
    tell(f"{proposal.host.name} will boot '{one_line(prepared.entry)}'. What will be different then:")
    tell_differences(tell, proposal.differences)
    if prepared.notes:
        tell("The host says that it had to assume:")
        for note in prepared.notes:
            tell(f"    {one_line(note)}")
    tell(_WARNING)
