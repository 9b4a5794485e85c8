"""Delivering notifications from a command: unless a watch runs, which does it by itself."""

from __future__ import annotations

import time

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.notify.channels import channels_of
from xentpm_lib.verifier.notify.dispatcher import Dispatcher
from xentpm_lib.verifier.operations.pools import credentials_for
from xentpm_lib.verifier.station import Station

__all__ = ["deliver"]

_LIMIT_S = 10.0
_CLOSE_S = 2.0
_WATCHED = "XENTPM_STORE_WATCHED"


def deliver(station: Station) -> list[str]:
    """Try what waits in the outbox once. What failed stays there; it is told in sentences."""
    if not station.store.outbox_due(time.time(), 1):
        return []
    clients = Clients(lambda pool_id: credentials_for(station, pool_id))
    channels = channels_of(station.channels, lambda pool_id: clients.of(station.registry.pool(pool_id)))
    try:
        with station.store.watch_lock(), Dispatcher(station.store, channels) as dispatcher:
            dispatcher.drain(_LIMIT_S)
    except StoreError as error:
        if error.code != _WATCHED:
            raise
        return []
    finally:
        clients.close(_CLOSE_S)
    waiting = sum(states.get("pending", 0) for states in station.store.outbox_counts().values())
    if not waiting:
        return []
    many = "1 notification waits" if waiting == 1 else f"{waiting} notifications wait"
    return [f"{many} to be delivered. See: xentpm-attest channels list. The watch goes on trying."]
