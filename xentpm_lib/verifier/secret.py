"""Secrets of the station: where each is kept. The configuration holds references, never a secret itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.files import open_file

__all__ = ["MAX_SECRET_BYTES", "Secret", "SecretRef"]

MAX_SECRET_BYTES = 4096
_FORBIDDEN_MODE = 0o037  # a group may read the file, nobody else may do anything


class Secret:
    """A text that no log, no error and no debugger's one-line view shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is: in a file, or in an environment variable. One of the two is set."""

    file: str = ""
    env: str = ""

    def __str__(self) -> str:
        return f"file {self.file}" if self.file else f"environment variable {self.env}"

    def read(self, environ: Mapping[str, str] | None = None) -> Secret:
        """The secret as it is now, without white space around it. Read it anew each time: it may be rotated.

        Raises:
            UsageError: it is not there, empty, too long, or a file that others can read.
        """
        raw = _read_file(self.file) if self.file else _read_env(self.env, environ)
        text = raw.strip()
        if not text:
            raise UsageError(f"the secret in {self} is empty")
        if len(text.encode("utf-8", "replace")) > MAX_SECRET_BYTES:
            raise UsageError(f"the secret in {self} is longer than {MAX_SECRET_BYTES} bytes")
        return Secret(text)


def _read_env(name: str, environ: Mapping[str, str] | None) -> str:
    value = (os.environ if environ is None else environ).get(name)
    if value is None:
        raise UsageError(
            f"the environment variable {name} is not set", "Set it for the service, or use a file."
        )
    return value


def _read_file(name: str) -> str:
    path = Path(name)
    try:
        with open_file(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & _FORBIDDEN_MODE:
                raise UsageError(
                    f"{path} holds a secret and has mode {stat.S_IMODE(mode):04o}, expected 0600 or 0640",
                    f"chmod 600 {path}, and change the secret if others have an account here.",
                )
            return file.read(MAX_SECRET_BYTES + 64).decode("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the secret in {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the secret in {path} is not UTF-8 text") from error
