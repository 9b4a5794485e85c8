"""The event log and the boot log beside the signed PCR values.

A log that leads to the signed values has proven digests; what it says beside them is a claim, but for events
whose digest is that of their data. docs/evidence-format.md, The event log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import Event, EventLog, parse_event_log
from xentpm_lib.evidence.event_types import (
    EV_ACTION,
    EV_EFI_ACTION,
    EV_EFI_VARIABLE_DRIVER_CONFIG,
    EV_NO_ACTION,
    EV_SEPARATOR,
    EVENT_TYPES,
)
from xentpm_lib.evidence.pcr import PcrValues, replay
from xentpm_lib.verifier.appraisal.components import component
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.policy.model import Policy, Replay

__all__ = ["MAX_EVENT_FINDINGS", "boot_log_findings", "event_log_findings"]

MAX_EVENT_FINDINGS = 8  # about single events of one log; a hostile one could make 8,192

_OF_THEIR_DATA = frozenset({EV_SEPARATOR, EV_ACTION, EV_EFI_ACTION, EV_EFI_VARIABLE_DRIVER_CONFIG})
"""Event types whose digest is the digest of the event's data. Spec: PC Client PFP, Event Types."""


def event_log_findings(
    untrusted_log: bytes | None, pcrs: PcrValues, policy: Policy
) -> tuple[tuple[Finding, ...], EventLog | None]:
    """What is wrong with the log, and the log itself when it leads to the signed values.

    1. there is one where the policy wants one
    2. it can be read
    3. it leads to the signed values in every bank, in the policy's ``event_log_pcrs``
    4. no event in these is of an unknown type
    5. what it says of separators, actions and firmware settings is what was measured

    pcrs: the signed values.
    """
    if policy.replay is Replay.IGNORED:
        return (), None
    # 1. there is one
    if untrusted_log is None:
        required = policy.replay is Replay.REQUIRED
        return ((finding("EVENT_LOG_MISSING", where="event_log"),) if required else ()), None
    # 2. it can be read
    try:
        log = parse_event_log(untrusted_log)
    except FormatError as error:
        return (finding("EVENT_LOG_MALFORMED", where="event_log", detail=str(error)),), None
    # 3. it leads to the signed values
    mismatches = tuple(_mismatches(log, pcrs, policy))
    # 4. known types, 5. digests of data
    events = tuple(islice(_event_findings(log, policy), MAX_EVENT_FINDINGS))
    return mismatches + events, None if mismatches else log


def _mismatches(log: EventLog, pcrs: PcrValues, policy: Policy) -> Iterator[Finding]:
    for rules in policy.banks:
        try:
            replayed = log.replay(rules.bank, policy.dynamic_launch)
        except FormatError as error:
            yield finding("EVENT_LOG_MISMATCH", where=rules.bank, detail=str(error))
            continue
        for pcr in policy.event_log_pcrs:
            if replayed[pcr] != pcrs[rules.bank][pcr]:
                yield finding(
                    "EVENT_LOG_MISMATCH",
                    expected=pcrs[rules.bank][pcr].hex(),
                    actual=replayed[pcr].hex(),
                    where=f"{rules.bank}:{pcr}",
                    component=component(policy.boot, pcr),
                )


def _event_findings(log: EventLog, policy: Policy) -> Iterator[Finding]:
    for number, event in enumerate(log.events):
        if event.type == EV_NO_ACTION or event.pcr not in policy.event_log_pcrs:
            continue
        if event.type not in EVENT_TYPES:
            yield _about_event("EVENT_LOG_UNKNOWN_EVENT", number, event, policy, "of an unknown type")
        elif event.type in _OF_THEIR_DATA and not _is_of_its_data(event, policy):
            yield _about_event(
                "EVENT_LOG_MISMATCH", number, event, policy, "its data is not what was measured"
            )


def _about_event(code: str, number: int, event: Event, policy: Policy, detail: str) -> Finding:
    return finding(
        code,
        actual=event.type_name(),
        where=f"event_log[{number}]",
        component=component(policy.boot, event.pcr),
        detail=detail,
    )


def _is_of_its_data(event: Event, policy: Policy) -> bool:
    """Whether the digests are those of the data; that one is missing is told for the bank as a whole."""
    banks = [rules.bank for rules in policy.banks if rules.bank in event.digests]
    return all(event.digests[bank] == digest(bank, event.data) for bank in banks)


def boot_log_findings(
    boot_log: tuple[BootEvent, ...] | None, pcrs: PcrValues, policy: Policy
) -> tuple[Finding, ...]:
    """What differs between the boot log, which dom0 computes from its files, and what was measured.

    A register that the log has no event for is not compared.
    """
    return tuple(_boot_mismatches(boot_log, pcrs, policy)) if boot_log else ()


def _boot_mismatches(log: Iterable[BootEvent], pcrs: PcrValues, policy: Policy) -> Iterator[Finding]:
    events = tuple(log)
    for rules in policy.banks:
        try:
            extended = [(event.pcr, event.digests[rules.bank]) for event in events]
            replayed = replay(rules.bank, extended, _dynamic_start(policy, pcrs[rules.bank]))
        except (FormatError, KeyError):
            yield finding("BOOT_LOG_MISMATCH", where=rules.bank, detail="it has not all digests of the bank")
            continue
        for pcr in sorted({event.pcr for event in events}):
            if replayed[pcr] != pcrs[rules.bank][pcr]:
                yield finding(
                    "BOOT_LOG_MISMATCH",
                    expected=pcrs[rules.bank][pcr].hex(),
                    actual=replayed[pcr].hex(),
                    where=f"{rules.bank}:{pcr}",
                    component=component(policy.boot, pcr),
                )


def _dynamic_start(policy: Policy, values: dict[int, bytes]) -> dict[int, bytes]:
    """Registers 17 to 22 start as zeros after a dynamic launch."""
    if not policy.dynamic_launch:
        return {}
    return {pcr: bytes(len(values[pcr])) for pcr in range(17, 23)}
