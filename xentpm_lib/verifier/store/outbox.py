"""The outbox: notifications that are to be delivered, kept until they are and for a while after.

A row is sealed: whoever writes into the database cannot make the station sign and send a message of his. That
he cannot have it send an old one of its own either is what ``timely`` looks after.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, literal_column, select, update

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.notification import MAX_BODY_BYTES, Kept, Lane, Notification, Pending
from xentpm_lib.verifier.store.numbers import take_numbers
from xentpm_lib.verifier.store.result_rows import clean_text
from xentpm_lib.verifier.store.seal import Seals
from xentpm_lib.verifier.store.tables import outbox
from xentpm_lib.verifier.store.timely import Fate, Timely

__all__ = ["Looked", "Outbox"]

_SEALED = ("sequence", "notification_id", "channel", "host_id", "pool_id", "created_at", "body")
_MAX_ERROR = 1000  # characters
_PENDING = "pending"
_CHUNK = 500  # rows asked for by name at a time
_HELD_S = 30.0  # after so long it is looked again whether what is held back may be told


class Looked(NamedTuple):
    """due: to be tried now. The others are sequences of rows that are never to be told. altered: not written
    by the verifier. outdated: the host is something else by now."""

    due: list[Pending]
    altered: list[int]
    outdated: list[int]


class Outbox:
    """The outbox of one store. Each method works in the transaction of the connection that it is given."""

    def __init__(self, seals: Seals, timely: Timely) -> None:
        self._seals = seals
        self._timely = timely
        self._lock = threading.Lock()
        self._held: dict[int, float] = {}  # sequence: since when

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
        self, connection: Connection, when: float, limit: int, channel: str | None, after: int, now: float
    ) -> Looked:
        """Pending ones whose time has come at ``when``, oldest first; what is held back is not among them.

        Those that were held back are looked at again later, however high ``after`` is.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``: an entry of the ledger was altered.
        """
        looked = Looked([], [], [])
        waiting = select(outbox).where(outbox.c.state == _PENDING, outbox.c.next_at <= when)
        if channel is not None:
            waiting = waiting.where(outbox.c.channel == channel)
        again = self._held_so_long(now)
        while again and len(looked.due) < limit:
            part, again = again[:_CHUNK], again[_CHUNK:]
            self._look(connection, waiting.where(outbox.c.sequence.in_(part)), looked, now)
        while len(looked.due) < limit:
            numbers = self._numbers(connection, waiting, after, min(limit - len(looked.due), _CHUNK))
            if not numbers:
                break
            after = numbers[-1]
            self._look(connection, waiting.where(outbox.c.sequence.in_(numbers)), looked, now)
        looked.due.sort(key=lambda pending: pending.sequence)
        return looked

    def finish(self, connection: Connection, sequence: int, state: str, error: str, now: float) -> None:
        """The row is not tried any more. state: one of those of ``Kept``, but ``pending``."""
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

    def _numbers(self, connection: Connection, waiting: Any, after: int, count: int) -> list[int]:
        """The next rows that are not held back. Without their bodies: thousands may be."""
        with self._lock:
            held = set(self._held)
        numbers = waiting.with_only_columns(outbox.c.sequence).where(outbox.c.sequence > after)
        numbers = numbers.order_by(outbox.c.sequence).limit(count + len(held))
        found = connection.execute(numbers).scalars()
        return [number for number in found if number not in held][:count]

    def _look(self, connection: Connection, query: Any, looked: Looked, now: float) -> None:
        rows = [dict(row) for row in connection.execute(query.order_by(outbox.c.sequence)).mappings()]
        sound = [row for row in rows if self.holds(row)]
        looked.altered.extend(row["sequence"] for row in rows if not self.holds(row))
        fates = self._timely.fates(connection, sound, now, partial(self._behind, connection))
        for row in sound:
            fate, sequence = fates[row["sequence"]], row["sequence"]
            if fate is Fate.TOLD:
                looked.due.append(self._pending(row))
            elif fate is Fate.OUTDATED:
                looked.outdated.append(sequence)
            else:
                with self._lock:
                    self._held[sequence] = now

    def _held_so_long(self, now: float) -> list[int]:
        """What is to be looked at again; it is not held back any more until then."""
        with self._lock:
            found = sorted(one for one, since in self._held.items() if abs(now - since) >= _HELD_S)
            for sequence in found:
                del self._held[sequence]
        return found

    def _behind(self, connection: Connection, row: dict[str, Any]) -> dict[str, Any] | None:
        """The last one that waits for the same channel and host."""
        query = select(outbox).where(
            outbox.c.host_id == row["host_id"],
            outbox.c.channel == row["channel"],
            outbox.c.state == _PENDING,
            outbox.c.sequence > row["sequence"],
        )
        query = query.order_by(outbox.c.sequence.desc()).limit(1)
        found = connection.execute(query).mappings().first()
        return dict(found) if found is not None and self.holds(found) else None

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
