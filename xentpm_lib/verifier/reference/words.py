"""Changed measurements in words: what was added to a command line, which file is another one.

Words that are not what was measured are a host's claim: they stand beside the digests, and in quotes where
they could be taken for words of ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from xentpm_lib.verifier.plain import quoted
from xentpm_lib.verifier.reference.diff import EventChange
from xentpm_lib.verifier.reference.grub_names import COMMAND_LINE, COMMANDS_PCR, without_kind
from xentpm_lib.verifier.reference.measured import MeasuredEvent
from xentpm_lib.verifier.reference.repetition import without_repetition

__all__ = ["change_line", "change_lines", "word_changes"]

_MAX_LINES = 12  # changes of a register that are told, unless all are wanted
_HEAD = 80  # characters of a long text that are shown
_SHORT = 40  # characters of a command line of which no single words are told
_TEXT = 400  # characters of a text that is shown as it is
_WHOLE = 1 << 20  # more than any text has
_MAX_PAIRS = 4096  # pairs of words that are compared in two texts; where there are more the texts are shown
_MAX_TOLD = 12  # added or removed words that are told, unless all are wanted
_FIRST = ("Xen", "tboot", "SINIT module", "dom0 kernel", "dom0 initrd")
_PLAIN = re.compile(r"[A-Za-z0-9_./()@,:=+-]*[A-Za-z0-9_./()@,=+-]|")  # looks like no words of ours


def change_lines(changes: Sequence[EventChange], pcr: int, whole: bool = False) -> list[str]:
    """What changed in a register, line by line, as ``change_line`` says it; Xen, dom0's kernel and initrd and
    command lines first. whole: for somebody who decides by it: every change, no text cut.

    GRUB measures a command line in its menu entry, as a command, and by itself: it is told once, by itself,
    where that is proven. No file is ever left out as told already.
    """
    told = without_repetition(changes) if pcr == COMMANDS_PCR else list(changes)
    told.sort(key=lambda change: not change.what.startswith((COMMAND_LINE, *_FIRST)))
    shown = told if whole else told[:_MAX_LINES]
    lines = [change_line(change, whole) for change in shown]
    return lines + ([f"and {len(told) - len(shown)} more events"] if len(told) > len(shown) else [])


def change_line(change: EventChange, whole: bool = False) -> str:
    """One line of ASCII, with the digests of what was measured where its words are not what was measured:
    ``changed: /boot/xen.gz (Xen): was <digest>, is <digest>``; ``new: …``, ``gone: …``;
    ``the command line of Xen changed: <words> -> <words> (was <digest>, is <digest>)``."""
    a, b = change.a, change.b
    length, head = (_WHOLE, _WHOLE) if whole else (_TEXT, _HEAD)
    if a is None or b is None:
        there = a if b is None else b
        return (
            "" if there is None else f"{'gone' if b is None else 'new'}: {_event(there, change.what, length)}"
        )
    digests = f"was {a.digest.hex()}, is {b.digest.hex()}"
    if change.what.startswith(COMMAND_LINE):
        return f"the {change.what} changed: {_words(a, b, whole)} ({digests})"
    if a.text == b.text:
        return f"changed: {_named(a, change.what, head)}: {digests}"
    behind = "" if a.proven and b.proven else f" ({digests})"
    removed, added = word_changes(a.text, b.text)
    if _few(removed, added, whole) and len(a.text) > _HEAD:
        return f"changed: {_claim(a.text, a.proven, head)}: {_told(removed, added)}{behind}"
    return f"changed: {_named(a, change.what, length)}; now: {_claim(b.text, b.proven, length)}{behind}"


def _words(a: MeasuredEvent, b: MeasuredEvent, whole: bool) -> str:
    """Both command lines where they are short; else the words that make the difference."""
    before, after = without_kind(a.text), without_kind(b.text)
    removed, added = word_changes(before, after)
    if _few(removed, added, whole) and max(len(before), len(after)) > _SHORT:
        return _told(removed, added)
    length = _WHOLE if whole else _TEXT
    return f"{_claim(before, a.proven, length)} -> {_claim(after, b.proven, length)}"


def _few(removed: Sequence[str], added: Sequence[str], whole: bool) -> bool:
    return 0 < max(len(removed), len(added)) and (whole or max(len(removed), len(added)) <= _MAX_TOLD)


def _told(removed: Sequence[str], added: Sequence[str]) -> str:
    pairs = (("removed", removed), ("added", added))
    return ", ".join(f"{what} {quoted(' '.join(words))}" for what, words in pairs if words)


def word_changes(a: str, b: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words that are only in the first, and only in the second, in order; none of too many."""
    first, second = a.split(), b.split()
    begin = next((n for n, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), None)
    begin = min(len(first), len(second)) if begin is None else begin
    first, second = first[begin:], second[begin:]
    while first and second and first[-1] == second[-1]:
        del first[-1], second[-1]
    if len(first) * len(second) > _MAX_PAIRS:
        return (), ()
    return _only(first, second)


def _only(a: Sequence[str], b: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is not in the longest common sequence; steps as many as there are pairs."""
    lengths = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]  # of what is common from here on
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            further = max(lengths[i + 1][j], lengths[i][j + 1])
            lengths[i][j] = lengths[i + 1][j + 1] + 1 if a[i] == b[j] else further
    removed, added, i, j = list[str](), list[str](), 0, 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            removed.append(a[i])
            i += 1
        else:
            added.append(b[j])
            j += 1
    return (*removed, *a[i:]), (*added, *b[j:])


def _event(event: MeasuredEvent, what: str, length: int) -> str:
    text = _named(event, what, length)
    return text if event.proven else f"{text}: {event.digest.hex()}"


def _named(event: MeasuredEvent, what: str, length: int) -> str:
    """The text, with what it is where that is a file of which the path does not say it all."""
    shown = _claim(event.text, event.proven, length)
    return f"{shown} ({what})" if what and event.text.startswith(("/", "(")) else shown


def _claim(text: str, proven: bool, length: int) -> str:
    """The text, or its first words; in quotes where it is a claim that could be read as words of ours."""
    shown = _head(text, length)
    plain = proven or text == "(empty)" or _PLAIN.fullmatch(text) is not None
    return shown if plain else quoted(shown)


def _head(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    cut = text[:length]
    return (cut.rpartition(" ")[0] or cut) + " ..."
