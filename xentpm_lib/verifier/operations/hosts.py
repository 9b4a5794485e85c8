"""The fleet as it is known: its hosts, their states, and what is told of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from xentpm_lib.errors import PolicyError, UsageError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.fleet.states import from_the_future, has_ended, is_of, state_at
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.change import Announcer, Change
from xentpm_lib.verifier.operations.delivering import deliver, leave_pools
from xentpm_lib.verifier.operations.station_use import append, pool_named, who
from xentpm_lib.verifier.operations.voiding import void_from_the_future
from xentpm_lib.verifier.records import HostRecord, PoolRecord, UnenrolledHost
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredResult

__all__ = [
    "NOT_ATTESTED",
    "HostView",
    "ended",
    "expect_asset_tag",
    "finish_forgetting",
    "forget",
    "found",
    "named",
    "put_into_group",
    "unenrolled",
    "view",
    "views",
    "was_forgotten",
    "why_stale",
]

NOT_ATTESTED = "not attested yet"


@dataclass(frozen=True, slots=True)
class HostView:
    """A host as it stands. since: when its state began; None when nothing was recorded.

    result: of its last attestation since it was enrolled, which may be long ago.
    policy: its name; empty where the host's group has none.
    word: what it is called in a command that people paste.
    """

    host: HostRecord
    pool: PoolRecord
    state: State
    since: float | None
    result: AttestationResult | None
    policy: str
    word: str


def named(station: Station, word: str) -> HostRecord:
    """The host of a name or UUID. Raises: UsageError."""
    return station.registry.host(word)


def views(station: Station, hosts: Sequence[HostRecord]) -> list[HostView]:
    """The hosts as they stand now. Raises: StoreError."""
    latest = station.store.latest()
    at = time.time()  # not before: what a watch has stored meanwhile is not from the future
    void_from_the_future(station, latest, at)
    told = []
    for host in hosts:
        stored = latest.get(host.host_id)
        result = None if stored is None else stored.result
        state = state_at(host, result, at, ended(station, host, stored))
        pool = station.registry.pool(host.pool_id)
        if state is State.STALE and result is not None and not is_of(host, result):
            result = None  # of an earlier enrolment
        since, policy = _since(station, host, state, result), _policy(station, host)
        word = station.registry.word_for(host.host_id)
        told.append(HostView(host, pool, state, since, result, policy, word))
    return told


def view(station: Station, word: str) -> HostView:
    """One host as it stands. Raises: UsageError, StoreError."""
    return views(station, [named(station, word)])[0]


def ended(station: Station, host: HostRecord, stored: StoredResult | None) -> bool:
    """Whether the ledger says that a host's newest result is over."""
    return stored is not None and has_ended(station.registry.state(host.host_id), stored.result_id)


def why_stale(host: HostRecord, result: AttestationResult | None, now: float) -> str:
    """Why no result of a host holds now, in words. now: seconds since 1970."""
    if result is None or not is_of(host, result):
        return NOT_ATTESTED
    if from_the_future(result, now):
        return "attested in the future: a clock was wrong"
    if now < result.expires_at:
        return "its last result is over: a clock was wrong"
    return "its last result has expired"


def found(station: Station, word: str) -> HostRecord | UnenrolledHost:
    """The host of a name or UUID, enrolled or not. Raises: UsageError."""
    try:
        return named(station, word)
    except UsageError:
        unenrolled = station.registry.find_unenrolled(word)
        if unenrolled is None:
            raise
        return unenrolled


def unenrolled(station: Station, pool: str | None = None) -> list[UnenrolledHost]:
    """The hosts of the pools that are not enrolled; of one pool, where one is named. Raises: UsageError."""
    pool_id = None if pool is None else pool_named(station, pool).pool_id
    return [one for one in station.registry.unenrolled() if pool_id in (None, one.pool_id)]


def forget(station: Station, host: HostRecord | UnenrolledHost, now: bool = False) -> list[str]:
    """Stop watching a host, or listing one that is not enrolled. What is still to be done is told.

    With the last one of its pool that is enrolled the pool and its password are forgotten, too: once the
    marks are taken off the hosts, or with ``now`` at once. ``deliver`` and a watch finish it.

    Raises:
        StoreError.
    """
    if isinstance(host, UnenrolledHost):
        append(station, ledger_bodies.host_removed(host.host_id))
        return []
    removed = ledger_bodies.host_removed(host.host_id)
    station.store.append_all([removed], who(), _farewell(station, host))
    return finish_forgetting(station, now)


def was_forgotten(station: Station, word: str) -> bool:
    """Whether it is the UUID of a host that was forgotten, while the pool of such a host is still known."""
    return station.registry.was_forgotten(word.lower()) and bool(station.registry.empty_pools())


def finish_forgetting(station: Station, now: bool = False) -> list[str]:
    """Do what is left to do for hosts that were forgotten, and tell what stays. Raises: StoreError.

    now: do not wait for pools that do not answer.
    """
    station.refresh()
    told = deliver(station)
    if now and station.registry.empty_pools():
        leave_pools(station)
        return []
    return told


def _farewell(station: Station, host: HostRecord) -> tuple[Notification, ...]:
    """What is told of a host that is not watched any more; nothing where nothing was ever told."""
    last = station.registry.state(host.host_id)
    if last is None:
        return ()
    pool = station.registry.pool(host.pool_id)
    change = Change(
        host.host_id,
        host.name,
        pool.pool_id,
        pool.name,
        last.new,
        State.NOT_ENROLLED,
        time.time(),
        passed=station.registry.states_since_trust(host.host_id),
    )
    return Announcer(station.channels).changed(change)


def put_into_group(station: Station, group: str, words: Sequence[str]) -> list[HostRecord]:
    """Put hosts into a group; returns all that are in it.

    Raises:
        PolicyError: the group has no policy, so that no host in it could be trusted; nothing was changed.
        UsageError, StoreError.
    """
    chosen = [named(station, word) for word in words]
    if chosen:
        station.registry.policy_of_group(group)
    for host in chosen:
        if host.group != group:
            append(station, ledger_bodies.host_group(host.host_id, group))
    return [host for host in station.registry.hosts() if host.group == group]


def expect_asset_tag(station: Station, word: str, tag: bytes | None) -> HostRecord:
    """Tell which asset tag a host is to have: 20, 32 or 48 bytes, None for none. Raises: UsageError."""
    host = named(station, word)
    append(station, ledger_bodies.asset_tag_expected(host.host_id, tag))
    return named(station, host.host_id)


def _since(
    station: Station, host: HostRecord, state: State, result: AttestationResult | None
) -> float | None:
    change = station.registry.state(host.host_id)
    if change is not None and change.new is state:
        return change.at
    if state is State.STALE:
        return result.expires_at if result is not None else host.enrolled_at
    return None if result is None else result.appraised_at


def _policy(station: Station, host: HostRecord) -> str:
    try:
        return station.registry.policy_for(host).name
    except PolicyError:
        return ""
