"""One client for each pool, made when it is needed first: one session, renewed, given back at the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient, XapiOptions

__all__ = ["Clients"]

_OPTIONS = XapiOptions(call_s=20.0, login_s=10.0)
"""Calls that a master answers by itself are quick; for those of a host's plugin the policy has a limit."""

_LOG = logging.getLogger(__name__)


class Clients:
    """The clients of all pools. Safe for several threads.

    credentials: gives those of a pool by its UUID, whenever it has to be logged in.
    """

    def __init__(self, credentials: Callable[[str], Credentials]) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()
        self._clients: dict[str, PoolClient] = {}

    def of(self, pool: PoolRecord) -> PoolClient:
        """The pool's client. After a change of its record it is another one, and the old one ends."""
        with self._lock:
            client = self._clients.get(pool.pool_id)
            if client is not None and client.pool == pool:
                return client
            fresh = PoolClient(pool, lambda: self._credentials(pool.pool_id), _OPTIONS)
            self._clients[pool.pool_id] = fresh
        if client is not None:
            _close_soon(client)
        return fresh

    def drop(self, pool_id: str) -> None:
        """End the client of a pool that is not needed any more, or whose record changed."""
        with self._lock:
            client = self._clients.pop(pool_id, None)
        if client is not None:
            _close_soon(client)

    def close(self, timeout_s: float) -> bool:
        """Log out everywhere at once, which one that hangs does not hold up. Whether all were in time."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        threads = [_close_soon(client) for client in clients]
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


def _close_soon(client: PoolClient) -> threading.Thread:
    thread = threading.Thread(target=_close, args=(client,), name="logout", daemon=True)
    thread.start()
    return thread


def _close(client: PoolClient) -> None:
    try:
        client.close()
    except Exception:
        _LOG.exception("pool %s: cannot log out", client.pool.pool_id)
