"""Changed measurements in words: what was added to a command line, which file is another one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from xentpm_lib.verifier.reference.diff import EventChange
from xentpm_lib.verifier.reference.measured import MeasuredEvent

__all__ = ["change_line", "change_lines", "word_changes"]

_MAX_LINES = 12  # changes of a register that are told
_HEAD = 80  # characters of a long text that are shown
_TEXT = 400  # characters of a text that is shown as it is
_MAX_WORDS = 400  # of a text; in longer ones single words are not looked for
_MAX_TOLD = 12  # added or removed words that are told


def change_lines(changes: Sequence[EventChange]) -> list[str]:
    """What changed in a register, line by line, as ``change_line`` says it; the first of very many.

    GRUB measures a command line in its menu entry, as a command, and by itself: it is told once.
    """
    last = {_identity(change): number for number, change in enumerate(changes)}
    told = [change for number, change in enumerate(changes) if last[_identity(change)] == number]
    lines = [change_line(change) for change in told[:_MAX_LINES]]
    return lines + ([f"and {len(told) - _MAX_LINES} more events"] if len(told) > _MAX_LINES else [])


def change_line(change: EventChange) -> str:
    """One line of ASCII: ``changed: /boot/xen.gz: was <digest>, is <digest>``, ``new: …``, ``gone: …``."""
    a, b = change.a, change.b
    if a is None or b is None:
        there = a if b is None else b
        return "" if there is None else f"{'gone' if b is None else 'new'}: {_event(there)}"
    if a.text == b.text:
        return f"changed: {_head(a.text)}: was {a.digest.hex()}, is {b.digest.hex()}"
    removed, added = word_changes(a.text, b.text)
    pairs = (("removed", removed), ("added", added))
    told = [f"{what} '{' '.join(words)}'" for what, words in pairs if words]
    if told and len(a.text) > _HEAD and max(len(removed), len(added)) <= _MAX_TOLD:
        return f"changed: {_head(a.text)}: {', '.join(told)}"
    return f"changed: {_head(a.text, _TEXT)}; now: {_head(b.text, _TEXT)}"


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


def _identity(change: EventChange) -> object:
    """Equal for changes of the same words; the change itself where that cannot be said."""
    if change.a is None or change.b is None:
        return change
    words = word_changes(change.a.text, change.b.text)
    return words if any(words) else change


def _event(event: MeasuredEvent) -> str:
    text = _head(event.text, _TEXT)
    return text if event.proven else f"{text}: {event.digest.hex()}"


def _head(text: str, length: int = _HEAD) -> str:
    """The text, or its first words."""
    if len(text) <= length:
        return text
    cut = text[:length]
    return (cut.rpartition(" ")[0] or cut) + " ..."
