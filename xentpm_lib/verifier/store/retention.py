"""Retention: which results, notifications and contents are deleted after a while. The ledger never is.

Of a host stay, however old: its newest result, its newest trusted one, its newest one with a TPM clock, and
every result that showed another state than the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlalchemy import Connection, and_, delete, func, not_, select

from xentpm_lib.verifier.store.database import Database
from xentpm_lib.verifier.store.model import Pruned
from xentpm_lib.verifier.store.tables import blobs, current, outbox, results

__all__ = ["prune"]

_CHUNK = 2000  # rows deleted in one transaction: others want to write meanwhile
_REFERENCES = (results.c.findings, results.c.evidence, results.c.event_log)


def prune(database: Database, now: float, keep: Callable[[str], float], keep_notifications: float) -> Pruned:
    """Delete what is old. keep: host to seconds. Raises: StoreError."""
    with database.read() as connection:
        hosts = list(connection.execute(select(current.c.host_id)).scalars())
    deleted = sum(_prune_host(database, host_id, now - keep(host_id)) for host_id in hosts)
    notifications = _prune_outbox(database, now - keep_notifications)
    return Pruned(deleted, notifications, _prune_blobs(database))


def _prune_host(database: Database, host_id: str, before: float) -> int:
    with database.read() as connection:
        numbers = _old_results(connection, host_id, before)
    for part in _parts(numbers):
        with database.write() as connection:
            pointers = select(current.c.result_id, current.c.clock_id, current.c.trusted_id)
            row = connection.execute(pointers.where(current.c.host_id == host_id)).first()
            kept = [number for number in row or () if number is not None]
            connection.execute(delete(results).where(results.c.id.in_(part), not_(results.c.id.in_(kept))))
    return len(numbers)


def _old_results(connection: Connection, host_id: str, before: float) -> list[int]:
    """Results before that time which tell nothing that another one does not."""
    previous = func.lag(results.c.state).over(order_by=results.c.id).label("previous")
    rows = select(results.c.id, results.c.at, results.c.state, previous).where(results.c.host_id == host_id)
    seen = rows.subquery()
    pointers = connection.execute(
        select(current.c.result_id, current.c.clock_id, current.c.trusted_id).where(
            current.c.host_id == host_id
        )
    ).first()
    kept = [number for number in pointers or () if number is not None]
    query = select(seen.c.id).where(
        and_(seen.c.at < before, seen.c.previous == seen.c.state, not_(seen.c.id.in_(kept)))
    )
    return list(connection.execute(query.order_by(seen.c.id)).scalars())


def _prune_outbox(database: Database, before: float) -> int:
    with database.write() as connection:
        old = delete(outbox).where(outbox.c.finished_at.is_not(None), outbox.c.finished_at < before)
        return int(connection.execute(old).rowcount)


def _prune_blobs(database: Database) -> int:
    """Contents that no result has any more. In one transaction: a writer may be about to use one again."""
    with database.write() as connection:
        used = [not_(select(column).where(column == blobs.c.sha256).exists()) for column in _REFERENCES]
        unused = select(blobs.c.sha256).where(not_(blobs.c.pinned), *used)
        return int(connection.execute(delete(blobs).where(blobs.c.sha256.in_(unused))).rowcount)


def _parts(numbers: list[int]) -> Iterable[list[int]]:
    return (numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK))
