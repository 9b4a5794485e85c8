"""What is asked on the terminal: passwords and confirmations. None of it is ever on the command line.

A password comes from ``--password-file``, else from the environment, else from the terminal.
"""

from __future__ import annotations

import getpass
import os
import sys

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli.output import tell
from xentpm_lib.verifier.secret import SecretRef

__all__ = ["PASSWORD_VARIABLE", "confirm", "password", "password_of_file"]

PASSWORD_VARIABLE = "XENTPM_PASSWORD"


def password(who: str, file: str | None) -> str:
    """The password of ``who``. Raises: UsageError when there is none, or others can read the file."""
    if file is not None:
        return password_of_file(file)
    if os.environ.get(PASSWORD_VARIABLE):
        return os.environ[PASSWORD_VARIABLE]
    if not _interactive():
        raise UsageError(
            f"the password of {who} is needed and there is no terminal to ask for it",
            f"Use --password-file FILE (mode 0600), or set {PASSWORD_VARIABLE}.",
        )
    try:
        given = getpass.getpass(f"Password of {who}: ", stream=sys.stderr)
    except EOFError:
        given = ""
    except KeyboardInterrupt:
        tell("")  # what is said next has a line of its own
        raise
    if not given:
        raise UsageError("no password was given", "Type it, or use --password-file FILE.")
    return given


def password_of_file(path: str) -> str:
    """What a file holds that others cannot read, without the newline. Raises: UsageError."""
    return SecretRef(file=path).read().reveal()


def confirm(question: str, otherwise: str, hint: str) -> None:
    """Ask for a ``yes`` on the terminal. Raises: UsageError with ``otherwise`` unless that is the answer."""
    if not _interactive():
        raise UsageError(f"there is no terminal to ask at: {otherwise}", hint)
    while True:
        tell(f"{question} (yes/no)")
        answer = sys.stdin.readline()
        if answer.strip().lower() == "yes":
            return
        if answer.strip().lower() in ("no", "n") or not answer:
            raise UsageError(otherwise, hint)
        tell("Please type yes or no.")


def _interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
