"""``token``: a host's state as a signed token; ``keys``: the public key that checks it."""

from __future__ import annotations

import argparse

from xentpm_lib.verifier.cli.grammar import Commands, add_command, add_group
from xentpm_lib.verifier.cli.output import Output
from xentpm_lib.verifier.cli.states_text import exit_status
from xentpm_lib.verifier.cli.stations import open_station
from xentpm_lib.verifier.operations import tokens

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the commands."""
    token = add_command(
        commands,
        "token",
        _token,
        "print a host's state as a signed token",
        "xentpm-attest token host1",
        "A JWT (ES256) with the result of the last attestation; it holds as long as that. Who has the"
        " station's public"
        " key can check it without asking anybody: see keys jwks. Exit status 3 if the host is not"
        " trusted; the token"
        " says so, too.",
    )
    token.add_argument("host", metavar="HOST", help="name or UUID")
    keys = add_group(
        commands,
        "keys",
        "the public key that checks tokens and exported files",
        "xentpm-attest keys jwks > station.jwks",
    )
    add_command(
        keys,
        "jwks",
        _jwks,
        "print the station's public key as a JSON Web Key Set",
        "xentpm-attest keys jwks > station.jwks",
        "Nothing in it is secret. Hand it over by a way on which nobody can replace it.",
    )


def _token(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        made = tokens.token_of(station, arguments.host)
    if out.as_json:
        out.document({"token": made.text, "state": made.state.value})
    else:
        out.text(made.text)
    return exit_status([made.state])


def _jwks(arguments: argparse.Namespace, out: Output) -> int:
    with open_station(arguments) as station:
        out.document(tokens.key_set(station))
    return 0
