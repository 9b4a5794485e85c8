"""How the administrator says which servers are the pool's: an authority, a fingerprint, or a look at it."""

from __future__ import annotations

import argparse
from pathlib import Path

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli import prompts, words
from xentpm_lib.verifier.cli.grammar import Parser
from xentpm_lib.verifier.cli.output import tell
from xentpm_lib.verifier.files import open_file
from xentpm_lib.verifier.operations.pools import first_contact, master_of
from xentpm_lib.verifier.records import TlsTrust

__all__ = ["add_trust_options", "chosen_trust"]

_MAX_CA_BYTES = 4 << 20
_COMPARE = "openssl x509 -noout -fingerprint -sha256 -in /etc/xensource/xapi-ssl.pem"


def add_trust_options(parser: Parser) -> None:
    """``--ca`` and ``--pin``; without either the fingerprint is shown and has to be confirmed."""
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument(
        "--ca", metavar="FILE", help="PEM certificates of whoever signed the pool's certificates"
    )
    trust.add_argument(
        "--pin",
        type=words.digest,
        action="append",
        default=[],
        metavar="SHA256",
        help="fingerprint of a server's certificate; may be repeated (default: shown, to be confirmed once)",
    )


def chosen_trust(arguments: argparse.Namespace, url: str, known: TlsTrust | None) -> TlsTrust:
    """How to recognise the servers of ``url``. Raises: UsageError, CollectionError, OSError."""
    if arguments.ca:
        return TlsTrust(ca_pem=_read_ca(Path(arguments.ca)))
    if arguments.pin:
        return TlsTrust(pins=tuple(arguments.pin))
    if known is not None:
        return known
    return _confirmed_with_master(url)


def _confirmed_with_master(url: str) -> TlsTrust:
    """The server's own certificate; where it is not the pool's master, the master's too."""
    trust = TlsTrust(pins=(_confirmed(url),))
    master = master_of(url, trust)
    if master == url:
        return trust
    tell(f"{url} is a member of the pool whose master is {master}.")
    return TlsTrust(pins=(*trust.pins, _confirmed(master)))


def _confirmed(url: str) -> str:
    contact = first_contact(url)
    tell(f"{url} shows this certificate:\n  {contact.subject}\n  SHA-256 {contact.for_people}")
    tell(f"Compare it with what this prints on the host:\n  {_COMPARE}")
    prompts.confirm(
        "Is it the same?",
        f"the certificate of {url} was not confirmed, so nothing was sent to it",
        f"Compare it on the host first. If it is the same: --pin {contact.pin}, or --ca FILE.",
    )
    return contact.pin


def _read_ca(path: Path) -> str:
    with open_file(path) as file:
        data = file.read(_MAX_CA_BYTES + 1)
    if len(data) > _MAX_CA_BYTES or b"-----BEGIN CERTIFICATE-----" not in data:
        raise UsageError(
            f"{path} holds no certificates in PEM", "Give a file with -----BEGIN CERTIFICATE-----."
        )
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not plain PEM", "Convert it: openssl x509 -inform DER.") from error
