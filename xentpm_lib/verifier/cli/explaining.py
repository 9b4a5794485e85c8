"""``explain``: why a host is what it is, in plain words; ``history``: how it came to it."""

from __future__ import annotations

import argparse

from xentpm_lib.verifier.cli import words
from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.states_text import exit_status
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.explanation import TEXT_WIDTH
from xentpm_lib.verifier.operations import explaining, history

__all__ = ["add"]

_LIMIT = 50


def add(commands: Commands) -> None:
    """Add the commands."""
    explain = add_command(
        commands,
        "explain",
        _explain,
        "say in plain words why a host is not trusted",
        "xentpm-attest explain host2",
        "Which component changed, since when, what was expected and seen, and what to do; file by file"
        " where the"
        " host's logs tell. It looks at the last attestation; it asks no host. Exit status 3 if the host"
        " is not"
        " trusted.",
    )
    explain.add_argument("host", metavar="HOST", help="name or UUID")
    past = add_command(
        commands,
        "history",
        _history,
        "list what happened to a host",
        "xentpm-attest history host2\nxentpm-attest history host2 --results --notifications --limit 200",
        "Enrolments, baselines, approvals and changes of state, with who and when; with --results every"
        " attestation, with --notifications who was told what, and whether it arrived.",
    )
    past.add_argument("host", metavar="HOST", help="name or UUID")
    past.add_argument("--results", action="store_true", help="every stored attestation")
    past.add_argument("--notifications", action="store_true", help="what was told to which channel")
    past.add_argument(
        "--limit", type=words.count, default=_LIMIT, help="the newest so many (default: %(default)s)"
    )


def _explain(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        told = explaining.explain_host(station, arguments.host)
    if out.as_json:
        out.document(told.to_object())
    else:
        out.text(told.text(out.columns(TEXT_WIDTH)))
    return exit_status([told.state])


def _history(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        events = history.events(
            station, arguments.host, arguments.results, arguments.limit, arguments.notifications
        )
    if out.as_json:
        out.document([event.to_object() for event in events])
    elif events:
        rows = [[words.clock_time(event.at), event.who, event.what] for event in events]
        out.table(["WHEN", "WHO", "WHAT"], rows, drop=["WHO"])
    else:
        out.note("Nothing was recorded of it.")
    return 0
