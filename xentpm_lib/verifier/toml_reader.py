"""Reading a TOML file that a person wrote: every mistake is found in one go, each with its path.

A getter whose value is missing or wrong notes a mistake and returns something of the right type, so that
reading goes on; what was read counts only when ``Table.mistakes`` is empty after ``Table.finish``.

    root = parse_toml(text)
    period = root.table("timing").duration("period", 300.0, minimum=1.0)
    root.finish()          # what was never asked for is unknown
    if root.mistakes: ...

Spec: TOML 1.0.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

from xentpm_lib.verifier.toml_values import (
    DURATION_HINT,
    KINDS,
    choice_problem,
    duration_seconds,
    duration_text,
    kind_of,
    number_problem,
    shown,
    suggestion,
    text_problem,
)

__all__ = [
    "MAX_TOML_LENGTH",
    "Mistake",
    "Table",
    "key_path",
    "parse_toml",
]

MAX_TOML_LENGTH = 64 * 1024  # characters
MAX_DURATION_S = 3660 * 86400.0  # ten years
_MAX_DEPTH = 8  # tables and arrays within one another

_NUMBERS = range(-(2**63), 2**63)  # 64 bits
_TOO_LONG = "the number is too long, a whole number has at most 19 digits"
_LONG_NUMBER = re.compile(r"[0-9](_?[0-9]){4299,}")  # which Python does not read

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

Choice = TypeVar("Choice")
Item = TypeVar("Item", str, int)


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong. path: ``timing.period``, ``pcrs.sha256.shared[2]`` or ``line 3``."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def parse_toml(text: str) -> Table:
    """The file's top table. What is no TOML at all is its only mistake, and the table is empty then."""
    root = Table({}, "", [])
    if len(text) > MAX_TOML_LENGTH:
        root.mistakes.append(Mistake("", f"{len(text)} characters, at most {MAX_TOML_LENGTH}"))
        return root
    try:
        text.encode("utf-8")  # no lone surrogates
        values = tomllib.loads(text)
        _check_depth(values, _MAX_DEPTH)
    except RecursionError:
        root.mistakes.append(Mistake("", "nested too deep"))
        return root
    except tomllib.TOMLDecodeError as error:
        root.mistakes.append(_syntax_mistake(str(error)))
        return root
    except ValueError:  # a number of more digits than Python reads, or a character that there is not
        root.mistakes.append(_unreadable(text))
        return root
    _check_numbers(values, "", root.mistakes)
    return root if root.mistakes else Table(values, "", root.mistakes)


def key_path(parent: str, key: str) -> str:
    """The path of ``key`` in the table at ``parent``; a key that is not bare is quoted, in ASCII."""
    shown = key if _BARE_KEY.fullmatch(key) else '"' + ascii(key)[1:-1].replace('"', '\\"') + '"'
    return f"{parent}.{shown}" if parent else shown


@dataclass
class Table:
    """A table, its path, and the mistakes of the whole file, which all its tables share.

    ``values`` is what the file says; read it by the getters.
    """

    values: dict[str, Any]
    path: str
    mistakes: list[Mistake]
    _asked: dict[str, list[Table]] = field(default_factory=dict)

    def wrong(self, key: str, message: str, hint: str = "") -> None:
        """Note a mistake in the value of ``key``; of the table itself when it is empty."""
        path = key_path(self.path, key) if key else self.path
        self.mistakes.append(Mistake(path, message, hint))

    def right(self, key: str) -> bool:
        """Whether no mistake is noted for ``key`` so far, nor within it; for this table when it is empty."""
        path = key_path(self.path, key) if key else self.path
        within = (path + ".", path + "[")
        return not any(mistake.path == path or mistake.path.startswith(within) for mistake in self.mistakes)

    def has(self, key: str) -> bool:
        """Whether the file gives it. Does not count as asking for it."""
        return key in self.values

    def keys(self) -> tuple[str, ...]:
        """The keys of a table whose keys are free. Each still has to be asked for."""
        return tuple(self.values)

    def offer(self, *keys: str) -> None:
        """Have keys that may be given count as known, though nothing asks for them now."""
        for key in keys:
            self._asked.setdefault(key, [])

    def table(self, key: str, required: bool = False) -> Table:
        """A table within this one; an empty one where there is none."""
        if key not in self._asked:
            self._asked[key] = [self._child(self.values.get(key), key, key_path(self.path, key), required)]
        return self._asked[key][0]

    def tables(self, key: str) -> tuple[Table, ...]:
        """The tables of an array of tables: ``[[key]]``."""
        if key not in self._asked:
            value = self.values.get(key, [])
            if not isinstance(value, list):
                self.wrong(key, f"expected an array of tables, got {kind_of(value)}", f"Write [[{key}]].")
                value = []
            path = key_path(self.path, key)
            children = [self._child(item, key, f"{path}[{n}]", True) for n, item in enumerate(value)]
            self._asked[key] = children
        return tuple(self._asked[key])

    def text(
        self, key: str, default: str | None = None, *, pattern: str = "", hint: str = "", empty: bool = False
    ) -> str:
        """Printable text of at most 1,024 characters. default: None for a value that must be given.

        pattern: a regular expression that all of it has to match. empty: whether it may be.
        """
        value = self._get(key, default, str, hint=hint)
        if value is None:
            return default or ""
        self._note(key, text_problem(value, pattern, empty), hint)
        return str(value)

    def texts(self, key: str, default: Sequence[str] | None = None, *, pattern: str = "") -> tuple[str, ...]:
        """An array of printable texts, none empty, none twice. default: None if it must be given."""
        return self._items(key, default, str, lambda item: text_problem(item, pattern))

    def choice(self, key: str, choices: Mapping[str, Choice], default: Choice | None = None) -> Choice:
        """What one of several words stands for. default: None for a value that must be given."""
        value = self._get(key, default, str, hint=f"One of: {', '.join(choices)}.")
        if value is not None:
            self._note(key, choice_problem(value, choices))
        fallback = next(iter(choices.values())) if default is None else default
        return fallback if value is None else choices.get(value, fallback)

    def choices(
        self, key: str, choices: Mapping[str, Choice], default: Iterable[Choice] | None = None
    ) -> frozenset[Choice]:
        """What the words of an array stand for: at least one, none twice. default: None if required."""
        if not self.has(key) and default is not None:
            self._asked.setdefault(key, [])
            return frozenset(default)
        words = self._items(key, None, str, lambda item: choice_problem(item, choices))
        if self.values.get(key) == []:
            self.wrong(key, "it is empty", f"Some of: {', '.join(choices)}.")
        return frozenset(choices[word] for word in words if word in choices)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        """``true`` or ``false``. default: None for a value that must be given."""
        value = self._get(key, default, bool)
        return bool(default if value is None else value)

    def integer(self, key: str, default: int | None = None, *, minimum: int, maximum: int) -> int:
        """A whole number. default: None for a value that must be given."""
        value = self._get(key, default, int)
        if value is None:
            return minimum if default is None else default
        self._note(key, number_problem(value, minimum, maximum))
        return int(value)

    def integers(
        self, key: str, default: Sequence[int] | None = None, *, minimum: int, maximum: int
    ) -> tuple[int, ...]:
        """An array of whole numbers, none twice. default: None for an array that must be given."""
        return self._items(key, default, int, lambda item: number_problem(item, minimum, maximum))

    def number(self, key: str, default: float | None = None, *, minimum: float, maximum: float) -> float:
        """A number, whole or not. default: None for a value that must be given."""
        value = self._get(key, default, float, int)
        if value is None:
            return minimum if default is None else default
        self._note(key, number_problem(value, minimum, maximum))
        return float(value)

    def duration(
        self, key: str, default: float | None = None, *, minimum: float = 0.0, maximum: float = MAX_DURATION_S
    ) -> float:
        """Seconds, written like ``"90s"``. default: in seconds, None for a value that must be given."""
        value = self._get(key, default, str, hint=DURATION_HINT)
        if value is None:
            return minimum if default is None else default
        seconds = duration_seconds(value)
        if seconds is None:
            self.wrong(key, "this is no duration", DURATION_HINT)
            return minimum
        if not minimum <= seconds <= maximum:
            wanted = f"{duration_text(minimum)} to {duration_text(maximum)}"
            self.wrong(key, f"{value} is out of range, expected {wanted}")
        return seconds

    def wrong_item(self, key: str, number: int, message: str, hint: str = "") -> None:
        """Note a mistake in one item of an array."""
        self.mistakes.append(Mistake(f"{key_path(self.path, key)}[{number}]", message, hint))

    def finish(self) -> None:
        """Note every key that nothing asked for, here and in the tables that were asked for."""
        for key in self.values:
            if key not in self._asked:
                self.wrong(key, "there is no such key", suggestion(key, self._asked))
        for children in self._asked.values():
            for child in children:
                child.finish()

    def _child(self, value: Any, key: str, path: str, required: bool) -> Table:
        if value is None and required:
            self.mistakes.append(Mistake(path, "it is missing", f"Add the table [{path}]."))
        elif value is not None and not isinstance(value, dict):
            message = f"expected a table, got {kind_of(value)}"
            self.mistakes.append(Mistake(path, message, f"Write [{path}]."))
        return Table(value if isinstance(value, dict) else {}, path, self.mistakes)

    def _get(self, key: str, default: object, *types: type, hint: str = "") -> Any:
        """The value; None where it is missing or of another type, which is noted."""
        self._asked.setdefault(key, [])
        if key not in self.values:
            if default is None:
                self.wrong(key, "it is missing", hint)
            return None
        value = self.values[key]
        if type(value) not in types:
            self.wrong(key, f"expected {KINDS[types[0]]}, got {kind_of(value)}", hint)
            return None
        return value

    def _items(
        self, key: str, default: Sequence[Item] | None, kind: type[Item], problem: Callable[[Item], str]
    ) -> tuple[Item, ...]:
        """The items of an array that are right, none twice; mistakes are noted item by item."""
        values = self._get(key, default, list)
        if values is None:
            return tuple(default or ())
        found: list[Item] = []
        for number, item in enumerate(values):
            if type(item) is not kind:
                self.wrong_item(key, number, f"expected {KINDS[kind]}, got {kind_of(item)}")
            elif problem(item):
                self.wrong_item(key, number, problem(item))
            elif item in found:
                self.wrong_item(key, number, f"{shown(item)} is given twice")
            else:
                found.append(item)
        return tuple(found)

    def _note(self, key: str, problem: str, hint: str = "") -> None:
        if problem:
            self.wrong(key, problem, hint)


def _check_depth(value: Any, left: int) -> None:
    """Raises: RecursionError when tables and arrays are nested deeper than ``left``."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if left < 0:
        raise RecursionError
    for child in children:
        _check_depth(child, left - 1)


def _check_numbers(value: Any, path: str, mistakes: list[Mistake]) -> None:
    """Note numbers that TOML does not have. One that is written in hex could be too long even to be shown."""
    if isinstance(value, dict):
        for key, child in value.items():
            _check_numbers(child, key_path(path, key), mistakes)
    elif isinstance(value, list):
        for number, child in enumerate(value):
            _check_numbers(child, f"{path}[{number}]", mistakes)
    elif isinstance(value, int) and value not in _NUMBERS:
        mistakes.append(Mistake(path, _TOO_LONG))


def _unreadable(text: str) -> Mistake:
    for number, line in enumerate(text.split("\n"), 1):
        found = _LONG_NUMBER.search(line)
        if found is not None:
            key = line[: found.start()].partition("=")[0].strip()
            return Mistake(f"line {number}", f"{shown(key)}: {_TOO_LONG}" if key else _TOO_LONG)
    return Mistake("", "no TOML: it has characters that there are not")


def _syntax_mistake(message: str) -> Mistake:
    """``Invalid value (at line 3, column 8)`` with its place in front."""
    match = re.fullmatch(r"(.*) \(at (line \d+, column \d+|end of document)\)", message, re.DOTALL)
    if match is None:
        return Mistake("", ascii(message)[1:-1][:200])
    return Mistake(match.group(2), "no TOML: " + ascii(match.group(1))[1:-1][:200])
