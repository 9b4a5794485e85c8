"""Hosts that a watched pool has and that nobody has enrolled: they are on record, listed, and told of once.

Without this a host that joins a pool, or whose enrolment failed, would be in no list and no exit status.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping

from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.errors import CollectionError, StoreError
from xentpm_lib.verifier.fleet.others import is_written
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.change import Announcer, Change
from xentpm_lib.verifier.plain import is_uuid
from xentpm_lib.verifier.records import UnenrolledHost
from xentpm_lib.verifier.registry import Registry
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import CHANGED
from xentpm_lib.verifier.xapi.pool import PoolClient

__all__ = ["look_at_pools", "sightings"]

_WHO = "xentpm-attest"
_TRIES = 10  # to write while others do
_MAX_HOSTS = 256  # of a pool that are not enrolled; XenServer takes 64 in all
_LOG = logging.getLogger(__name__)


def sightings(registry: Registry, pool_id: str, names: Mapping[str, str], now: float) -> list[LedgerItem]:
    """What the ledger does not say yet of a pool's hosts. names: UUID to name, of all hosts that it has.

    Names and UUIDs are the pool's word. What is no UUID is no host, and of more hosts than any pool has, the
    rest is not looked at: the ledger keeps all that is written.
    """
    named = {host_id: name for host_id, name in names.items() if is_uuid(host_id)}
    if len(named) < len(names) or len(named) > _MAX_HOSTS:
        _LOG.warning("pool %s tells of %d hosts, some of which are none", pool_id, len(names))
    before = [one.host_id for one in registry.unenrolled() if one.pool_id == pool_id]
    items = [ledger_bodies.host_gone(host_id) for host_id in before if host_id not in names]
    known = sum(host_id in names for host_id in before)
    fresh = [host_id for host_id in named if not registry.is_known(host_id)]
    return items + [
        ledger_bodies.host_seen(UnenrolledHost(host_id, pool_id, named[host_id], now))
        for host_id in fresh[: max(0, _MAX_HOSTS - known)]
    ]


def look_at_pools(
    station: Station,
    pools: Iterable[str],
    client_of: Callable[[str], PoolClient],
    clock: Callable[[], float] = time.time,
) -> int:
    """Ask pools for their hosts; write down, and put into the outbox, which of them are new and not enrolled.

    A pool that does not answer is passed over: that is told by its hosts. Returns how many hosts are new.

    Raises:
        StoreError: the store cannot be used.
    """
    new = 0
    for pool_id in pools:
        try:
            names = client_of(pool_id).host_names()
        except CollectionError as error:
            _LOG.info("pool %s does not tell its hosts: %s", pool_id, error)
            continue
        for _ in range(_TRIES):
            try:
                new += _write(station, pool_id, names, clock())
                break
            except StoreError as error:
                if error.code != CHANGED:
                    raise
    return new


def _write(station: Station, pool_id: str, names: Mapping[str, str], now: float) -> int:
    """Write down what is new of a pool's hosts, unless somebody else just did; how many were not known.

    Raises:
        StoreError: ``XENTPM_STORE_CHANGED``: others write at the same moment; or the store cannot be used.
    """
    registry, last = station.registry, station.registry.seq
    items = sightings(registry, pool_id, names, now)
    if not items or registry.find_pool(pool_id) is None:
        return 0
    for entry in station.store.entries(after=last):
        if (entry.kind, entry.subject) == ("pool_removed", pool_id):
            return 0
        items, last = [item for item in items if item.subject != entry.subject], entry.seq
    announcer = Announcer(station.channels)
    told = [one for item in items for one in _told(registry, announcer, item)]
    if items:
        try:
            station.store.append_all(items, _WHO, told, after=last)
        except StoreError as error:
            if not is_written(error):
                raise
    return sum(item.kind == "host_seen" for item in items)


def _told(registry: Registry, announcer: Announcer, item: LedgerItem) -> tuple[Notification, ...]:
    if item.kind != "host_seen":
        return ()
    pool = registry.pool(item.body["pool_id"])
    name, at = item.body["name"], item.body["at"]
    change = Change(item.subject, name, pool.pool_id, pool.name, None, State.NOT_ENROLLED, at)
    return announcer.changed(change)
