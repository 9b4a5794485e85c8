"""Enrolling a pool's hosts: first contact, proof of each host's keys, and what is written down of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from xentpm_lib.errors import PolicyError, UsageError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.enrolment.enrol import Discovered, Enrolled, Rules, discover, enrol_hosts
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.fleet.sightings import sightings
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.operations import known_pools, policies
from xentpm_lib.verifier.operations.pools import credentials_of
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.policy.loader import shipped_names
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import EkTrust, PoolRecord, TlsTrust
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials
from xentpm_lib.verifier.xapi.pool import HostInfo, PoolClient

__all__ = ["EnrolRequest", "Enrolment", "enrol", "without_baseline"]

DEFAULT_GROUP = "default"
_HINTS = {
    "XAPI_AUTHENTICATION": "Nothing was kept. Try again; --username says who logs in, if it is not root.",
    "TLS_CERTIFICATE": "The --pin or --ca is wrong, or somebody is in between: compare it on the host.",
    "POOL_UNREACHABLE": "Look at the URL, at the network, and at the pool's master.",
}
"""What to do where a pool is enrolled; elsewhere the advice of the finding counts."""


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """What to enrol and whom to believe.

    ek_ca: files and directories of TPM makers' certificates. ek_pins: fingerprints or files.
    policy: name or file, None for what the group has. hosts: names or UUIDs, all when empty.
    """

    url: str
    tls: TlsTrust
    login: StoredCredentials
    ek_ca: tuple[Path, ...] = ()
    ek_pins: tuple[str, ...] = ()
    policy: str | None = None
    group: str | None = None
    hosts: tuple[str, ...] = ()
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What came of it. group: the new hosts'. policy: which appraises it.

    pool_changes: what is another than before in the record of a pool that was enrolled already, in words.
    words: UUID to what the host is called in a command that people paste.
    """

    pool: PoolRecord
    hosts: tuple[Enrolled, ...]
    group: str
    policy: Policy
    policy_assigned: bool
    skipped: tuple[str, ...] = ()
    pool_changes: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every host was enrolled."""
        return all(one.host is not None for one in self.hosts)


def enrol(
    station: Station,
    request: EnrolRequest,
    begin: Callable[[int], None] = lambda _count: None,
    done: Callable[[Enrolled], None] = lambda _one: None,
) -> Enrolment:
    """Enrol the hosts of a pool; those that fail stop none of the others.

    begin: called with the number of hosts; done: with each that is finished.

    Raises:
        UsageError: a host that the pool does not have, certificates that cannot be read.
        PolicyError: the policy has mistakes.
        CollectionError: the pool's master cannot be reached, is not recognised, or refuses.
        EnrolmentError: ``XENTPM_POOL_CHANGED``: it says that it is an enrolled pool, and is not known to be.
        StoreError: the store cannot be used.
    """
    group = request.group or DEFAULT_GROUP
    policy, assigned = _policy(station, request, group)
    anchors = EkAnchors.load(request.ek_ca, request.ek_pins, EkTrust.FIRST_USE in policy.ek_trust)
    found = _discovered(request)
    found = known_pools.checked(station, found, request.url, request.login, request.replace)
    chosen = _chosen(found, request.hosts)
    begin(len(chosen))
    rules = Rules(anchors, policy, time.time(), group, request.replace, station.registry.hosts())
    with PoolClient(found.pool, lambda: credentials_of(request.login)) as client:
        hosts = tuple(enrol_hosts(client, chosen, rules, done))
    changes = _changes(station, found.pool)
    words = {one.info.uuid: station.registry.word_for(one.info.uuid) for one in hosts}
    enrolment = Enrolment(found.pool, hosts, group, policy, assigned, anchors.skipped, changes, words)
    if any(one.host is not None for one in hosts):
        _write(station, request, enrolment)
        _write_others(station, found)
        return enrolment
    return replace(enrolment, pool_changes=())


def without_baseline(station: Station, done: Enrolment) -> list[str]:
    """The enrolled hosts for which no baseline counts yet, as words for a command."""
    records = [station.registry.host(one.info.uuid) for one in done.hosts if one.host is not None]
    without = [record for record in records if not station.registry.references_for(record)]
    return [station.registry.word_for(record.host_id) for record in without]


def _discovered(request: EnrolRequest) -> Discovered:
    try:
        return discover(request.url, request.tls, lambda: credentials_of(request.login))
    except CollectionError as error:
        error.hint = error.hint or _HINTS.get(error.finding, "")
        raise


def _policy(station: Station, request: EnrolRequest, group: str) -> tuple[Policy, bool]:
    """The group's policy, and whether it is to be assigned to it. The usual one where there is none."""
    if request.policy is not None:
        return policies.load(request.policy), True
    try:
        return station.registry.policy_of_group(group), False
    except PolicyError:
        if group in station.registry.policies():
            raise
        return policies.ready(shipped_names()[0]), True


def _chosen(found: Discovered, names: tuple[str, ...]) -> list[HostInfo]:
    if not names:
        return list(found.hosts)
    unknown = [name for name in names if all(name not in (host.name, host.uuid) for host in found.hosts)]
    if unknown:
        known = ", ".join(host.name for host in found.hosts)
        raise UsageError(f"the pool has no host {unknown[0]!a}; it has: {known}")
    return [host for host in found.hosts if host.name in names or host.uuid in names]


def _write(station: Station, request: EnrolRequest, enrolment: Enrolment) -> None:
    pool = enrolment.pool
    items: list[LedgerItem] = list(_pool_items(station, pool))
    if enrolment.policy_assigned:
        items.append(ledger_bodies.policy_assigned(enrolment.group, enrolment.policy.text))
    for one in enrolment.hosts:
        if one.host is None:
            continue
        record = one.host.record
        if one.host.updated:
            items.append(ledger_bodies.host_updated(record))
        elif not one.host.unchanged:
            record = replace(record, group=request.group or record.group)
            items.append(ledger_bodies.host_enrolled(record))
        if one.host.same_record and request.group not in (None, record.group):
            items.append(ledger_bodies.host_group(record.host_id, enrolment.group))
    station.store.put_credentials(pool.pool_id, request.login)
    station.store.append_all(items, who=who())
    station.refresh()


def _write_others(station: Station, found: Discovered) -> None:
    """Have the pool's hosts that are not enrolled on record, so that they are listed."""
    names = {host.uuid: host.name for host in found.hosts}
    items = sightings(station.registry, found.pool.pool_id, names, time.time())
    if items:
        station.store.append_all(items, who=who())
        station.refresh()


def _changes(station: Station, pool: PoolRecord) -> tuple[str, ...]:
    known = station.registry.find_pool(pool.pool_id)
    return () if known is None else known_pools.differences(known, pool)


def _pool_items(station: Station, pool: PoolRecord) -> tuple[LedgerItem, ...]:
    known = station.registry.find_pool(pool.pool_id)
    if known is None:
        return (ledger_bodies.pool_added(pool),)
    return () if known == pool else (ledger_bodies.pool_changed(pool),)
