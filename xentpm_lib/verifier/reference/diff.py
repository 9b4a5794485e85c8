"""What is different between two sets of PCR values, in components, and event by event where logs tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.appraisal.components import component
from xentpm_lib.verifier.policy.model import BootPath, Policy
from xentpm_lib.verifier.reference.measured import MeasuredEvent, Measurements, Register

__all__ = ["Difference", "EventChange", "compared_registers", "diff", "event_changes"]

_MAX_MATCHED = 2000  # events of a register; in longer ones only the first difference is looked for


@dataclass(frozen=True, slots=True)
class EventChange:
    """One measurement that is another one, or there in one boot only.

    a, b: the event in the first and in the second boot; None where there is none. Never both None.
    """

    a: MeasuredEvent | None
    b: MeasuredEvent | None


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
    """What is different between two lists of measurements, in order. Their texts do not matter."""
    digests_a, digests_b = [event.digest for event in a], [event.digest for event in b]
    if max(len(a), len(b)) > _MAX_MATCHED:
        return _first_change(a, b)
    found: list[EventChange] = []
    matcher = SequenceMatcher(None, digests_a, digests_b, autojunk=False)
    for kind, start_a, end_a, start_b, end_b in matcher.get_opcodes():
        if kind != "equal":
            found += _paired(a[start_a:end_a], b[start_b:end_b])
    return tuple(found)


def _first_change(a: Sequence[MeasuredEvent], b: Sequence[MeasuredEvent]) -> tuple[EventChange, ...]:
    for number in range(max(len(a), len(b))):
        one = a[number] if number < len(a) else None
        other = b[number] if number < len(b) else None
        if one is None or other is None or one.digest != other.digest:
            return (EventChange(one, other),)
    return ()


def _paired(a: Sequence[MeasuredEvent], b: Sequence[MeasuredEvent]) -> list[EventChange]:
    """Pair what changed: by place when nothing came or went, for places are proven; else by text."""
    if len(a) == len(b):
        return [EventChange(one, other) for one, other in zip(a, b, strict=True)]
    left = list(b)
    found = []
    for event in a:
        other = next((one for one in left if one.text == event.text), None)
        if other is not None:
            left.remove(other)
        found.append(EventChange(event, other))
    return found + [EventChange(None, event) for event in left]


def _registers(values: PcrValues) -> set[Register]:
    return {(bank, pcr) for bank, registers in values.items() for pcr in registers}
