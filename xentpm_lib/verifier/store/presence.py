"""Whether there is a store already, looked at without keys and without making anything."""

from __future__ import annotations

import os

from sqlalchemy import inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from xentpm_lib.verifier.store.database import Database
from xentpm_lib.verifier.store.tables import meta

__all__ = ["has_store"]


def has_store(url: str) -> bool:
    """Whether a verifier has written a store at ``url``.

    Raises:
        StoreError: the database cannot be used. UsageError: the URL is none.
    """
    if _no_file(url):
        return False
    database = Database(url)
    try:
        with database.read() as connection:
            if not inspect(connection).has_table(meta.name):
                return False
            return (
                connection.execute(select(meta.c.value).where(meta.c.name == "store_id")).first() is not None
            )
    finally:
        database.close()


def _no_file(url: str) -> bool:
    """A file that is not there is not to be made by looking. Of other URLs ``Database`` finds the faults."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return False
    return parsed.get_backend_name() == "sqlite" and not os.path.exists(parsed.database or "")
