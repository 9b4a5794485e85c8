"""What every host is at a time, and when that changes. Trust is a lease: it ends when nobody renews it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from xentpm_lib.verifier.findings import LASTING, Finding
from xentpm_lib.verifier.ledger_bodies import StateChange
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import AttestationResult, State, TpmClock, states_since_trust

__all__ = [
    "CLOCK_TOLERANCE_S",
    "States",
    "Transition",
    "from_the_future",
    "has_ended",
    "is_of",
    "lasting",
    "state_at",
    "still_in_doubt",
]

CLOCK_TOLERANCE_S = 5.0
"""How far ahead of the clock a result may be: a clock that is set right by a little voids nothing."""


def state_at(
    host: HostRecord | None, result: AttestationResult | None, now: float, ended: bool = False
) -> State:
    """What a host is: NOT_ENROLLED without a record, STALE without a result that holds now.

    A result of another enrolment of the host is not about this record of it. Nor does one hold that is from
    the future: then the clock of this station was set back, and no lease can be measured; nor one that the
    ledger says has ``ended``, whatever the clock says now (``has_ended``).
    A stored result that was altered says so at any time, for its own times are nothing to go by. What lasts
    until the host is enrolled anew is not over with the lease: it was another host once.
    """
    if host is None:
        return State.NOT_ENROLLED
    if result is not None and any(one.code == "RECORD_ALTERED" for one in result.findings):
        return result.state
    if result is None or not is_of(host, result):
        return State.STALE
    if lasting(result):
        return result.state
    if ended or not result.appraised_at - CLOCK_TOLERANCE_S <= now < result.expires_at:
        return State.STALE
    return result.state


def is_of(host: HostRecord, result: AttestationResult) -> bool:
    """Whether a result is of this enrolment of the host, and not of one before.

    Entries of the ledger have an order whatever clocks say. Only a stored result that does not tell by which
    entry it was made is told by its time.
    """
    if result.host_serial:
        return result.host_serial == host.serial
    return host.enrolled_at <= result.appraised_at


def from_the_future(result: AttestationResult, now: float) -> bool:
    """Whether the clock was set back since the result was made, by more than a little."""
    return result.appraised_at > now + CLOCK_TOLERANCE_S


def has_ended(change: StateChange | None, result_id: int) -> bool:
    """Whether a stored result is over for good. change: the last one that the ledger has of the host.

    Once it is written that a host is stale, none of its results so far holds again: a clock that is set
    back, or one that goes on to the time of a result from the future, does not bring one back to life.
    """
    if change is None or change.new is not State.STALE or change.result_id is None:
        return False
    return result_id <= change.result_id


@dataclass(frozen=True, slots=True)
class Transition:
    """The state of a host was ``old`` (None: there was none yet) and is ``new`` since ``at``.

    passed: the states that it had since it was last trusted, ``old`` among them.
    """

    host_id: str
    old: State | None
    new: State
    at: float
    passed: frozenset[State] = field(default=frozenset(), compare=False)


@dataclass(slots=True)
class _Standing:
    """told: what everybody was told last, and since when. clock: of the last quote that held.

    appraised_at, expires_at: of the last result. doubts: the findings that last until the host is enrolled
    anew. restored: its lease is from before this process was started.
    """

    host: HostRecord
    told: State | None = None
    since: float = 0.0
    appraised_at: float = 0.0
    expires_at: float = 0.0
    clock: TpmClock | None = None
    doubts: tuple[Finding, ...] = ()
    restored: bool = True
    passed: frozenset[State] = frozenset()

    def tell(self, state: State, at: float) -> None:
        """Note what is told now."""
        if self.told is not state:
            self.told, self.since = state, at
            self.passed = states_since_trust(self.passed, state)

    def go_on(self, result: AttestationResult, clock: TpmClock | None) -> None:
        """Go on from a result of this enrolment."""
        self.appraised_at, self.expires_at = result.appraised_at, result.expires_at
        self.clock, self.doubts = clock, lasting(result)

    def has_lapsed(self, now: float) -> bool:
        """Whether the lease has ended, or is from the future and cannot be measured."""
        return self.expires_at <= now or self.appraised_at > now + CLOCK_TOLERANCE_S


class States:
    """The states of all hosts as they were told last. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standings: dict[str, _Standing] = {}

    def enrol(self, host: HostRecord) -> None:
        """Begin with a host. One that is enrolled anew begins anew: another TPM has another clock."""
        with self._lock:
            standing = self._standings.get(host.host_id)
            if standing is None:
                self._standings[host.host_id] = _Standing(host)
            elif standing.host.serial != host.serial:
                again = _Standing(host, standing.told, standing.since)
                again.passed = standing.passed
                self._standings[host.host_id] = again

    def forget(self, host_id: str) -> None:
        """End with a host, if it is known."""
        with self._lock:
            self._standings.pop(host_id, None)

    def restore(self, result: AttestationResult, clock: TpmClock | None) -> None:
        """Go on from a host's latest stored result; what was told of it comes by ``told``.

        clock: of the last quote that held, which may be older than the result.
        """
        with self._lock:
            standing = self._standings.get(result.host_id)
            if standing is not None and is_of(standing.host, result):
                standing.go_on(result, clock)

    def restore_altered(self, result: AttestationResult) -> None:
        """Go on from a stored result that was altered since the host was enrolled: that is all we know."""
        with self._lock:
            standing = self._standings.get(result.host_id)
            if standing is not None:
                standing.doubts = lasting(result)

    def told(self, host_id: str, state: State, at: float) -> None:
        """A change was told: by another process, or by this one. To be called in the order of the ledger."""
        with self._lock:
            standing = self._standings.get(host_id)
            if standing is not None:
                standing.tell(state, at)

    def passed(self, host_id: str, states: frozenset[State]) -> None:
        """At a start: what a host went through since it was last trusted."""
        with self._lock:
            standing = self._standings.get(host_id)
            if standing is not None:
                standing.passed = states

    def previous_clock(self, host_id: str) -> TpmClock | None:
        """The clock of the host's last quote that held; None when there was none since its enrolment."""
        standing = self._standings.get(host_id)
        return None if standing is None else standing.clock

    def doubts(self, host_id: str) -> tuple[Finding, ...]:
        """What was found of the host since its enrolment and lasts until it is enrolled anew."""
        standing = self._standings.get(host_id)
        return () if standing is None else standing.doubts

    def current(self, host_id: str) -> State | None:
        """What was told last; None before anything was."""
        standing = self._standings.get(host_id)
        return None if standing is None else standing.told

    def since(self, host_id: str) -> float:
        """When the state that was told last began."""
        standing = self._standings.get(host_id)
        return 0.0 if standing is None else standing.since

    def counts(self) -> Counter[State | None]:
        """How many hosts are in each state; None: those that were not asked yet."""
        with self._lock:
            return Counter(standing.told for standing in self._standings.values())

    def transitions(self, results: Iterable[AttestationResult]) -> list[Transition | None]:
        """For each of these results, which follow each other, the change that it makes.

        Nothing is kept of it: call ``committed`` once they are stored.
        """
        last: dict[str, State] = {}
        passed: dict[str, frozenset[State]] = {}
        changes: list[Transition | None] = []
        for result in results:
            old = last.get(result.host_id) or self.current(result.host_id)
            last[result.host_id] = new = result.state
            before = passed.get(result.host_id, self._passed(result.host_id))
            passed[result.host_id] = states_since_trust(before, new)
            changed = Transition(result.host_id, old, new, result.appraised_at, before)
            changes.append(None if new is old else changed)
        return changes

    def _passed(self, host_id: str) -> frozenset[State]:
        standing = self._standings.get(host_id)
        return frozenset() if standing is None else standing.passed

    def committed(self, results: Iterable[AttestationResult]) -> None:
        """These results are stored, and their changes are told."""
        with self._lock:
            for result in results:
                standing = self._standings.get(result.host_id)
                if standing is None:
                    continue
                standing.tell(result.state, result.appraised_at)
                if is_of(standing.host, result):
                    standing.go_on(result, result.clock or standing.clock)
                    standing.restored = False

    def has_lapsed(self, host_id: str, now: float) -> bool:
        """Whether the host's lease has ended, as far as it is known here."""
        standing = self._standings.get(host_id)
        return standing is not None and standing.has_lapsed(now)

    def lapsed(self, now: float, restored: bool = True) -> list[Transition]:
        """The hosts whose lease has ended, and for whom that was not told yet; not those that are in doubt
        until they are enrolled anew, for whom the lease is of no matter.

        restored: also those that were not attested yet since this process was started. Leases from the
        future are among them at any rate: nobody can say later that they were.
        """
        with self._lock:
            return [
                Transition(host_id, standing.told, State.STALE, now, standing.passed)
                for host_id, standing in self._standings.items()
                if standing.has_lapsed(now)
                and standing.told not in (State.STALE, None)
                and not standing.doubts
                and (restored or not standing.restored or standing.expires_at > now)
            ]


def lasting(result: AttestationResult) -> tuple[Finding, ...]:
    """What of a result's findings lasts until the host is enrolled anew.

    A result carries those of the results before it, so the newest has all of them.
    """
    return tuple(one for one in result.findings if one.failed and one.code in LASTING)


def still_in_doubt(doubts: tuple[Finding, ...], result: AttestationResult) -> AttestationResult:
    """The result with those of these findings that it does not have yet."""
    known = {one.code for one in result.findings}
    more = tuple(one for one in doubts if one.code not in known)
    return replace(result, findings=result.findings + more) if more else result
