"""Options about the XAPI user and password, and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli import prompts
from xentpm_lib.verifier.cli.grammar import Parser
from xentpm_lib.verifier.secret import Secret, SecretRef
from xentpm_lib.verifier.store.model import StoredCredentials

__all__ = ["add_login_options", "chosen_login"]

_DEFAULT_USER = "root"


def add_login_options(parser: Parser) -> None:
    """``--username``, ``--password-file``, ``--keep-password``."""
    parser.add_argument("--username", help=f"XAPI user with the role pool-admin (default: {_DEFAULT_USER})")
    parser.add_argument(
        "--password-file", metavar="FILE", help="holds the password, readable by its owner only"
    )
    parser.add_argument(
        "--keep-password",
        choices=("encrypted", "file", "env"),
        default="encrypted",
        metavar="HOW",
        help="encrypted (default): in the store; file or env: only the path of --password-file, or the name"
        f" {prompts.PASSWORD_VARIABLE}, to be read whenever it is needed",
    )


def chosen_login(
    arguments: argparse.Namespace, where: str, known: StoredCredentials | None, fresh: bool = False
) -> StoredCredentials:
    """How to log in to ``where``. known: what is kept; it goes on unless something is given, or ``fresh``.

    Raises:
        UsageError: there is no password, or it cannot be kept as asked.
    """
    given = arguments.username or arguments.password_file or arguments.keep_password != "encrypted"
    if known is not None and not given and not fresh:
        return known
    user = arguments.username or (known.username if known else _DEFAULT_USER)
    if arguments.keep_password == "file":
        if not arguments.password_file:
            raise UsageError(
                "--keep-password file needs --password-file", "Name the file that holds the password."
            )
        prompts.password_of_file(arguments.password_file)
        return StoredCredentials(user, SecretRef(file=str(Path(arguments.password_file).resolve())))
    if arguments.keep_password == "env":
        return StoredCredentials(user, SecretRef(env=prompts.PASSWORD_VARIABLE))
    return StoredCredentials(user, Secret(prompts.password(f"{user} at {where}", arguments.password_file)))
