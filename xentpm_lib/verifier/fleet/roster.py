"""Which hosts there are and what each is judged by, as the ledger goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from xentpm_lib.errors import PolicyError, UsageError
from xentpm_lib.verifier.appraisal import unappraised
from xentpm_lib.verifier.findings import Finding
from xentpm_lib.verifier.fleet.attestation import Subject
from xentpm_lib.verifier.fleet.recording import Outline, Recording
from xentpm_lib.verifier.fleet.states import States
from xentpm_lib.verifier.ledger_readers import read_targets
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, PoolRecord
from xentpm_lib.verifier.registry import LedgerEntry, Registry
from xentpm_lib.verifier.result import AttestationResult, State

__all__ = ["Effects", "Roster"]


@dataclass(slots=True)
class Effects:
    """What new entries mean, by UUID of host or pool.

    begun: hosts that were enrolled, perhaps anew. gone: those that were removed.
    judged_anew: hosts for which something else counts now. pools: those whose addresses or trust changed.
    """

    begun: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    judged_anew: set[str] = field(default_factory=set)
    pools: set[str] = field(default_factory=set)


class Roster:
    """The registry as the fleet looks at it. Safe for several threads."""

    def __init__(self, registry: Registry, states: States) -> None:
        self.registry = registry
        self._states = states
        self._lock = threading.Lock()
        self._effects = Effects()
        for host in registry.hosts():
            states.enrol(host)

    def hosts(self) -> tuple[HostRecord, ...]:
        """All enrolled hosts."""
        return self.registry.hosts()

    def policy(self, host_id: str) -> Policy | None:
        """The host's policy; None when the host is not enrolled or its group has none that is usable."""
        host = self.registry.find_host(host_id)
        if host is None:
            return None
        try:
            return self.registry.policy_for(host)
        except PolicyError:
            return None

    def pool(self, pool_id: str) -> PoolRecord | None:
        """The pool, None when it is not known."""
        try:
            return self.registry.pool(pool_id)
        except UsageError:
            return None

    def subject(self, host_id: str) -> Subject | None:
        """The host with all that it is judged by now; None when it is not to be judged."""
        host, policy = self.registry.find_host(host_id), self.policy(host_id)
        if host is None or policy is None:
            return None
        references = self.registry.references_for(host)
        states = self._states
        return Subject(host, policy, references, states.previous_clock(host_id), states.doubts(host_id))

    def outline(self, host_id: str) -> Outline | None:
        """What is told of the host beside its result; None when it is not enrolled."""
        host, policy = self.registry.find_host(host_id), self.policy(host_id)
        if host is None:
            return None
        pool = self.pool(host.pool_id)
        disable = policy is not None and policy.disable_host
        return Outline(host.name, host.pool_id, "" if pool is None else pool.name, disable)

    def outdated(self, recording: Recording) -> str:
        """Why a result must not be stored: what it rests on counts no more; empty when it does.

        A result of another enrolment says nothing of this one. Of this one, what denies trust counts all the
        same; trust only by the policy, the reference values and the expectations of now.
        """
        result = recording.result
        host = self.registry.find_host(result.host_id)
        if host is None:
            return "the host was forgotten"
        if result.host_serial != host.serial:
            return "the host was enrolled anew"
        if result.state is not State.TRUSTED:
            return ""
        policy = self.policy(host.host_id)
        if policy is None or policy.used != result.policy:
            return "its policy was changed"
        active = {one.reference_id for one in self.registry.references_for(host)}
        if not active.issuperset(used.id for used in result.references if used.matched):
            return "its baseline was retired, or is not assigned to it any more"
        if result.ek_trust != host.ek_trust.value or _expected(recording.host) != _expected(host):
            return "something else is expected of it"
        return ""

    def unjudged(self, host_id: str, found: Finding, now: float) -> AttestationResult | None:
        """The result of a host that could not be judged; None when it is not to be judged any more."""
        host, policy = self.registry.find_host(host_id), self.policy(host_id)
        if host is None or policy is None:
            return None
        return unappraised(host, policy, now, found)

    def apply(self, entries: Iterable[LedgerEntry]) -> Effects:
        """Take in the entries that follow, and give what they mean. Raises: StoreError."""
        for entry in entries:
            self.take(entry)
        return self.take_effects()

    def take(self, entry: LedgerEntry) -> None:
        """Take in the next entry, unless another thread did. Raises: StoreError."""
        with self._lock:
            if entry.seq <= self.registry.seq:
                return
            concerned = self._concerned(entry)
            self.registry.apply(entry)
            self._effects.judged_anew |= concerned | self._concerned(entry)
            self._note(entry, self._effects)

    def take_effects(self) -> Effects:
        """What all entries mean that were taken in since the last time, by whatever thread."""
        with self._lock:
            effects, self._effects = self._effects, Effects()
        effects.judged_anew -= effects.begun | effects.gone
        return effects

    def _note(self, entry: LedgerEntry, effects: Effects) -> None:
        subject = entry.subject
        if entry.kind == "host_enrolled":
            effects.begun.add(subject)
            effects.gone.discard(subject)
            self._states.enrol(self.registry.host(subject))
        elif entry.kind == "host_updated" and self.registry.find_host(subject) is not None:
            effects.begun.add(subject)
        elif entry.kind == "host_removed":
            effects.gone.add(subject)
            effects.begun.discard(subject)
            self._states.forget(subject)
        elif entry.kind in ("pool_added", "pool_changed", "pool_removed"):
            effects.pools.add(subject)

    def _concerned(self, entry: LedgerEntry) -> set[str]:
        """The hosts for which an entry changes what counts, as the registry is now."""
        if entry.kind in ("host_group", "asset_tag_expected"):
            return {entry.subject}
        if entry.kind == "policy_assigned":
            return {host.host_id for host in self.hosts() if host.group == entry.subject}
        if not entry.kind.startswith("reference_"):
            return set()
        hosts, groups = self._targets(entry)
        return set(hosts) | {host.host_id for host in self.hosts() if host.group in groups}

    def _targets(self, entry: LedgerEntry) -> tuple[frozenset[str], frozenset[str]]:
        if entry.kind != "reference_retired":
            return read_targets(entry.body)
        try:
            reference = self.registry.reference(entry.subject)
        except UsageError:
            return frozenset(), frozenset()
        return reference.hosts, reference.groups


def _expected(host: HostRecord | None) -> bytes | None:
    return None if host is None else host.asset_tag
