"""The Attestation Result: what the verifier says of a host, and why. RFC 9334, section 8.4."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from xentpm_lib.verifier.findings import Category, Finding

__all__ = [
    "AttestationResult",
    "PolicyUsed",
    "ReferenceUsed",
    "State",
    "TpmClock",
    "Verdict",
    "state_of",
    "states_since_trust",
]


class Verdict(str, Enum):
    """There are two, and no way to mistake one for the other: both are true in Python's eyes."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


class State(str, Enum):
    """What a host is, for people and orchestrators. Every state but TRUSTED means: do not rely on it.

    STALE and NOT_ENROLLED are never in a result: they are what a host without a current result is.
    """

    TRUSTED = "trusted"
    UNTRUSTED_MEASUREMENT = "untrusted-measurement"
    UNTRUSTED_KEY = "untrusted-key"
    UNTRUSTED_EVIDENCE = "untrusted-evidence"
    UNREACHABLE = "unreachable"
    STALE = "stale"
    NOT_ENROLLED = "not-enrolled"
    PENDING_APPROVAL = "pending-approval"


def states_since_trust(before: frozenset[State], state: State) -> frozenset[State]:
    """The states that a host had since it was last trusted, once this one is added to those before it."""
    return frozenset() if state is State.TRUSTED else before | {state}


_STATES = (  # the first category with a failed finding decides
    (Category.KEY, State.UNTRUSTED_KEY),
    (Category.EVIDENCE, State.UNTRUSTED_EVIDENCE),
    (Category.MEASUREMENT, State.UNTRUSTED_MEASUREMENT),
    (Category.COLLECTION, State.UNREACHABLE),
    (Category.APPROVAL, State.PENDING_APPROVAL),
)


def state_of(findings: tuple[Finding, ...]) -> State:
    """The state that the findings make: the gravest failed category; trusted only when none failed."""
    failed = {found.kind.category for found in findings if found.failed}
    if not failed:
        return State.TRUSTED
    return next(state for category, state in _STATES if category in failed)


@dataclass(frozen=True, slots=True)
class TpmClock:
    """The clock information of a verified quote.

    clock: milliseconds powered. Spec: TPM 2.0 Library Part 2, TPMS_CLOCK_INFO.
    """

    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int


@dataclass(frozen=True, slots=True)
class PolicyUsed:
    """The policy that a result comes from. digest: SHA-256 of its text, hex."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class ReferenceUsed:
    """Reference values that were compared with, and whether they are the ones that matched."""

    id: str
    label: str
    matched: bool


@dataclass(frozen=True, slots=True)
class AttestationResult:
    """What was found about a host at one time. Immutable; trusted only while ``expires_at`` is in the future.

    host_id, pool_id: XAPI UUIDs. appraised_at, expires_at: seconds since 1970, UTC.
    clock: of the quote; None unless its signature and nonce held.
    ek_trust: ``certificate``, ``pinned`` or ``first_use``; empty when the host is not enrolled.
    evidence_digest: SHA-256 of the evidence document, hex; empty when there was none.
    host_serial: of the record that the host was judged by (``HostRecord.serial``); 0 where that is not known.

    Spec: RFC 9334, section 8.4.
    """

    host_id: str
    host_name: str
    pool_id: str
    findings: tuple[Finding, ...]
    appraised_at: float
    expires_at: float
    policy: PolicyUsed
    references: tuple[ReferenceUsed, ...] = ()
    clock: TpmClock | None = None
    ek_trust: str = ""
    evidence_digest: str = ""
    host_serial: int = 0

    @property
    def state(self) -> State:
        """Computed from the findings, so that no stored word can say otherwise."""
        return state_of(self.findings)

    @property
    def verdict(self) -> Verdict:
        """TRUSTED only when a quote was appraised, reference values matched and no finding failed."""
        proven = self.clock is not None and any(used.matched for used in self.references)
        if self.state is State.TRUSTED and proven:
            return Verdict.TRUSTED
        return Verdict.UNTRUSTED

    def __post_init__(self) -> None:
        if self.verdict is not Verdict.TRUSTED and self.state is State.TRUSTED:
            raise AssertionError("a result without a failed finding has to carry what was proven")

    def __bool__(self) -> NoReturn:
        raise TypeError("a result is neither true nor false: compare its verdict with Verdict.TRUSTED")
