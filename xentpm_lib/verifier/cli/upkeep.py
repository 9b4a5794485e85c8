"""``audit``: everything that decided trust; ``store``: is it what was written, and what can go."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from xentpm_lib.verifier.cli import prompts
from xentpm_lib.verifier.cli.grammar import Commands, add_command, add_group
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import needs_restoring, open_station, restored_station
from xentpm_lib.verifier.operations import upkeep

__all__ = ["add"]

_ERROR = 1


def add(commands: Commands) -> None:
    """Add the commands."""
    _add_audit(commands)
    _add_store(commands)


def _add_audit(commands: Commands) -> None:
    audit = add_group(
        commands,
        "audit",
        "export everything that decided trust",
        "xentpm-attest audit export --output audit.jsonl",
    )
    export = add_command(
        audit,
        "export",
        _export,
        "write all history: enrolments, baselines, policies, changes of state, results, notifications",
        "xentpm-attest audit export --output audit.jsonl",
        "One JSON document a line, with who and when; every record is checked before it is written.",
    )
    export.add_argument("--output", metavar="FILE", help="(default: standard output)")


def _add_store(commands: Commands) -> None:
    store = add_group(
        commands,
        "store",
        "check the store, remove old results",
        "xentpm-attest store check\nxentpm-attest store prune",
    )
    add_command(
        store,
        "check",
        _check,
        "tell whether a record was changed behind the verifier's back",
        "xentpm-attest store check",
        "Also whether one is missing that something rests on: a result that changed a state, a host's newest."
        " Exit status 1 if so.",
    )
    add_command(
        store,
        "prune",
        _prune,
        "remove results that are older than the policies keep them",
        "xentpm-attest store prune",
        "watch does it by itself. The ledger, each host's newest results and its changes of state are"
        " always kept.",
    )
    restored = add_command(
        store,
        "restored",
        _restored,
        "say that an older copy of the store, put back from a backup, counts from now on",
        "xentpm-attest store restored --yes",
        "What was decided after the backup is gone: enrolments, baselines; what was retired counts again."
        " Every other command refuses such a store. The copy's records have to hold; that it was put back"
        " is recorded.",
    )
    restored.add_argument("--yes", action="store_true", help="do not ask")


def _restored(arguments: argparse.Namespace, out: Output) -> int:
    needed = needs_restoring(arguments)
    if needed and not arguments.yes:
        prompts.confirm(
            "Did you put back the store from a backup yourself?",
            "the store was left as it is",
            "If it was not you: find out who has access to it.",
        )
    with restored_station(arguments) if needed else open_station(arguments) as station:
        count = station.registry.seq
    if out.as_json:
        out.document({"entries": count, "restored": needed})
    elif needed:
        out.text(f"The store counts as it is now, with {count} ledger entries.")
        out.note("Next: xentpm-attest store check")
    else:
        out.text(f"Nothing was changed: the store needs no restore, all {count} ledger entries are there.")
    return 0


def _export(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        if arguments.output:
            upkeep.export(station, Path(arguments.output))
            out.note(f"written: {arguments.output}")
        else:
            station.store.audit_export(sys.stdout)
    return 0


def _check(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        checked = upkeep.check(station)
    if out.as_json:
        problems = [{"table": one.table, "row": one.row, "detail": one.detail} for one in checked.problems]
        out.document({"good": not problems, "problems": problems})
    elif not checked.problems:
        out.text("Every record is as it was written.")
    else:
        for one in checked.problems:
            out.text(f"{one.table} {one.row}: {one.detail}")
        out.note(
            "Restore the store from a backup; find out who has access to it. Enrol again if there is no"
            " backup."
        )
    return _ERROR if checked.problems else 0


def _prune(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        gone = upkeep.prune(station)
    if out.as_json:
        out.document({"results": gone.results, "notifications": gone.notifications, "blobs": gone.blobs})
    else:
        out.text(f"removed: {gone.results} results, {gone.notifications} notifications, {gone.blobs} blobs")
    return 0
