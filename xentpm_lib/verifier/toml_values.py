"""What can be wrong with a value in a TOML file, in words. An empty text means: nothing.

A text that is of the wrong kind or form is never repeated: it may be a password in the wrong place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

__all__ = [
    "DURATION_HINT",
    "KINDS",
    "MAX_TEXT_LENGTH",
    "choice_problem",
    "duration_seconds",
    "duration_text",
    "kind_of",
    "number_problem",
    "shown",
    "suggestion",
    "text_problem",
]

MAX_TEXT_LENGTH = 1024  # characters of one value
_MAX_LISTED = 16  # known words that a hint lists
_MAX_SHOWN = 40  # characters of a wrong value that a message repeats

_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds
DURATION_HINT = 'Write a whole number and ms, s, m, h or d: "90s", "5m", "90d".'

KINDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "an array"}


def duration_text(seconds: float) -> str:
    """As a person writes it in a file: ``90s``, ``5m``, ``1h``, ``90d``; milliseconds at the finest."""
    milliseconds = round(seconds * 1000)
    for unit, size in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if milliseconds and milliseconds % round(size * 1000) == 0:
            return f"{milliseconds // round(size * 1000)}{unit}"
    return "0s"


def duration_seconds(text: str) -> float | None:
    """What a duration stands for; None when it is none."""
    match = _DURATION.fullmatch(text)
    return None if match is None else int(match.group(1)) * _UNITS[match.group(2)]


def kind_of(value: Any) -> str:
    """What kind of value it is: ``text``, ``a whole number: 300``."""
    kind = "a table" if isinstance(value, dict) else KINDS.get(type(value), "a date or time")
    return f"{kind}: {shown(value)}" if isinstance(value, (int, float)) else kind


def shown(value: Any) -> str:
    """A value as it may be repeated, ASCII and not long."""
    text = str(value).lower() if isinstance(value, bool) else ascii(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def text_problem(value: str, pattern: str = "", empty: bool = False) -> str:
    """Of a text that has to be printable. pattern: that all of it has to match. empty: whether it may be."""
    if not value and not empty:
        return "it is empty"
    if len(value) > MAX_TEXT_LENGTH:
        return f"{len(value)} characters, at most {MAX_TEXT_LENGTH}"
    if not value.isprintable():
        return "it has characters that cannot be printed"
    if pattern and not re.fullmatch(pattern, value):
        return "this text is not allowed here"
    return ""


def number_problem(value: float, minimum: float, maximum: float) -> str:
    """Of a number that has a range."""
    if minimum <= value <= maximum:  # false for nan
        return ""
    return f"{shown(value)} is out of range, expected {minimum} to {maximum}"


def choice_problem(value: str, choices: Iterable[str]) -> str:
    """Of a word that has to be one of several."""
    known = tuple(choices)
    return "" if value in known else f"{shown(value)} is not known, expected one of: {', '.join(known)}"


def suggestion(key: str, known: Iterable[str]) -> str:
    """A hint for a word that is not known: the nearest that is, or all of them when they are few."""
    names = tuple(known)
    near = difflib.get_close_matches(key, names, 1)
    if near:
        return f"Did you mean {near[0]}?"
    return f"There are: {', '.join(names)}." if 0 < len(names) <= _MAX_LISTED else ""
