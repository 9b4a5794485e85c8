"""Enrolling a pool's hosts: first contact, proof of each host's keys, and what is written down of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.enrolment.enrol import Discovered, Enrolled, Rules, discover, enrol_hosts
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.fleet.sightings import sightings
from xentpm_lib.verifier.operations import known_pools, policies
from xentpm_lib.verifier.operations.choice import hosts_to_enrol
from xentpm_lib.verifier.operations.enrolment_entries import Findings, write
from xentpm_lib.verifier.operations.pools import credentials_of
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.policy.loader import shipped_names
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import EkTrust, PoolRecord, TlsTrust
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials
from xentpm_lib.verifier.xapi.pool import PoolClient

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
        UsageError: a host that the pool does not have or that is another pool's, certificates that cannot be
            read.
        PolicyError: the policy has mistakes.
        CollectionError: the pool's master cannot be reached, is not recognised, or refuses.
        EnrolmentError: ``XENTPM_POOL_CHANGED``: it says that it is an enrolled pool, and is not known to be;
            or somebody else changed the pool's record meanwhile.
        StoreError: the store cannot be used; ``XENTPM_STORE_CHANGED``: somebody else changed the policy
            meanwhile.
    """
    group = request.group or DEFAULT_GROUP
    given = None if request.policy is None else policies.load(request.policy)
    before = None if given is not None else _policy_before(station, group)
    policy = given or before or policies.ready(shipped_names()[0])
    anchors = EkAnchors.load(request.ek_ca, request.ek_pins, EkTrust.FIRST_USE in policy.ek_trust)
    found = _discovered(request)
    known = station.registry.find_pool(found.pool.pool_id)
    found = known_pools.checked(station, found, request.url, request.login, request.replace)
    chosen = hosts_to_enrol(station.registry, found, request.hosts)
    begin(len(chosen))
    named = frozenset(name.lower() for name in request.hosts)
    rules = Rules(anchors, policy, time.time, group, request.replace, station.registry.hosts(), named)
    with PoolClient(found.pool, lambda: credentials_of(request.login)) as client:
        hosts = tuple(enrol_hosts(client, chosen, rules, done))
    words = {one.info.uuid: station.registry.word_for(one.info.uuid) for one in hosts}
    changes = () if known is None else known_pools.differences(known, found.pool)
    assign = given is not None
    findings = Findings(found.pool, known, hosts, rules, before, assign, request.group, request.login)
    hosts = write(station, findings)
    assigned = assign or before is None
    enrolment = Enrolment(found.pool, hosts, group, policy, assigned, anchors.skipped, changes, words)
    if any(one.host is not None for one in hosts):
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


def _policy_before(station: Station, group: str) -> Policy | None:
    """The policy that the group has; None where it has none. Raises: PolicyError when it has mistakes."""
    try:
        return station.registry.policy_of_group(group)
    except PolicyError:
        if group in station.registry.policies():
            raise
        return None


def _write_others(station: Station, found: Discovered) -> None:
    """Have the pool's hosts that are not enrolled on record, so that they are listed."""
    names = {host.uuid: host.name for host in found.hosts}
    items = sightings(station.registry, found.pool.pool_id, names, time.time())
    if items:
        station.store.append_all(items, who=who())
        station.refresh()
