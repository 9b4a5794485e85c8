"""What a GRUB script is made of, once it has been read."""

from typing import Any, NamedTuple, Optional, Tuple

from xentpm_lib.errors import XenTpmError

__all__ = ["Block", "Command", "For", "Function", "If", "Loop", "Piece", "Word", "boot_error"]


class Piece(NamedTuple):
    """A part of a word. kind: one of text, quoted, variable, quoted-variable."""

    kind: str
    text: str


class Word(NamedTuple):
    """A word: its pieces, side by side."""

    pieces: Tuple[Piece, ...]


class Block(NamedTuple):
    """A command's block: the text between its braces as GRUB keeps it, and what it says."""

    text: str
    body: Tuple[Any, ...]


class Command(NamedTuple):
    """A command with its words, the first of which is its name. line: counted from 1."""

    line: int
    words: Tuple[Word, ...]
    block: Optional[Block] = None


class If(NamedTuple):
    """``if`` and each ``elif``: condition and what it leads to; and ``else``."""

    line: int
    branches: Tuple[Tuple[Tuple[Any, ...], Tuple[Any, ...]], ...]
    otherwise: Tuple[Any, ...]


class For(NamedTuple):
    """``for name in words``."""

    line: int
    name: str
    words: Tuple[Word, ...]
    body: Tuple[Any, ...]


class Loop(NamedTuple):
    """``while``, or ``until``."""

    line: int
    until: bool
    condition: Tuple[Any, ...]
    body: Tuple[Any, ...]


class Function(NamedTuple):
    """The definition of a function; GRUB knows it from then on where it stands."""

    line: int
    name: str
    body: Tuple[Any, ...]


def boot_error(message: str, hint: str = "") -> XenTpmError:
    """The error for what cannot be predicted of the next boot."""
    return XenTpmError(message, hint, "XENTPM_BOOT")
