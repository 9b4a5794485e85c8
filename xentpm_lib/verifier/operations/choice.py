"""Which hosts somebody means."""

from __future__ import annotations

from collections.abc import Sequence

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.operations.station_use import pool_named
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.station import Station

__all__ = ["chosen_hosts"]


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
