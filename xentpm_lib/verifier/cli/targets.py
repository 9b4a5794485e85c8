"""Options that many commands have: which hosts, which groups, which baseline."""

from __future__ import annotations

from xentpm_lib.verifier.cli import words
from xentpm_lib.verifier.cli.grammar import Parser

__all__ = ["add_baseline", "add_host_choice", "add_targets"]


def add_host_choice(parser: Parser, default: str = "all hosts") -> None:
    """Which hosts are asked: names, a group, a pool."""
    parser.add_argument("hosts", nargs="*", metavar="HOST", help=f"names or UUIDs (default: {default})")
    parser.add_argument("--group", help="only hosts of this group")
    parser.add_argument("--pool", help="only hosts of this pool, by name or URL")


def add_targets(parser: Parser) -> None:
    """For whom a baseline counts: ``--host`` and ``--group``, as often as wanted."""
    parser.add_argument("--host", action="append", default=[], help="name or UUID; may be repeated")
    parser.add_argument(
        "--group",
        action="append",
        type=words.label,
        default=[],
        help="a group of alike hosts; may be repeated",
    )


def add_baseline(parser: Parser, dest: str = "baseline", metavar: str = "BASELINE") -> None:
    """One baseline."""
    parser.add_argument(dest, metavar=metavar, help="label, label@host, or 8 characters of its identifier")
