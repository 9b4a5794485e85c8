"""The lock of a store that is watched, also over a restart of the store's server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.store.store import Store

__all__ = ["WATCHED", "WatchLock"]

WATCHED = "XENTPM_STORE_WATCHED"
"""The code of the StoreError that says: another process watches this store."""

WAIT_S = 20.0
"""Longer than a command delivers."""
_TRY_S = 0.2

_LOG = logging.getLogger(__name__)


class WatchLock:
    """Held from the beginning on, and taken again when the server has forgotten it. A context manager.

    wait_s: how long it is waited for at the beginning: a command that delivers holds it for some seconds.
    stop: ends the waiting.

    Raises, at the beginning: StoreError, ``XENTPM_STORE_WATCHED`` where another process has it even then.
    """

    def __init__(self, store: Store, stop: threading.Event | None = None, wait_s: float = WAIT_S) -> None:
        self._store = store
        self._stop = stop or threading.Event()
        self._wait_s = wait_s
        self._stack = ExitStack()
        self._held: Callable[[], bool] = lambda: False

    def __enter__(self) -> WatchLock:
        end = time.monotonic() + self._wait_s
        while True:
            try:
                self._take()
                return self
            except StoreError as error:
                if error.code != WATCHED or time.monotonic() >= end:
                    raise
                if self._stop.wait(_TRY_S):
                    raise

    def __exit__(self, *_exception: object) -> None:
        self._let_go()

    def held(self) -> bool:
        """Whether it is held, perhaps anew; not while the store cannot be used.

        Raises:
            StoreError: ``XENTPM_STORE_WATCHED``: another process took it meanwhile.
        """
        if self._held():
            return True
        self._let_go()
        try:
            self._take()
        except StoreError as error:
            if error.code == WATCHED:
                raise
            _LOG.error("the store cannot be used: %s", error)
            return False
        _LOG.warning("the store's server was restarted; it is watched again")
        return True

    def _take(self) -> None:
        self._held = self._stack.enter_context(self._store.watch_lock())

    def _let_go(self) -> None:
        self._held = lambda: False
        try:
            self._stack.close()
        except StoreError as error:
            _LOG.info("the store's server is gone: %s", error)
