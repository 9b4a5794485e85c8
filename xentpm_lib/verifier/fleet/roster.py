"""Which hosts there are and what each is judged by, as the ledger goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from xentpm_lib.errors import PolicyError, UsageError
from xentpm_lib.verifier.fleet.attestation import Subject
from xentpm_lib.verifier.fleet.recorder import Outline
from xentpm_lib.verifier.fleet.states import States
from xentpm_lib.verifier.ledger_readers import read_state_change, read_targets
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, PoolRecord
from xentpm_lib.verifier.registry import LedgerEntry, Registry

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
    """The registry as the fleet looks at it. One thread applies entries; any may ask."""

    def __init__(self, registry: Registry, states: States) -> None:
        self.registry = registry
        self._states = states
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

    def apply(self, entries: Iterable[LedgerEntry]) -> Effects:
        """Take in the entries that follow. Raises: StoreError."""
        effects = Effects()
        for entry in entries:
            concerned = self._concerned(entry)
            self.registry.apply(entry)
            effects.judged_anew |= concerned | self._concerned(entry)
            self._note(entry, effects)
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
        elif entry.kind == "state_changed":
            change = read_state_change(subject, entry.body)
            self._states.told(subject, change.new, change.at)

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
