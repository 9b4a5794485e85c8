"""Changes that say again what another one says: GRUB measures a command in its menu entry, and as a command.

A change is left out only when it is proven that it says nothing more: the words on both sides are what was
measured, and it is exactly the other change in a longer text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xentpm_lib.verifier.reference.diff import EventChange
from xentpm_lib.verifier.reference.grub_names import COMMAND_LINE, CONFIGURATION

__all__ = ["without_repetition"]

_MAX_COVERING = 32  # changes that others may say again, so that a log of 1,000 changes costs no time

_Texts = tuple[str, str]


def without_repetition(changes: Sequence[EventChange]) -> list[EventChange]:
    """The changes of the register of GRUB's commands, without the proven ones that only repeat others.

    Command lines are always told; then the shortest texts, and those that are not made of what is told.
    """
    proven = [(number, texts) for number, change in enumerate(changes) if (texts := _proven(change))]
    proven.sort(key=lambda one: (not changes[one[0]].what.startswith(COMMAND_LINE), len(one[1][0])))
    covering, left_out = list[_Texts](), set[int]()
    for number, texts in proven:
        if changes[number].what == CONFIGURATION and _says_only(texts, covering):
            left_out.add(number)
        elif len(covering) < _MAX_COVERING and texts[0].strip():
            covering.append(texts)
    return [change for number, change in enumerate(changes) if number not in left_out]


def _proven(change: EventChange) -> _Texts | None:
    """Both texts, of words between single spaces, where they are what was measured."""
    if change.a is None or change.b is None or not (change.a.proven and change.b.proven):
        return None
    before, after = change.a.text, change.b.text
    kind = before.partition(" ")[0] if before.startswith(_KINDS) else ""
    other = after.partition(" ")[0] if after.startswith(_KINDS) else ""
    return f" {before[len(kind) :].strip()} ", f" {after[len(other) :].strip()} "


_KINDS = ("grub_cmd:", "kernel_cmdline:", "module_cmdline:")


def _says_only(texts: _Texts, told: Iterable[_Texts]) -> bool:
    """Whether the second text is the first one with what is told put in, and nothing else."""
    text, after = texts
    for old, new in told:
        text = text.replace(old, new)
    return text == after
