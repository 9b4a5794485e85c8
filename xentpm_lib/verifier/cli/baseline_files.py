"""``baseline export`` and ``import``: known-good values that travel between stations, signed."""

from __future__ import annotations

import argparse
from pathlib import Path

from xentpm_lib.verifier.cli.baseline_view import reference_json
from xentpm_lib.verifier.cli.grammar import Commands, add_command
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.cli.targets import add_targets
from xentpm_lib.verifier.operations import baselines

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the commands."""
    export = add_command(
        commands,
        "export",
        _export,
        "write baselines into a file that this station signs",
        "xentpm-attest baseline export installed --output installed.json",
        "The other station needs this one's public key: xentpm-attest keys jwks.",
    )
    export.add_argument(
        "baselines",
        nargs="+",
        metavar="BASELINE",
        help="label, label@host, or 8 characters of its identifier",
    )
    export.add_argument("--output", metavar="FILE", help="(default: standard output)")
    take = add_command(
        commands,
        "import",
        _import,
        "take over baselines that another station signed",
        "xentpm-attest baseline import installed.json --key other-station.jwks --group rack7",
    )
    take.add_argument("file", metavar="FILE", help="what baseline export wrote")
    take.add_argument(
        "--key",
        metavar="FILE",
        required=True,
        help="the other station's public key: what its keys jwks printed, or PEM",
    )
    add_targets(take)


def _export(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        text = baselines.export(station, arguments.baselines)
    if arguments.output is not None:
        Path(arguments.output).write_text(text.rstrip("\n") + "\n", "utf-8")
        out.note(f"written: {arguments.output}")
    elif out.as_json:
        out.document({"jws": text.rstrip("\n")})
    else:
        out.text(text.rstrip("\n"))
    return 0


def _import(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        taken = baselines.take_over(
            station, Path(arguments.file), Path(arguments.key), arguments.host, arguments.group
        )
    if out.as_json:
        out.document([reference_json(one) for one in taken])
        return 0
    for one in taken:
        out.text(f"taken over: {one.label} ({one.reference_id[:8]})")
    if not arguments.host and not arguments.group:
        out.note("They count for nobody yet. Next: xentpm-attest baseline assign BASELINE --host HOST")
    return 0
