"""The events behind PCR values: those of a log that leads to them, and only those.

A log is looked at register by register, because one that does not tell of a register can still tell of the
others. Where the firmware's log does not lead to a value, the boot log that dom0 computes may.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import Event, EventLog, parse_event_log
from xentpm_lib.evidence.event_types import EV_NO_ACTION
from xentpm_lib.evidence.pcr import PcrValues, replay, start_values
from xentpm_lib.verifier.reference.event_text import (
    event_line,
    is_digest_of,
    is_own_digest,
    is_whole,
    one_line,
)

__all__ = ["MeasuredEvent", "Measurements", "claimed_events", "measurements"]

Register = tuple[str, int]
"""Bank and PCR."""

Measurements = dict[Register, tuple["MeasuredEvent", ...]]
"""The events of the registers of which all are known."""


@dataclass(frozen=True, slots=True)
class MeasuredEvent:
    """One measurement that is part of a PCR value.

    digest: what was measured, proven by the replay. text: what it is said to be, one line of ASCII.
    proven: whether the text is what was measured, too, and all of it; else it is a claim of the host.
    """

    digest: bytes
    text: str
    proven: bool


def measurements(
    pcrs: PcrValues,
    event_log: bytes | EventLog | None = None,
    boot_log: tuple[BootEvent, ...] | None = None,
) -> Measurements:
    """The events of each register whose value a log leads to; nothing for the others.

    event_log: the firmware's; one that cannot be read tells nothing.
    """
    found: Measurements = {}
    for bank, values in pcrs.items():
        sources = [_of_boot_log(bank, boot_log or ()), _of_event_log(bank, _parsed(event_log))]
        for start, events in sources:  # the firmware's log comes last: it counts more
            for pcr, value in _replayed(bank, start, events).items():
                if values.get(pcr) == value:
                    found[bank, pcr] = tuple(event for number, event in events if number == pcr)
    return found


def claimed_events(register: Register, boot_log: Iterable[BootEvent]) -> tuple[MeasuredEvent, ...]:
    """What a boot log says of a register, whether it leads to its value or not: the host's word."""
    bank, pcr = register
    return tuple(event for number, event in _of_boot_log(bank, boot_log)[1] if number == pcr)


_Source = tuple[dict[int, bytes], list[tuple[int, MeasuredEvent]]]


def _parsed(log: bytes | EventLog | None) -> EventLog | None:
    try:
        return parse_event_log(log) if isinstance(log, bytes) else log
    except FormatError:
        return None


def _of_event_log(bank: str, log: EventLog | None) -> _Source:
    try:
        start = start_values(bank, 0 if log is None else log.startup_locality())
    except FormatError:
        return {}, []
    if log is None:
        return start, []
    events = [event for event in log.events if event.type != EV_NO_ACTION]
    if not all(bank in event.digests for event in events):
        return {}, []
    return start, [(event.pcr, _of_firmware(event, bank)) for event in events]


def _of_firmware(event: Event, bank: str) -> MeasuredEvent:
    text = event_line(event)
    return MeasuredEvent(event.digests[bank], text, is_whole(text) and is_own_digest(event, bank))


def _of_boot_log(bank: str, log: Iterable[BootEvent]) -> _Source:
    return start_values(bank, dynamic_launch=True), [
        (event.pcr, _measured(event, bank)) for event in log if bank in event.digests
    ]


def _measured(event: BootEvent, bank: str) -> MeasuredEvent:
    digest, text = event.digests[bank], event.description
    line, measured = one_line(text), text.encode("ascii", "replace")
    return MeasuredEvent(digest, line, is_whole(line) and is_digest_of(measured, digest, bank))


def _replayed(
    bank: str, start: dict[int, bytes], events: list[tuple[int, MeasuredEvent]]
) -> dict[int, bytes]:
    """Values of the registers that the events extend; one that they do not extend is not told of."""
    if not events:
        return {}
    try:
        values = replay(bank, ((pcr, event.digest) for pcr, event in events), start)
    except FormatError:
        return {}
    return {pcr: values[pcr] for pcr in {pcr for pcr, _ in events}}
