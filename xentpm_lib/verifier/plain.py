"""Text that others wrote, made fit for a terminal, a log and a mail."""

from __future__ import annotations

__all__ = ["one_line"]

MAX_TEXT = 2000  # characters


def one_line(text: str, limit: int = MAX_TEXT) -> str:
    """The text on one line: control, direction and other invisible characters are shown as escapes.

    What is longer than ``limit`` characters ends in an ellipsis.
    """
    shown = text if text.isprintable() else "".join(map(_shown, text[: limit + 1]))
    return shown if len(shown) <= limit else shown[:limit] + "…"


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
