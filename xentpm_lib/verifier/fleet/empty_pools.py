"""Pools whose last host was forgotten: they go once their hosts were told, and their passwords with them.

Until then they stay: what takes the marks off a host needs to know the pool, and how to log in to it. Nothing
else is remembered of it, so that it does not matter when a process ends, or how.
"""

from __future__ import annotations

from xentpm_lib.verifier.notify.config import BUILT_IN
from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.station import Station

__all__ = ["remove_empty_pools"]


def remove_empty_pools(station: Station, who: str) -> list[PoolRecord]:
    """Remove the pools without hosts for whom nothing waits to be done there; returns those that stay.

    As the registry is now; it does not get the new entries by this.

    Raises:
        StoreError: ``XENTPM_STORE_CHANGED``: the ledger went on; or the store cannot be used.
    """
    empty = station.registry.empty_pools()
    if not empty:
        return []
    through_pools = {channel.name for channel in (*station.channels, BUILT_IN) if channel.per_pool}
    lanes = station.store.outbox_lanes("pending")
    busy = {lane.pool_id for lane in lanes if lane.channel in through_pools}
    done = [pool.pool_id for pool in empty if pool.pool_id not in busy]
    if done:
        station.store.remove_pools(done, who, after=station.registry.seq)
    return [pool for pool in empty if pool.pool_id in busy]
