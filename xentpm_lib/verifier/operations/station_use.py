"""What all operations share: writing to the ledger in somebody's name, and finding pools."""

from __future__ import annotations

import os
import pwd

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.station import Station

__all__ = ["append", "find_pool", "only_pool", "pool_named", "who"]

_MAX_NAME = 64  # characters


def who() -> str:
    """Who is at work, for the ledger: the user's name, and whose sudo it is. Root can say anybody."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    through = os.environ.get("SUDO_USER", "")
    told = f"{through} as {name}" if through and through != name else name
    return "".join(char for char in told if char.isprintable())[:_MAX_NAME] or "unknown"


def append(station: Station, item: LedgerItem) -> None:
    """Write to the ledger, and have it in the registry. Raises: StoreError."""
    station.store.append(*item, who=who())
    station.refresh()


def find_pool(station: Station, word: str) -> PoolRecord | None:
    """The pool of a name, URL or UUID; None when there is none. Raises: UsageError when there are several."""
    address = word.rstrip("/").lower()
    plain = (address, f"https://{address}")
    found = [
        pool
        for pool in station.registry.pools()
        if word in (pool.pool_id, pool.name) or any(one.lower() in plain for one in pool.addresses)
    ]
    if len(found) > 1:
        listed = ", ".join(pool.pool_id for pool in found)
        raise UsageError(f"several pools are called {word!a}: {listed}", "Give a UUID.")
    return found[0] if found else None


def only_pool(station: Station) -> PoolRecord:
    """The one pool that there is. Raises: UsageError when there are none or several."""
    pools = station.registry.pools()
    if len(pools) != 1:
        known = ", ".join(one.name or one.addresses[0] for one in pools) or "none"
        raise UsageError(f"which pool is meant? Known: {known}", "Give the pool's URL or name.")
    return pools[0]


def pool_named(station: Station, word: str) -> PoolRecord:
    """The pool of a name, URL or UUID. Raises: UsageError."""
    pool = find_pool(station, word)
    if pool is None:
        known = ", ".join(one.name or one.addresses[0] for one in station.registry.pools()) or "none"
        raise UsageError(f"there is no pool {word!a}; known: {known}", "See xentpm-attest pool list.")
    return pool
