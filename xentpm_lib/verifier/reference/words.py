"""Changed measurements in words: what was added to a command line, which file is another one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from xentpm_lib.verifier.reference.diff import EventChange
from xentpm_lib.verifier.reference.grub_names import COMMAND_LINE, CONFIGURATION, without_kind
from xentpm_lib.verifier.reference.measured import MeasuredEvent

__all__ = ["change_line", "change_lines", "word_changes"]

_MAX_LINES = 12  # changes of a register that are told
_HEAD = 80  # characters of a long text that are shown
_SHORT = 40  # characters of a command line of which no single words are told
_TEXT = 400  # characters of a text that is shown as it is
_MAX_WORDS = 400  # of a text; in longer ones single words are not looked for
_MAX_TOLD = 12  # added or removed words that are told


def change_lines(changes: Sequence[EventChange]) -> list[str]:
    """What changed in a register, line by line, as ``change_line`` says it; the first of very many.

    GRUB measures a command line in its menu entry, as a command, and by itself: it is told once, by itself.
    """
    told = _without_repetition(changes)
    lines = [change_line(change) for change in told[:_MAX_LINES]]
    return lines + ([f"and {len(told) - _MAX_LINES} more events"] if len(told) > _MAX_LINES else [])


def change_line(change: EventChange) -> str:
    """One line of ASCII, with the digests of what was measured where its words are not what was measured:
    ``changed: /boot/xen.gz (Xen): was <digest>, is <digest>``; ``new: …``, ``gone: …``;
    ``the command line of Xen changed: <words> -> <words> (was <digest>, is <digest>)``."""
    a, b = change.a, change.b
    if a is None or b is None:
        there = a if b is None else b
        return "" if there is None else f"{'gone' if b is None else 'new'}: {_event(there, change.what)}"
    digests = f"was {a.digest.hex()}, is {b.digest.hex()}"
    if change.what.startswith(COMMAND_LINE):
        return f"the {change.what} changed: {_words(without_kind(a.text), without_kind(b.text))} ({digests})"
    if a.text == b.text:
        return f"changed: {_named(a.text, change.what)}: {digests}"
    removed, added = word_changes(a.text, b.text)
    if _few(removed, added) and len(a.text) > _HEAD:
        return f"changed: {_head(a.text)}: {_told(removed, added)}"
    told = "" if a.proven and b.proven else f" ({digests})"
    return f"changed: {_named(a.text, change.what, _TEXT)}; now: {_head(b.text, _TEXT)}{told}"


def _words(a: str, b: str) -> str:
    """Both command lines where they are short; else the words that make the difference."""
    removed, added = word_changes(a, b)
    if _few(removed, added) and max(len(a), len(b)) > _SHORT:
        return _told(removed, added)
    return f"{_head(a, _TEXT)} -> {_head(b, _TEXT)}"


def _few(removed: Sequence[str], added: Sequence[str]) -> bool:
    return 0 < max(len(removed), len(added)) <= _MAX_TOLD


def _told(removed: Sequence[str], added: Sequence[str]) -> str:
    pairs = (("removed", removed), ("added", added))
    return ", ".join(f"{what} '{' '.join(words)}'" for what, words in pairs if words)


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


def _without_repetition(changes: Sequence[EventChange]) -> list[EventChange]:
    """Of changes with the same words the last; none whose words are all those of changed command lines."""
    last = {_identity(change): number for number, change in enumerate(changes)}
    lines = [_of_words(change) for change in changes if change.what.startswith(COMMAND_LINE)]
    removed = {word for words, _ in lines for word in words}
    added = {word for _, words in lines for word in words}
    told = []
    for number, change in enumerate(changes):
        gone, new = _of_words(change)
        covered = change.what == CONFIGURATION and (gone or new) and removed.issuperset(gone)
        if last[_identity(change)] == number and not (covered and added.issuperset(new)):
            told.append(change)
    return told


def _of_words(change: EventChange) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if change.a is None or change.b is None:
        return (), ()
    return word_changes(change.a.text, change.b.text)


def _identity(change: EventChange) -> object:
    """Equal for changes of the same words; the change itself where that cannot be said."""
    words = _of_words(change)
    return words if any(words) else change


def _event(event: MeasuredEvent, what: str) -> str:
    text = _named(event.text, what, _TEXT)
    return text if event.proven else f"{text}: {event.digest.hex()}"


def _named(text: str, what: str, length: int = _HEAD) -> str:
    """The text, with what it is where that is a file of which the path does not say it all."""
    shown = _head(text, length)
    return f"{shown} ({what})" if what and text.startswith(("/", "(")) else shown


def _head(text: str, length: int = _HEAD) -> str:
    """The text, or its first words."""
    if len(text) <= length:
        return text
    cut = text[:length]
    return (cut.rpartition(" ")[0] or cut) + " ..."
