"""An explanation: what is said about a host in plain words, as text and as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.result import State

__all__ = ["TEXT_WIDTH", "Explanation", "Paragraph"]

TEXT_WIDTH = 100  # characters of a line unless another width is given; digests are never broken
_MIN_WIDTH = 40

_INDENT = "   "
_KEY_WIDTH = 15  # characters: the longest word in front of a value, and two spaces


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One finding, explained.

    code, severity: of the finding. title: what it is.
    facts: (word, value) pairs, as ``expected`` and a digest. notes: sentences, as the events that differ.
    """

    code: str
    severity: Severity
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def to_object(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "title": self.title,
            "facts": [{"name": name, "value": value} for name, value in self.facts],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is said about a host at a time.

    headline: one sentence. facts: (word, value) pairs about the result. paragraphs: the gravest first.
    advice: what to do, each once, the most urgent first. All texts are printable.
    """

    host_id: str
    host_name: str
    state: State
    headline: str
    facts: tuple[tuple[str, str], ...] = ()
    paragraphs: tuple[Paragraph, ...] = ()
    advice: tuple[str, ...] = ()

    def text(self, width: int = TEXT_WIDTH) -> str:
        """For people: lines of at most ``width`` characters, without a newline at the end."""
        columns = max(width, _MIN_WIDTH)
        lines = [*_wrapped(self.headline, columns, "")]
        if self.facts:
            lines += ["", *_facts(self.facts, columns, "  ")]
        for number, paragraph in enumerate(self.paragraphs, 1):
            lines += ["", *_paragraph(number, columns, paragraph)]
        if self.advice:
            lines += ["", "What to do:"]
            for sentence in self.advice:
                lines += _wrapped(sentence, columns, "  - ", "    ")
        return "\n".join(lines)

    def to_object(self) -> dict[str, Any]:
        """For programs: JSON values."""
        return {
            "version": 1,
            "host": {"uuid": self.host_id, "name": self.host_name},
            "state": self.state.value,
            "headline": self.headline,
            "facts": [{"name": name, "value": value} for name, value in self.facts],
            "findings": [paragraph.to_object() for paragraph in self.paragraphs],
            "advice": list(self.advice),
        }


def _paragraph(number: int, columns: int, paragraph: Paragraph) -> list[str]:
    head = f"{number}. "
    kind = "" if paragraph.severity is Severity.FAILED else f"{paragraph.severity.value}: "
    lines = _wrapped(kind + paragraph.title, columns, head, " " * len(head))
    lines += _facts(paragraph.facts, columns, _INDENT)
    for note in paragraph.notes:
        lines += _wrapped(note, columns, _INDENT, _INDENT + "  ")
    return lines


def _facts(facts: tuple[tuple[str, str], ...], columns: int, indent: str) -> list[str]:
    """Each with its word in front; a digest that does not fit behind it has a line of its own."""
    lines: list[str] = []
    for name, value in facts:
        head = f"{indent}{name:<{_KEY_WIDTH}}"
        if " " not in value and len(head) + len(value) > columns:
            lines += [head.rstrip(), f"{indent}  {value}"]
        else:
            lines += _wrapped(value, columns, head, " " * len(head))
    return lines


def _wrapped(text: str, columns: int, first: str, other: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]
