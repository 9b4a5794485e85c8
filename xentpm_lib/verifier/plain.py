"""Text that others wrote, made fit for a terminal, a log and a mail."""

from __future__ import annotations

import re

__all__ = ["host_says", "is_uuid", "one_line", "quoted"]

MAX_TEXT = 2000  # characters
MAX_SAID = 200  # characters of a sentence of a host
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def one_line(text: str, limit: int = MAX_TEXT) -> str:
    """The text on one line: control, direction and other invisible characters are shown as escapes.

    What is longer than ``limit`` characters ends in an ellipsis.
    """
    shown = text if text.isprintable() else "".join(map(_shown, text[: limit + 1]))
    return shown if len(shown) <= limit else shown[:limit] + "…"


def quoted(text: str) -> str:
    """The text between quotes; those in it, and backslashes, have a backslash in front."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def host_says(text: str, limit: int = MAX_SAID) -> str:
    """``the host says: '…'``: words of a host that nobody may take for ours. Each space is a single one.

    What is longer than ``limit`` characters ends in an ellipsis.
    """
    return f"the host says: {quoted(one_line(' '.join(text.split()), limit))}"


def is_uuid(text: str) -> bool:
    """Whether it is a UUID as XAPI writes them, in lower case."""
    return _UUID.fullmatch(text) is not None


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
