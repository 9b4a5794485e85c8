"""Retention: which results, notifications and contents are deleted after a while. The ledger never is.

Of a host stay, however old: its newest result, its newest trusted one, its newest one with a TPM clock,
every result that showed another state than the one before it, and every one that the ledger names: that one
of them is missing is found (``audit``). What was marked on a host anew stays a day after it was delivered:
there is one every few minutes.

Looked for is in pages and without the lock that writers wait for; it is taken to delete a page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Select, and_, delete, exists, or_, select, union_all

from xentpm_lib.verifier.store.database import Database
from xentpm_lib.verifier.store.model import Pruned
from xentpm_lib.verifier.store.named_results import NamedResults
from xentpm_lib.verifier.store.tables import blobs, current, outbox, results
from xentpm_lib.verifier.store.timely import is_renewal

__all__ = ["KEEP_RENEWALS_S", "prune"]

KEEP_RENEWALS_S = 86400.0
"""How long a delivered notification stays that only renewed what is marked on a host."""

_PAGE = 1000  # rows looked at, or deleted, in one transaction: others want to write meanwhile
_REFERENCES = (results.c.findings, results.c.evidence, results.c.event_log)
_POINTERS = (current.c.result_id, current.c.clock_id, current.c.trusted_id)

Keep = Callable[[str], float]


def prune(database: Database, now: float, keep: Keep, keep_notifications: Keep) -> Pruned:
    """Delete what is old. keep, keep_notifications: host to seconds. Raises: StoreError."""
    named, deleted, old = NamedResults(), 0, []
    for number in _old_results(database, now, keep):
        old.append(number)
        if len(old) == _PAGE:
            deleted += _delete_results(database, old, named)
            old = []
    deleted += _delete_results(database, old, named)
    return Pruned(deleted, _prune_outbox(database, now, keep_notifications), _prune_blobs(database))


def _old_results(database: Database, now: float, keep: Keep) -> Iterator[int]:
    """Results that are older than they are kept, and show the same state as the one before them."""
    for (host_id,) in _pages(database, select(current.c.host_id), current.c.host_id):
        query = select(results.c.id, results.c.state).where(
            results.c.host_id == host_id, results.c.at < now - keep(host_id)
        )
        state = None
        for number, shown in _pages(database, query, results.c.id):
            if shown == state:
                yield number
            state = shown


def _pages(database: Database, query: Select[Any], *keys: Any) -> Iterator[Any]:
    """The rows of a query by keys that it has first, in that order, a page in each transaction."""
    page = query.order_by(*keys).limit(_PAGE)
    while True:
        with database.read() as connection:
            rows = connection.execute(page).all()
        yield from rows
        if len(rows) < _PAGE:
            return
        last = rows[-1]
        behind = [
            and_(
                *(key == last[place] for place, key in enumerate(keys[:number])), keys[number] > last[number]
            )
            for number in range(len(keys))
        ]
        page = query.where(or_(*behind)).order_by(*keys).limit(_PAGE)


def _delete_results(database: Database, numbers: list[int], named: NamedResults) -> int:
    """Delete those of the results that are not named and not their host's newest of a kind. How many."""
    if not numbers:
        return 0
    with database.read() as connection:
        named.now(connection)  # most of them, before anybody has to wait
    pointed_at = union_all(*(select(column).where(column.is_not(None)) for column in _POINTERS))
    with database.write() as connection:
        part = sorted(set(numbers) - named.now(connection))
        query = delete(results).where(results.c.id.in_(part), results.c.id.not_in(pointed_at))
        return int(connection.execute(query).rowcount)


def _prune_outbox(database: Database, now: float, keep: Keep) -> int:
    count = 0
    old: list[int] = []
    for sequence in _old_notifications(database, now, keep):
        old.append(sequence)
        if len(old) == _PAGE:
            count += _delete_notifications(database, old)
            old = []
    return count + _delete_notifications(database, old)


def _old_notifications(database: Database, now: float, keep: Keep) -> Iterator[int]:
    columns = (outbox.c.finished_at, outbox.c.sequence, outbox.c.host_id, outbox.c.state, outbox.c.body)
    finished = select(*columns).where(outbox.c.finished_at < now - KEEP_RENEWALS_S)
    for row in _pages(database, finished, outbox.c.finished_at, outbox.c.sequence):
        fields = row._mapping
        renewed = fields["state"] in ("delivered", "outdated") and is_renewal(fields)
        if renewed or fields["finished_at"] < now - keep(fields["host_id"]):
            yield fields["sequence"]


def _delete_notifications(database: Database, numbers: list[int]) -> int:
    """Delete those of the notifications that are finished. How many."""
    if not numbers:
        return 0
    with database.write() as connection:
        old = delete(outbox).where(outbox.c.sequence.in_(numbers), outbox.c.finished_at.is_not(None))
        return int(connection.execute(old).rowcount)


def _prune_blobs(database: Database) -> int:
    """Delete contents that no result has any more, if it is still so when nobody else writes. How many."""
    used = or_(*(exists().where(column == blobs.c.sha256) for column in _REFERENCES))
    unused = select(blobs.c.sha256).where(blobs.c.pinned.is_(False), ~used)
    count = 0
    names = (sha256 for (sha256,) in _pages(database, unused, blobs.c.sha256))
    found = [sha256 for sha256 in names if isinstance(sha256, bytes)]
    for start in range(0, len(found), _PAGE):
        part = found[start : start + _PAGE]
        with database.write() as connection:
            query = delete(blobs).where(blobs.c.sha256.in_(part), blobs.c.pinned.is_(False), ~used)
            count += int(connection.execute(query).rowcount)
    return count
