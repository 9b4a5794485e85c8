"""Reading grub.cfg: flat commands, assignments and menu entries; anything else is refused, not guessed at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from xentpm_lib.errors import FormatError

__all__ = ["Assignment", "Command", "MenuEntry", "Statement", "Word", "parse"]

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_REFUSED = frozenset("{}|&;<>()$`*?~")  # grammar, or characters that this reader has no rule for
_PLAIN_PARENTHESES = re.compile(r"\(\w+(,\w+)*\)")
_BLOCKS = frozenset({"if", "for", "while", "until", "function", "submenu"})


@dataclass(frozen=True)
class Word:
    """A word in pieces of text; a piece with ``True`` has its variables expanded when the command runs."""

    pieces: tuple[tuple[str, bool], ...]

    def expand(self, variables: Mapping[str, str]) -> str:
        """Return the text; a variable that is not set is empty, as in GRUB."""

        def value(match: re.Match[str]) -> str:
            return variables.get(match[1] or match[2], "")

        return "".join(_VARIABLE.sub(value, text) if live else text for text, live in self.pieces)


@dataclass(frozen=True)
class Command:
    """A command with its words, its name being the first. ``line`` counts from 0."""

    line: int
    words: tuple[Word, ...]

    @property
    def name(self) -> str:
        """The command's name."""
        return self.words[0].expand({})


@dataclass(frozen=True)
class Assignment:
    """``name=value`` without ``set``."""

    line: int
    word: Word


@dataclass(frozen=True)
class MenuEntry:
    """``menuentry`` with its words (the title comes second), its body as written and the body's commands."""

    line: int
    words: tuple[Word, ...]
    text: str
    body: tuple[Command | Assignment, ...]


Statement = Command | Assignment | MenuEntry


def parse(text: str) -> tuple[Statement, ...]:
    """Read a whole grub.cfg.

    Raises: FormatError, with the line, for what this boot loader does not understand.
    """
    lines = text.split("\n")
    statements: list[Statement] = []
    number = 0
    while number < len(lines):
        if lines[number].split(None, 1)[:1] == ["menuentry"]:
            end = _end_of_entry(lines, number)
            statements.append(_menu_entry(lines, number, end))
            number = end
        else:
            statements += _statements(lines[number], number)
        number += 1
    return tuple(statements)


def _end_of_entry(lines: list[str], start: int) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number].strip() == "}":
            return number
    raise _error(start, "the menu entry has no line with its closing brace alone")


def _menu_entry(lines: list[str], start: int, end: int) -> MenuEntry:
    head = lines[start].rstrip()
    if not head.endswith("{"):
        raise _error(start, "expected `menuentry TITLE {` on one line")
    words = _words(head[:-1], start)
    if len(words) < 2:
        raise _error(start, "the menu entry has no title")
    body: list[Command | Assignment] = []
    for number in range(start + 1, end):
        body += _statements(lines[number], number)
    return MenuEntry(start, words, "\n".join(lines[start + 1 : end]), tuple(body))


def _statements(line: str, number: int) -> list[Command | Assignment]:
    """Read one line: nothing, or one command."""
    block = _BLOCKS.intersection(line.split(None, 1)[:1])
    if block:
        raise _error(number, f"`{min(block)}` is not supported by the simulated boot loader")
    words = _words(line, number)
    if not words:
        return []
    first = words[0].expand({})
    if _ASSIGNMENT.match(first):
        if len(words) > 1:
            raise _error(number, "more than one word in an assignment")
        return [Assignment(number, words[0])]
    return [Command(number, words)]


def _words(line: str, number: int) -> tuple[Word, ...]:
    words: list[Word] = []
    pieces: list[tuple[str, bool]] = []
    position = 0
    while position < len(line):
        if line[position] in " \t\r":
            if pieces:
                words.append(Word(tuple(pieces)))
            pieces = []
            position += 1
        elif line[position] == "#" and not pieces:
            break
        else:
            piece, position = _piece(line, position, number)
            pieces.append(piece)
    if pieces:
        words.append(Word(tuple(pieces)))
    return tuple(words)


def _piece(line: str, position: int, number: int) -> tuple[tuple[str, bool], int]:
    """Read a quoted string, an escaped character, a device or a run of plain text."""
    first = line[position]
    if first in "'\"":
        return _quoted(line, position, number)
    if first == "\\":
        if position + 1 == len(line):
            raise _error(number, "a command that goes on in the next line is not supported")
        return (line[position + 1], False), position + 2
    device = _PLAIN_PARENTHESES.match(line, position)
    if device:
        return (device[0], False), device.end()
    variable = _VARIABLE.match(line, position)
    if variable:
        return (variable[0], True), variable.end()
    if first in _REFUSED:
        raise _error(number, f"`{first}` is not supported by the simulated boot loader")
    return (first, False), position + 1


def _quoted(line: str, start: int, number: int) -> tuple[tuple[str, bool], int]:
    quote = line[start]
    end = line.find(quote, start + 1)
    if end < 0:
        raise _error(number, "a quoted string has no end")
    text = line[start + 1 : end]
    if quote == '"' and "\\" in text:
        raise _error(number, "a backslash within double quotes is not supported")
    return (text, quote == '"'), end + 1


def _error(number: int, message: str) -> FormatError:
    return FormatError(message, "see the simulated host's grub.cfg", where=f"grub.cfg line {number + 1}")
