"""What is true now, out of the ledger's entries: pools, hosts, policies, reference values. Pure.

Entries are applied in their order and only once they were verified (``Store.entries`` does). An entry about
something that is not there (any more) changes nothing: two administrators may have been at work at once.
An entry that cannot be read is an error, and nothing after it counts: a rule that is silently skipped could
be the one that withdraws trust.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

from xentpm_lib.errors import PolicyError, UsageError, XenTpmError
from xentpm_lib.verifier import ledger_readers as readers
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import BODY_VERSION, StateChange
from xentpm_lib.verifier.policy.loader import load_policy
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, PoolRecord, ReferenceValues, UnenrolledHost
from xentpm_lib.verifier.result import State, states_since_trust

__all__ = ["LedgerEntry", "Registry"]

_MIN_PREFIX = 8  # characters of a UUID that may stand for all of it
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*")


class LedgerEntry(Protocol):
    """What the registry reads of an entry. ``store.Entry`` is one."""

    @property
    def seq(self) -> int:
        """The entry's number."""

    @property
    def kind(self) -> str:
        """One of ``ledger_readers.KINDS``."""

    @property
    def subject(self) -> str:
        """The UUID or name that it is about."""

    @property
    def body(self) -> dict[str, Any]:
        """As ``ledger_bodies`` makes it."""


class Registry:
    """All that the ledger says, as of entry ``seq``. Queries give immutable records and can be asked while
    another thread applies entries."""

    def __init__(self) -> None:
        self.seq = 0
        self._pools: dict[str, PoolRecord] = {}
        self._hosts: dict[str, HostRecord] = {}
        self._unenrolled: dict[str, UnenrolledHost] = {}
        self._forgotten: set[str] = set()
        self._policy_texts: dict[str, str] = {}
        self._policies: dict[str, Policy] = {}
        self._references: dict[str, ReferenceValues] = {}
        self._places: dict[str, int] = {}  # of reference values, in the order in which they were added
        self._assigned: dict[tuple[str, str], frozenset[str]] = {}  # to a host or group: active ones
        self._states: dict[str, StateChange] = {}
        self._passed: dict[str, frozenset[State]] = {}  # host: its states since it was last trusted

    @classmethod
    def from_entries(cls, entries: Iterable[LedgerEntry]) -> Registry:
        """The registry after all of ``entries``. Raises: StoreError, as ``apply`` and ``entries`` itself."""
        registry = cls()
        for entry in entries:
            registry.apply(entry)
        return registry

    def apply(self, entry: LedgerEntry) -> None:
        """Take in the next entry.

        Raises:
            StoreError: its number is not the next one, its kind is unknown, or its body cannot be read.
        """
        if entry.seq != self.seq + 1:
            raise StoreError("ledger entry {} came after entry {}".format(entry.seq, self.seq))
        try:
            if entry.body["version"] != BODY_VERSION:
                raise ValueError("version {}".format(entry.body["version"]))
            self._apply(entry)
        except (XenTpmError, LookupError, TypeError, ValueError, AttributeError) as error:
            message = "ledger entry {} ({}) cannot be read: {}".format(entry.seq, entry.kind, error)
            raise StoreError(message, "Use the release of xentpm that wrote it, or a later one.") from error
        self.seq = entry.seq

    def pools(self) -> tuple[PoolRecord, ...]:
        """All pools, in the order in which they were added."""
        return tuple(self._pools.values())

    def pool(self, pool_id: str) -> PoolRecord:
        """The pool. Raises: UsageError when it is not known."""
        try:
            return self._pools[pool_id]
        except KeyError:
            raise UsageError("the pool {} is not known".format(pool_id)) from None

    def find_pool(self, pool_id: str) -> PoolRecord | None:
        """The pool with this UUID, or None."""
        return self._pools.get(pool_id)

    def empty_pools(self) -> tuple[PoolRecord, ...]:
        """The pools of which no host is enrolled any more: they are about to be removed."""
        used = {host.pool_id for host in self.hosts()}
        return tuple(pool for pool in self.pools() if pool.pool_id not in used)

    def hosts(self) -> tuple[HostRecord, ...]:
        """All enrolled hosts, in the order in which they were first enrolled."""
        return tuple(self._hosts.values())

    def find_host(self, host_id: str) -> HostRecord | None:
        """The host with this UUID, or None."""
        return self._hosts.get(host_id)

    def host(self, text: str) -> HostRecord:
        """The host that a person means by a UUID, a name, or the first 8 or more characters of a UUID.

        Raises:
            UsageError: there is none, or several have that name.
        """
        if text in self._hosts:
            return self._hosts[text]
        found = [host for host in self.hosts() if host.name == text]
        if not found and len(text) >= _MIN_PREFIX:
            found = [host for host in self.hosts() if host.host_id.startswith(text.lower())]
        if not found and self.find_unenrolled(text) is not None:
            hint = "Enrol it: xentpm-attest enroll."
            raise UsageError("the host {} is not enrolled".format(ascii(text)), hint)
        if not found:
            near = difflib.get_close_matches(text, [host.name for host in self.hosts()], 1)
            hint = "Did you mean {}? ".format(ascii(near[0])) if near else ""
            message = "there is no enrolled host {}".format(ascii(text))
            raise UsageError(message, hint + "See xentpm-attest hosts.")
        if len(found) > 1:
            listed = ", ".join(host.host_id for host in found[:5])
            raise UsageError(
                "{} hosts are called {}: {}".format(len(found), ascii(text), listed), "Give a UUID."
            )
        return found[0]

    def word_for(self, host_id: str) -> str:
        """The host in a command that people paste: its name where that is plain and means no other, else
        its UUID. Names are the pool's word, and might be options, commands or another host's UUID."""
        host = self._hosts.get(host_id)
        if host is None or _PLAIN_NAME.fullmatch(host.name) is None:
            return shlex.quote(host_id)
        meant = [other for other in self.hosts() if host.name in (other.name, other.host_id)]
        return host.name if len(meant) == 1 else shlex.quote(host_id)

    def unenrolled(self) -> tuple[UnenrolledHost, ...]:
        """The hosts that pools have and that are not enrolled, but for those that were forgotten."""
        return tuple(self._unenrolled.values())

    def find_unenrolled(self, text: str) -> UnenrolledHost | None:
        """The one of them that a person means, as in ``host``; None where it is none of them, or several."""
        found = [one for one in self.unenrolled() if text in (one.host_id, one.name)]
        if not found and len(text) >= _MIN_PREFIX:
            found = [one for one in self.unenrolled() if one.host_id.startswith(text.lower())]
        return found[0] if len(found) == 1 else None

    def is_known(self, host_id: str) -> bool:
        """Whether the host is enrolled, seen, or forgotten on purpose."""
        return host_id in self._hosts or host_id in self._unenrolled or host_id in self._forgotten

    def was_forgotten(self, host_id: str) -> bool:
        """Whether the host was forgotten on purpose, and not enrolled since."""
        return host_id in self._forgotten

    def groups(self) -> tuple[str, ...]:
        """Every group that has a host, a policy or reference values."""
        used = {host.group for host in self.hosts()} | set(self._policy_texts)
        used.update(*(reference.groups for reference in self.references()))
        return tuple(sorted(used))

    def policies(self) -> dict[str, Policy]:
        """Group to policy. Raises: PolicyError, as ``policy_of_group``."""
        return {group: self.policy_of_group(group) for group in sorted(self._policy_texts)}

    def policy_of_group(self, group: str) -> Policy:
        """The group's policy.

        Raises:
            PolicyError: none is assigned, or this release does not accept it any more. There is no default.
        """
        text = self._policy_texts.get(group)
        if text is None:
            hint = "Assign one: xentpm-attest policy assign POLICY --group {}.".format(group)
            raise PolicyError("the group {} has no policy".format(ascii(group)), hint)
        if group not in self._policies:
            self._policies[group] = load_policy(text, "policy of group {}".format(group))
        return self._policies[group]

    def policy_for(self, host: HostRecord) -> Policy:
        """The policy of the host's group. Raises: PolicyError, as ``policy_of_group``."""
        return self.policy_of_group(host.group)

    def references(self) -> tuple[ReferenceValues, ...]:
        """All reference values, oldest first, the retired ones as well."""
        return tuple(self._references.values())

    def reference(self, text: str) -> ReferenceValues:
        """The reference values that a person means by a UUID, the first 8 or more characters of it, or a
        label.

        Raises:
            UsageError: there are none, or several have that label.
        """
        if text in self._references:
            return self._references[text]
        found = [one for one in self.references() if one.label == text]
        if not found and len(text) >= _MIN_PREFIX:
            found = [one for one in self.references() if one.reference_id.startswith(text.lower())]
        if not found:
            hint = "See xentpm-attest baseline list."
            raise UsageError("there are no reference values {}".format(ascii(text)), hint)
        if len(found) > 1:
            listed = ", ".join(one.reference_id for one in found[:5])
            raise UsageError("several are labelled {}: {}".format(ascii(text), listed), "Give a UUID.")
        return found[0]

    def references_for(self, host: HostRecord) -> tuple[ReferenceValues, ...]:
        """What counts for the host: active, and assigned to it or to its group; oldest first."""
        nothing: frozenset[str] = frozenset()
        found = self._assigned.get(("host", host.host_id), nothing)
        found |= self._assigned.get(("group", host.group), nothing)
        return tuple(self._references[one] for one in sorted(found, key=self._places.__getitem__))

    def state(self, host_id: str) -> StateChange | None:
        """The host's last change of state; None when there never was one."""
        return self._states.get(host_id)

    def states_since_trust(self, host_id: str) -> frozenset[State]:
        """The states that the host had since it was last trusted, the present one among them."""
        return self._passed.get(host_id, frozenset())

    def _apply(self, entry: LedgerEntry) -> None:
        kind, subject, body = entry.kind, entry.subject, entry.body
        if kind in ("pool_added", "pool_changed"):
            self._pools[subject] = readers.read_pool(subject, body)
        elif kind == "pool_removed":
            self._pools.pop(subject, None)
            self._unenrolled = {one.host_id: one for one in self.unenrolled() if one.pool_id != subject}
        elif kind == "host_enrolled":
            self._hosts[subject] = readers.read_host(subject, body, entry.seq)
            self._unenrolled.pop(subject, None)
            self._forgotten.discard(subject)
        elif kind == "host_removed":
            self._remove_host(subject)
        elif kind in ("host_seen", "host_gone"):
            self._see(entry)
        elif kind == "policy_assigned":
            self._policy_texts[subject] = body["text"]
            self._policies.pop(subject, None)
        elif kind == "state_changed":
            self._states[subject] = change = readers.read_state_change(subject, body)
            self._passed[subject] = states_since_trust(self.states_since_trust(subject), change.new)
        elif kind.startswith("reference_"):
            self._apply_reference(entry)
        elif kind != "note":
            self._change_host(entry)

    def _see(self, entry: LedgerEntry) -> None:
        """A host that is enrolled, or that somebody did not want to see any more, is none of these."""
        if entry.kind == "host_gone":
            self._unenrolled.pop(entry.subject, None)
            return
        seen = readers.read_unenrolled(entry.subject, entry.body)
        if entry.subject not in self._hosts and entry.subject not in self._forgotten:
            self._unenrolled[entry.subject] = seen

    def _remove_host(self, host_id: str) -> None:
        """Another machine that is enrolled under this UUID one day starts without its reference values."""
        self._hosts.pop(host_id, None)
        self._unenrolled.pop(host_id, None)
        self._forgotten.add(host_id)
        self._states.pop(host_id, None)
        self._passed.pop(host_id, None)
        for one in self.references():
            if host_id in one.hosts:
                self._set_reference(replace(one, hosts=one.hosts - {host_id}))

    def _change_host(self, entry: LedgerEntry) -> None:
        changes: dict[str, Any]
        if entry.kind == "host_group":
            changes = {"group": entry.body["group"]}
        elif entry.kind == "host_updated":
            changes = readers.read_host_update(entry.body)
        elif entry.kind == "asset_tag_expected":
            changes = {"asset_tag": readers.read_tag(entry.body)}
        else:
            raise ValueError("the kind is unknown")
        host = self._hosts.get(entry.subject)
        if host is not None:
            self._hosts[entry.subject] = replace(host, **changes)

    def _apply_reference(self, entry: LedgerEntry) -> None:
        subject, body = entry.subject, entry.body
        if entry.kind == "reference_added":
            self._set_reference(readers.read_reference(subject, body))
            return
        one = self._references.get(subject)
        if entry.kind == "reference_retired":
            changed = None if one is None else replace(one, retired_at=float(body["at"]))
        elif entry.kind in ("reference_assigned", "reference_unassigned"):
            changed = None if one is None else _assign(one, entry)
        else:
            raise ValueError("the kind is unknown")
        if changed is not None:
            self._set_reference(changed)

    def _set_reference(self, one: ReferenceValues) -> None:
        """Keep reference values, instead of what there was of them, where ``references_for`` finds them."""
        number = one.reference_id
        before = self._references.get(number)
        self._references[number] = one
        self._places.setdefault(number, len(self._places))
        old, new = _targets(before), _targets(one)
        for target in old - new:
            self._assigned[target] -= {number}
        for target in new - old:
            self._assigned[target] = self._assigned.get(target, frozenset()) | {number}


def _targets(one: ReferenceValues | None) -> set[tuple[str, str]]:
    """The hosts and groups for which reference values count."""
    if one is None or one.retired_at is not None:
        return set()
    return {("host", host) for host in one.hosts} | {("group", group) for group in one.groups}


def _assign(one: ReferenceValues, entry: LedgerEntry) -> ReferenceValues:
    hosts, groups = readers.read_targets(entry.body)
    if entry.kind == "reference_assigned":
        return replace(one, hosts=one.hosts | hosts, groups=one.groups | groups)
    return replace(one, hosts=one.hosts - hosts, groups=one.groups - groups)
