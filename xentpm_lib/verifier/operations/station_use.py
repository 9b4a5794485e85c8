"""What all operations share: writing to the ledger in somebody's name, and finding pools."""

from __future__ import annotations

import os
import pwd
import re

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.plain import is_uuid
from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.xapi.url import parse_url

__all__ = ["append", "find_pool", "only_pool", "pool_named", "who"]

_MAX_NAME = 64  # characters
_NO_ADDRESS = re.compile(r"(?!localhost$|0x)[a-z0-9_-]*[a-z_-][a-z0-9_-]*")  # nor a number: 2130706433 is one


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
    """The pool of a name, URL or UUID; None when there is none. Raises: UsageError when there are several.

    Names, and the addresses of its other hosts, are what a pool says of itself. So a word that is a URL or an
    address means the pool that is asked there, and one that is a UUID that pool, whatever others call
    themselves: the password that is given for it would go to them.
    """
    if is_uuid(word.lower()):
        return station.registry.find_pool(word.lower())
    url = _url(word)
    found = [
        pool for pool in station.registry.pools() if (pool.name == word if url is None else _is_at(pool, url))
    ]
    if len(found) > 1:
        listed = ", ".join(pool.pool_id for pool in found)
        raise UsageError(f"several pools are called {word!a}: {listed}", "Give a UUID.")
    return found[0] if found else None


def _is_at(pool: PoolRecord, url: str) -> bool:
    return parse_url(pool.addresses[0]).url == url


def _url(word: str) -> str | None:
    """The URL, where a word is one, or an address; None for what can only be a name.

    A single word could be a host of the local domain, too; it is taken for a name.
    """
    try:
        address = parse_url(word.strip().lower())
    except UsageError:
        return word if "://" in word else None
    plain = "://" not in word and ":" not in word and _NO_ADDRESS.fullmatch(address.host)
    return None if plain else address.url


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
