"""Only one ``watch`` for each store: two would attest every host twice and tell every change twice."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.store.database import Database

__all__ = ["watch_lock"]

_KEY = 0x78656E74706D02  # an advisory lock of PostgreSQL, another one than writers take


@contextmanager
def watch_lock(database: Database) -> Iterator[Callable[[], bool]]:
    """Hold the lock; the kernel or the server lets go of it when this process ends, however it ends.

    Gives a function that tells whether the lock is still held: a PostgreSQL server that is restarted forgets
    it.

    Raises:
        StoreError: ``XENTPM_STORE_WATCHED``: another process has it; or the store cannot be used.
    """
    if database.path is None:
        with database.hold(_KEY) as connection:
            if connection is None:
                raise _watched()
            yield lambda: _alive(connection)
        return
    try:
        lock = os.open(database.path + ".watch", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError("{}.watch cannot be used: {}".format(database.path, error.strerror)) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _watched() from None
        yield lambda: True
    finally:
        os.close(lock)


def _alive(connection: Connection) -> bool:
    try:
        connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True


def _watched() -> StoreError:
    message = "another xentpm-attest watch runs on this store"
    return StoreError(message, "End it first; one watch does all hosts.", "XENTPM_STORE_WATCHED")
