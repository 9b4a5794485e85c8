"""Changed measurements in words: what was added to a command line, which file is another one."""

from __future__ import annotations

from difflib import SequenceMatcher

from xentpm_lib.verifier.reference.diff import EventChange
from xentpm_lib.verifier.reference.measured import MeasuredEvent

__all__ = ["change_line", "word_changes"]

_HEAD = 80  # characters of a long text that are shown
_MAX_WORDS = 400  # of a text; in longer ones single words are not looked for
_MAX_TOLD = 12  # added or removed words that are told


def change_line(change: EventChange) -> str:
    """One line of ASCII: ``changed: /boot/xen.gz: was <digest>, is <digest>``, ``new: …``, ``gone: …``."""
    a, b = change.a, change.b
    if a is None or b is None:
        there = a if b is None else b
        return "" if there is None else f"{'gone' if b is None else 'new'}: {_event(there)}"
    if a.text == b.text:
        return f"changed: {_head(a.text)}: was {a.digest.hex()}, is {b.digest.hex()}"
    removed, added = word_changes(a.text, b.text)
    told = [f"{what}: {' '.join(words)}" for what, words in (("removed", removed), ("added", added)) if words]
    if told and len(a.text) > _HEAD and max(len(removed), len(added)) <= _MAX_TOLD:
        return f"changed: {_head(a.text)}: {'; '.join(told)}"
    return f"changed: {a.text}; now: {b.text}"


def word_changes(a: str, b: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words that are only in the first, and only in the second, in order; none in very long texts."""
    words_a, words_b = a.split(), b.split()
    if max(len(words_a), len(words_b)) > _MAX_WORDS:
        return (), ()
    removed: list[str] = []
    added: list[str] = []
    matcher = SequenceMatcher(None, words_a, words_b, autojunk=False)
    for kind, start_a, end_a, start_b, end_b in matcher.get_opcodes():
        if kind != "equal":
            removed += words_a[start_a:end_a]
            added += words_b[start_b:end_b]
    return tuple(removed), tuple(added)


def _event(event: MeasuredEvent) -> str:
    return event.text if event.proven else f"{event.text}: {event.digest.hex()}"


def _head(text: str) -> str:
    return text if len(text) <= _HEAD else text[: _HEAD - 3].rstrip() + "..."
