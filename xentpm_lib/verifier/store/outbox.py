"""The outbox: notifications that are to be delivered, kept until they are and for a while after.

A row is sealed: whoever writes into the database cannot make the station sign and send a message of his.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, insert, literal_column, select, update

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.notification import MAX_BODY_BYTES, Kept, Lane, Notification, Pending
from xentpm_lib.verifier.store.numbers import take_numbers
from xentpm_lib.verifier.store.result_rows import clean_text
from xentpm_lib.verifier.store.seal import Seals
from xentpm_lib.verifier.store.tables import outbox

__all__ = ["Outbox"]

_SEALED = ("sequence", "notification_id", "channel", "host_id", "pool_id", "created_at", "body")
_MAX_ERROR = 1000  # characters
_PENDING = "pending"


class Outbox:
    """The outbox of one store. Each method works in the transaction of the connection that it is given."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def add(self, connection: Connection, notifications: Sequence[Notification]) -> None:
        """Put in those whose id was never there. Raises: UsageError for a body over ``MAX_BODY_BYTES``."""
        fresh = {one.notification_id: one for one in notifications}
        for known in self._known(connection, list(fresh)):
            del fresh[known]
        if not fresh:
            return
        numbers = take_numbers(connection, outbox.c.sequence, len(fresh))
        rows = [self._row(sequence, one) for sequence, one in zip(numbers, fresh.values(), strict=True)]
        connection.execute(insert(outbox), rows)

    def due(
        self, connection: Connection, now: float, limit: int, channel: str | None, after: int = 0
    ) -> tuple[list[Pending], list[int]]:
        """Pending ones whose time has come, oldest first; and the numbers of those that were altered."""
        query = select(outbox).where(outbox.c.state == _PENDING, outbox.c.next_at <= now)
        if after:
            query = query.where(outbox.c.sequence > after)
        if channel is not None:
            query = query.where(outbox.c.channel == channel)
        rows = connection.execute(query.order_by(outbox.c.sequence).limit(limit)).mappings().all()
        due = [self._pending(row) for row in rows if self.holds(row)]
        return due, [row["sequence"] for row in rows if not self.holds(row)]

    def finish(self, connection: Connection, sequence: int, state: str, error: str, now: float) -> None:
        """The row is not tried any more: ``delivered``, ``superseded``, ``failed`` or ``altered``."""
        values = {"state": state, "error": _clean_error(error), "finished_at": float(now)}
        connection.execute(update(outbox).where(outbox.c.sequence == sequence).values(**values))

    def postpone(self, connection: Connection, sequence: int, error: str, next_at: float) -> None:
        """The attempt failed; there is to be another at ``next_at``."""
        values = {"attempts": outbox.c.attempts + 1, "next_at": float(next_at), "error": _clean_error(error)}
        connection.execute(update(outbox).where(outbox.c.sequence == sequence).values(**values))

    def counts(self, connection: Connection) -> dict[str, dict[str, int]]:
        """Channel to state to number of rows."""
        query = select(outbox.c.channel, outbox.c.state, func.count()).group_by(
            outbox.c.channel, outbox.c.state
        )
        found: dict[str, dict[str, int]] = {}
        for channel, state, count in connection.execute(query):
            found.setdefault(channel, {})[state] = count
        return found

    def lanes(self, connection: Connection, state: str | None) -> list[Lane]:
        """The rows, or those of a state, counted by channel, pool, state and whether they failed."""
        failed = outbox.c.attempts > literal_column("0")  # a parameter would make it two, which do not match
        columns = (outbox.c.channel, outbox.c.pool_id, outbox.c.state, failed)
        numbers = (func.count(), func.min(outbox.c.created_at), func.max(outbox.c.finished_at))
        query = select(*columns, *numbers).group_by(*columns)
        if state is not None:
            query = query.where(outbox.c.state == state)
        rows = connection.execute(query.order_by(*columns))
        return [
            Lane(channel, pool_id, state, bool(tried), count, oldest, finished)
            for channel, pool_id, state, tried, count, oldest, finished in rows
        ]

    def newest(
        self, connection: Connection, limit: int, before: int | None, only: dict[str, str]
    ) -> list[Kept]:
        """Rows, newest first, whose columns have the values of ``only``; with ``before``, older ones."""
        query = select(outbox).where(*(outbox.c[name] == value for name, value in only.items()))
        if before is not None:
            query = query.where(outbox.c.sequence < before)
        rows = connection.execute(query.order_by(outbox.c.sequence.desc()).limit(limit)).mappings()
        return [self._kept(row) for row in rows]

    def holds(self, row: Any) -> bool:
        """Whether the verifier wrote the row."""
        return self._seals.holds("outbox", [row[name] for name in _SEALED], row["mac"])

    def _known(self, connection: Connection, ids: list[str]) -> Iterable[str]:
        query = select(outbox.c.notification_id).where(outbox.c.notification_id.in_(ids))
        return list(connection.execute(query).scalars()) if ids else []

    def _row(self, sequence: int, one: Notification) -> dict[str, Any]:
        if len(one.body.encode("utf-8", "replace")) > MAX_BODY_BYTES:
            raise UsageError("a notification of over {} bytes".format(MAX_BODY_BYTES))
        row: dict[str, Any] = {
            "sequence": sequence,
            "notification_id": one.notification_id,
            "channel": clean_text(one.channel),
            "host_id": clean_text(one.host_id),
            "pool_id": clean_text(one.pool_id),
            "created_at": float(one.created_at),
            "body": clean_text(one.body),
        }
        seal = self._seals.seal("outbox", [row[name] for name in _SEALED])
        return {**row, "attempts": 0, "next_at": 0.0, "state": _PENDING, "error": "", "mac": seal}

    def _pending(self, row: Any) -> Pending:
        # These change with every attempt and are not sealed.
        return Pending(
            row["sequence"], _notification(row), _attempts(row), float(row["next_at"]), str(row["error"])
        )

    def _kept(self, row: Any) -> Kept:
        made, state = _notification(row), str(row["state"])
        if not self.holds(row):
            made, state = replace(made, body=""), "altered"
        return Kept(row["sequence"], made, state, _attempts(row), str(row["error"]), row["finished_at"])


def _notification(row: Any) -> Notification:
    columns = ("notification_id", "channel", "host_id", "pool_id", "created_at", "body")
    return Notification(*(row[name] for name in columns))


def _attempts(row: Any) -> int:
    return row["attempts"] if isinstance(row["attempts"], int) else 0


def _clean_error(error: str) -> str:
    return clean_text(error)[:_MAX_ERROR]
