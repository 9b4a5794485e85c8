"""Delivering notifications from a command: unless a watch runs, which does it by itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.fleet.empty_pools import remove_empty_pools
from xentpm_lib.verifier.notify.abandoned import give_up_abandoned, give_up_for_pools
from xentpm_lib.verifier.notify.channels import channels_of
from xentpm_lib.verifier.notify.dispatcher import Dispatcher
from xentpm_lib.verifier.operations import channels
from xentpm_lib.verifier.operations.pools import credentials_for
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import CHANGED

__all__ = ["deliver", "leave_pools"]

_LIMIT_S = 10.0
_CLOSE_S = 2.0
_TRIES = 20  # to write while others do
_WATCHED = "XENTPM_STORE_WATCHED"


def deliver(station: Station) -> list[str]:
    """Try once what waits in the outbox, and forget the pools that nobody needs any more.

    What failed stays there; it is told in sentences. Raises: StoreError.
    """
    watched = _try(station)
    give_up_abandoned(station.store, station.channels, time.time())
    staying = _remove_empty_pools(station)
    found = channels.listing(station)
    told = channels.failures(found) + ([] if watched else _waiting(found))
    return told + [_stays(pool, watched) for pool in staying]


def leave_pools(station: Station) -> None:
    """Forget the pools without hosts at once; what is to be told there is given up. Raises: StoreError."""
    empty = {pool.pool_id for pool in station.registry.empty_pools()}
    give_up_for_pools(station.store, station.channels, empty)
    _remove_empty_pools(station)


def _try(station: Station) -> bool:
    """Deliver, for some seconds. Whether a watch runs, which is left to do it."""
    if not station.store.outbox_due(time.time(), 1):
        return False
    clients = Clients(lambda pool_id: credentials_for(station, pool_id))
    ways = channels_of(station.channels, lambda pool_id: clients.of(station.registry.pool(pool_id)))
    try:
        with station.store.watch_lock(), Dispatcher(station.store, ways) as dispatcher:
            dispatcher.drain(_LIMIT_S)
    except StoreError as error:
        if error.code != _WATCHED:
            raise
        return True
    finally:
        clients.close(_CLOSE_S)
    return False


def _remove_empty_pools(station: Station) -> list[PoolRecord]:
    """Those that stay, for something is still to be told there."""
    for _ in range(_TRIES):
        station.refresh()
        try:
            staying = remove_empty_pools(station, who())
        except StoreError as error:
            if error.code != CHANGED:
                raise
            continue
        station.refresh()
        return staying
    return list(station.registry.empty_pools())


def _stays(pool: PoolRecord, watched: bool) -> str:
    by = "the watch goes on trying" if watched else "a watch, and every attest, tries it again"
    return (
        f"The pool {pool.name} ({pool.pool_id}) and its password stay until the marks are taken off its"
        f" hosts, or that is given up; {by}."
        " Not to wait for it: xentpm-attest forget UUID --now, with the host's UUID."
    )


def _waiting(found: Sequence[channels.ListedChannel]) -> list[str]:
    """What waits, while no watch runs. A channel that fails is told of by another sentence."""
    waiting = sum(one.waiting for one in found if one.state == "ok")
    gone = [one.name for one in found if one.state == "removed"]
    told = []
    if waiting:
        many = "1 notification waits" if waiting == 1 else f"{waiting} notifications wait"
        told.append(
            f"{many} to be delivered; a watch, and every attest, tries again. See: xentpm-attest channels"
        )
    if gone:
        told.append(
            f"Notifications wait for what station.toml does not have any more: {', '.join(gone)}."
            " Give them up: xentpm-attest channels clean"
        )
    return told
