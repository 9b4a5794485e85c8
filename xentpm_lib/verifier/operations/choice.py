"""Which hosts somebody means."""

from __future__ import annotations

from collections.abc import Sequence

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.enrolment.discover import Discovered
from xentpm_lib.verifier.operations.station_use import pool_named
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.registry import Registry
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.xapi.pool import HostInfo

__all__ = ["chosen_hosts", "hosts_to_enrol"]


def chosen_hosts(
    station: Station, names: Sequence[str], group: str | None = None, pool: str | None = None
) -> list[HostRecord]:
    """The enrolled hosts of these names, or all; of these those of the group and of the pool.

    Raises:
        UsageError: a name, group or pool that is not known; nobody is left; no host is enrolled at all.
    """
    registry = station.registry
    if not registry.hosts():
        raise UsageError("no host is enrolled", "xentpm-attest enroll https://POOL …")
    named = [registry.host(name) for name in dict.fromkeys(names)] if names else list(registry.hosts())
    unique = {host.host_id: host for host in named}
    if group is not None and group not in registry.groups():
        known = ", ".join(registry.groups())
        raise UsageError(f"there is no group {group!a}; there are: {known}", "See xentpm-attest hosts.")
    pool_id = None if pool is None else pool_named(station, pool).pool_id
    chosen = [
        host
        for host in unique.values()
        if (group is None or host.group == group) and (pool_id is None or host.pool_id == pool_id)
    ]
    if not chosen:
        raise UsageError("no host is in all of what was asked for", "See xentpm-attest hosts.")
    return chosen


def hosts_to_enrol(registry: Registry, found: Discovered, words: Sequence[str]) -> list[HostInfo]:
    """The hosts of a pool that are to be enrolled: of these names or UUIDs, or all.

    Names are the pool's word. One that means an enrolled host means no other: where that is another pool's,
    the host of the same name here has to be given by its UUID.

    Raises:
        UsageError: the pool has no such host, or the name is that of another pool's.
    """
    if not words:
        return list(found.hosts)
    chosen = {uuid for word in words for uuid in _meant(registry, found, word)}
    return [host for host in found.hosts if host.uuid in chosen]


def _meant(registry: Registry, found: Discovered, word: str) -> set[str]:
    """The UUIDs of the pool's hosts that a word means, one at least. Raises: UsageError."""
    there = {host.uuid for host in found.hosts}
    if word.lower() in there:
        return {word.lower()}
    enrolled = [host for host in registry.hosts() if host.name == word]
    ours = {host.host_id for host in enrolled if host.pool_id == found.pool.pool_id} & there
    moved = {host.host_id for host in enrolled} & there
    if ours or moved:
        return ours or moved
    named = {host.uuid for host in found.hosts if host.name == word}
    if not named:
        known = ", ".join(host.name for host in found.hosts)
        raise UsageError(f"the pool has no host {word!a}; it has: {known}")
    others = [host for host in enrolled if host.pool_id != found.pool.pool_id]
    if others:
        raise UsageError(
            f"{word!a} is an enrolled host of another pool: {others[0].host_id}",
            f"If the host of that name in this pool is meant: --host {', '.join(sorted(named))}.",
        )
    return named
