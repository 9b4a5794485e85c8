"""Retention: which results, notifications and contents are deleted after a while. The ledger never is.

Of a host stay, however old: its newest result, its newest trusted one, its newest one with a TPM clock,
every result that showed another state than the one before it, and every one that the ledger names: that one
of them is missing is found (``audit``).
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, delete, func, select, union, union_all

from xentpm_lib.verifier.store.database import Database
from xentpm_lib.verifier.store.model import Pruned
from xentpm_lib.verifier.store.named_results import NamedResults
from xentpm_lib.verifier.store.tables import blobs, current, outbox, results

__all__ = ["prune"]

_CHUNK = 2000  # rows deleted in one transaction: others want to write meanwhile
_REFERENCES = (results.c.findings, results.c.evidence, results.c.event_log)
_POINTERS = (current.c.result_id, current.c.clock_id, current.c.trusted_id)


def prune(database: Database, now: float, keep: Callable[[str], float], keep_notifications: float) -> Pruned:
    """Delete what is old. keep: host to seconds. Raises: StoreError."""
    with database.read() as connection:
        hosts = list(connection.execute(select(current.c.host_id)).scalars())
    old: list[int] = []
    named, deleted = NamedResults(), 0
    for host_id in hosts:
        with database.read() as connection:
            old += _old_results(connection, host_id, now - keep(host_id))
        if len(old) >= _CHUNK:
            deleted += _delete(database, old, named)
            old = []
    deleted += _delete(database, old, named)
    return Pruned(deleted, _prune_outbox(database, now - keep_notifications), _prune_blobs(database))


def _old_results(connection: Connection, host_id: str, before: float) -> list[int]:
    """Results before that time which show the same state as the one before them."""
    previous = func.lag(results.c.state).over(order_by=results.c.id).label("previous")
    rows = select(results.c.id, results.c.at, results.c.state, previous).where(results.c.host_id == host_id)
    seen = rows.subquery()
    query = select(seen.c.id).where(seen.c.at < before, seen.c.previous == seen.c.state)
    return list(connection.execute(query.order_by(seen.c.id)).scalars())


def _delete(database: Database, numbers: list[int], named: NamedResults) -> int:
    """Delete those of the results that are not named and not their host's newest of a kind. How many."""
    pointed_at = union_all(*(select(column).where(column.is_not(None)) for column in _POINTERS))
    count = 0
    for start in range(0, len(numbers), _CHUNK):
        with database.write() as connection:
            part = set(numbers[start : start + _CHUNK]) - named.now(connection)
            query = delete(results).where(results.c.id.in_(part), results.c.id.not_in(pointed_at))
            count += int(connection.execute(query).rowcount)
    return count


def _prune_outbox(database: Database, before: float) -> int:
    with database.write() as connection:
        old = delete(outbox).where(outbox.c.finished_at.is_not(None), outbox.c.finished_at < before)
        return int(connection.execute(old).rowcount)


def _prune_blobs(database: Database) -> int:
    """Contents that no result has any more. In one transaction: a writer may be about to use one again."""
    used = union(*(select(column).where(column.is_not(None)) for column in _REFERENCES))
    with database.write() as connection:
        unused = delete(blobs).where(blobs.c.pinned.is_(False), blobs.c.sha256.not_in(used))
        return int(connection.execute(unused).rowcount)
