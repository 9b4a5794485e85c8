"""From words to arguments as GRUB makes them: variables, quotes, and which words vanish."""

import re
from typing import Callable, List, Optional, Sequence, Tuple

from xentpm_lib.host.boot.grub_syntax import Piece, Word

__all__ = ["Arguments", "expand", "join_command_line", "option_values", "to_number"]

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SPACES = re.compile(r"[ \t\n\r\f\v]+")
_WILDCARD = re.compile(r"(?:\\.|[^\\*?])*[*?]", re.DOTALL)
_NUMBER = re.compile(
    r"[ \t\n\r\f\v]*(?:0x(?P<hex>[0-9a-fA-F]+)|(?P<octal>0[0-7]+)|(?!0x)(?P<decimal>[0-9]+))"
)
_MAX_NUMBER = (1 << 64) - 1

Lookup = Callable[[str], Optional[str]]


class Arguments:
    """A command's arguments as they come to be: a place that nothing was put into is used again."""

    def __init__(self) -> None:
        self._items: List[Optional[str]] = []
        self.wildcard = False  #: an unquoted * or ? was among them

    def begin(self) -> None:
        """Go to the next argument."""
        if not self._items or self._items[-1] is not None:
            self._items.append(None)

    def add(self, text: str) -> None:
        """Append to the current argument; an empty text makes it one that stays."""
        self._items[-1] = (self._items[-1] or "") + text

    def all(self) -> List[str]:
        """Those that stay."""
        return [item for item in self._items if item is not None]


def expand(words: Sequence[Word], lookup: Lookup, scope: Optional[Sequence[str]]) -> Arguments:
    """The arguments that words stand for. lookup: a variable's value. scope: ``$1`` and so on, or None."""
    arguments = Arguments()
    for word in words:
        arguments.begin()
        for piece in word.pieces:
            _expand_piece(arguments, piece, lookup, scope)
    return arguments


def _expand_piece(arguments: Arguments, piece: Piece, lookup: Lookup, scope: Optional[Sequence[str]]) -> None:
    if piece.kind == "quoted":
        arguments.add(piece.text)
    elif piece.kind == "text":
        text = piece.text.replace("\\\n", "")
        if text:
            arguments.wildcard = arguments.wildcard or _has_wildcard(text)
            arguments.add(_ESCAPE.sub(r"\1", text))
    else:
        values = _values(piece, lookup, scope)
        for number, value in enumerate(values):
            if number:
                arguments.begin()
            unquoted = piece.kind == "variable"
            arguments.wildcard = arguments.wildcard or (unquoted and _has_wildcard(value))
            arguments.add(value)


def _has_wildcard(text: str) -> bool:
    return ("*" in text or "?" in text) and bool(_WILDCARD.match(text))


def _values(piece: Piece, lookup: Lookup, scope: Optional[Sequence[str]]) -> List[str]:
    name, split = piece.text, piece.kind == "variable"
    if not (name[0].isdigit() or name in "#*@"):
        value = lookup(name)
        if not value:
            return []
        return _split(value) if split else [value]
    if scope is None:
        return []
    if name == "#":
        return [str(len(scope))]
    if name in "*@":
        if split:
            return [part for value in scope for part in _split(value)]
        return [" ".join(scope)] if name == "*" else list(scope)
    number = int(name[:9])
    if not 0 < number <= len(scope):
        return []
    return _split(scope[number - 1]) if split else [scope[number - 1]]


def _split(value: str) -> List[str]:
    return [part for part in _SPACES.split(value) if part]


def join_command_line(arguments: Sequence[str]) -> str:
    """A kernel's or module's command line of its arguments: one with a space in it is put into quotes."""
    parts = []
    for argument in arguments:
        text = re.sub(r"([\\'\"])", r"\\\1", argument)
        parts.append('"{}"'.format(text) if " " in argument else text)
    return " ".join(parts)


def option_values(
    arguments: Sequence[str], options: Sequence[Tuple[str, str, str]], keep_unknown: bool
) -> Optional[Tuple[List[Tuple[str, Optional[str]]], List[str]]]:
    """The options in arguments, in order, and what is left; None where GRUB refuses them.

    options: long name, short name or nothing, and ``none``, ``value`` or ``optional``.
    """
    found: List[Tuple[str, Optional[str]]] = []
    rest: List[str] = []
    queue = list(arguments)
    while queue:
        argument = queue.pop(0)
        if not argument.startswith("-") or len(argument) == 1:
            rest.append(argument)
            continue
        if argument == "--":
            return found, rest + queue
        name, equals, text = argument[2:].partition("=")
        if not argument.startswith("--"):
            name, equals = argument[1:], ""
        column = 0 if argument.startswith("--") else 1
        kinds = [option for option in options if option[column] and option[column] == name]
        if not kinds:
            if not keep_unknown or (column and all(_has_short(options, letter) for letter in name)):
                return None
            rest.append(argument)
            continue
        value = text if equals else None
        if value is None and kinds[0][2] != "none" and queue and not queue[0].startswith("-"):
            value = queue.pop(0)
        if value is None and kinds[0][2] == "value":
            return None
        found.append((kinds[0][0], value))
    return found, rest


def _has_short(options: Sequence[Tuple[str, str, str]], letter: str) -> bool:
    return any(option[1] == letter for option in options)


def to_number(text: str) -> Optional[Tuple[int, str]]:
    """The number that a text begins with, and what follows it; None where it begins with none."""
    match = _NUMBER.match(text)
    if match is None:
        return None
    kind = str(match.lastgroup)
    digits, end = match.group(kind), match.end()
    # over 64 bits: the largest number, and what follows begins with the digit that is too much
    base, value = {"hex": 16, "octal": 8, "decimal": 10}[kind], 0
    for place, digit in enumerate(digits):
        if value * base + int(digit, base) > _MAX_NUMBER:
            return _MAX_NUMBER, text[end - len(digits) + place :]
        value = value * base + int(digit, base)
    return value, text[end:]
