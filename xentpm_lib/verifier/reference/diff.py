"""What is different between two sets of PCR values, in components, and event by event where logs tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.appraisal.components import component
from xentpm_lib.verifier.policy.model import BootPath, Policy
from xentpm_lib.verifier.reference.grub_names import event_names, event_subject
from xentpm_lib.verifier.reference.measured import MeasuredEvent, Measurements, Register

__all__ = ["Difference", "EventChange", "compared_registers", "diff", "event_changes"]

_MAX_PAIRS = 20_000  # pairs of equal digests; where there are more, events are compared place by place


@dataclass(frozen=True, slots=True)
class EventChange:
    """One measurement that is another one, or there in one boot only.

    a, b: the event in the first and in the second boot; None where there is none. Never both None.
    what: what it is about, as ``event_names`` says, by the first boot where it has the event: the second may
    be one that nobody approved.
    """

    a: MeasuredEvent | None
    b: MeasuredEvent | None
    what: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A register that differs.

    a, b: the two values; None where a set does not have it. what: the component, for people.
    events: None unless the events of both values are known.
    """

    bank: str
    pcr: int
    what: str
    a: bytes | None
    b: bytes | None
    events: tuple[EventChange, ...] | None = None


def diff(
    a: PcrValues,
    b: PcrValues,
    boot: BootPath,
    *,
    registers: Iterable[Register] | None = None,
    measured_a: Measurements | None = None,
    measured_b: Measurements | None = None,
) -> tuple[Difference, ...]:
    """The registers that differ between two sets of values, banks by name, registers ascending.

    registers: those to look at; all that either set has unless given.
    measured_a, measured_b: what ``measurements`` says of each set.
    """
    wanted = _registers(a) | _registers(b) if registers is None else set(registers)
    found = []
    for bank, pcr in sorted(wanted):
        before, after = a.get(bank, {}).get(pcr), b.get(bank, {}).get(pcr)
        if before != after:
            events_a = (measured_a or {}).get((bank, pcr))
            events_b = (measured_b or {}).get((bank, pcr))
            both = events_a is not None and events_b is not None
            events = event_changes(events_a or (), events_b or ()) if both else None
            found.append(Difference(bank, pcr, component(boot, pcr), before, after, events))
    return tuple(found)


def compared_registers(policy: Policy) -> tuple[Register, ...]:
    """The registers that the policy compares with reference values."""
    return tuple((rules.bank, pcr) for rules in policy.banks for pcr in rules.compared)


def event_changes(a: Sequence[MeasuredEvent], b: Sequence[MeasuredEvent]) -> tuple[EventChange, ...]:
    """What is different between two lists of measurements, in order; by their digests, not by their texts."""
    named_a, named_b = _named(a), _named(b)
    if _pairs(a, b) > _MAX_PAIRS:
        return tuple(_by_place(named_a, named_b))
    found: list[EventChange] = []
    matcher = SequenceMatcher(None, [one.digest for one in a], [one.digest for one in b], autojunk=False)
    for kind, start_a, end_a, start_b, end_b in matcher.get_opcodes():
        if kind != "equal":
            found += _paired(named_a[start_a:end_a], named_b[start_b:end_b])
    return tuple(found)


def _pairs(a: Sequence[MeasuredEvent], b: Sequence[MeasuredEvent]) -> int:
    """How much there is to match: a host can make a log of one digest a thousand times."""
    of_a, of_b = (Counter(event.digest for event in events) for events in (a, b))
    return sum(count * of_b[digest] for digest, count in of_a.items())


_Named = tuple[MeasuredEvent, str]


def _named(events: Sequence[MeasuredEvent]) -> list[_Named]:
    return list(zip(events, event_names(event.text for event in events), strict=True))


def _change(a: _Named | None, b: _Named | None) -> EventChange:
    what = next((name for one in (a, b) if one is not None for name in one[1:]), "")
    return EventChange(None if a is None else a[0], None if b is None else b[0], what)


def _by_place(a: Sequence[_Named], b: Sequence[_Named]) -> Iterator[EventChange]:
    for one, other in zip_longest(a, b):
        if one is None or other is None or one[0].digest != other[0].digest:
            yield _change(one, other)


def _paired(a: Sequence[_Named], b: Sequence[_Named]) -> list[EventChange]:
    """Pair what changed: by place when nothing came or went, for places are proven; else by text, and what
    is left by what it is about. What came is told at its place."""
    if len(a) == len(b):
        return [_change(one, other) for one, other in zip(a, b, strict=True)]
    partners = _partners([event.text for event, _ in a], [event.text for event, _ in b], {})
    partners = _partners([_subject(one) for one in a], [_subject(one) for one in b], partners)
    found, told = [], 0
    for number, one in enumerate(a):
        other = partners.get(number)
        if other is not None:
            came = [new for new in range(told, other) if new not in partners.values()]
            found += [_change(None, b[new]) for new in came]
            told = max(told, other + 1)
        found.append(_change(one, None if other is None else b[other]))
    rest = [new for new in range(told, len(b)) if new not in partners.values()]
    return found + [_change(None, b[new]) for new in rest]


def _subject(one: _Named) -> str:
    return event_subject(one[0].text, one[1])


def _partners(a: Sequence[str], b: Sequence[str], known: dict[int, int]) -> dict[int, int]:
    """Numbers of the first list to numbers of equal words in the second, beside those that are known."""
    partners, free = dict(known), [number for number in range(len(b)) if number not in known.values()]
    for number, text in enumerate(a):
        other = None if number in partners else next((one for one in free if b[one] == text), None)
        if other is not None:
            partners[number] = other
            free.remove(other)
    return partners


def _registers(values: PcrValues) -> set[Register]:
    return {(bank, pcr) for bank, registers in values.items() for pcr in registers}
