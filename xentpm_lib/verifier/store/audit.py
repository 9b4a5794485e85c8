"""Looking at the whole store: every row checked, and all history written out for an auditor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, TextIO

from sqlalchemy import Connection, Table, func, select

from xentpm_lib.errors import FormatError, XenTpmError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.result_json import result_to_object
from xentpm_lib.verifier.store.blobs import unpack
from xentpm_lib.verifier.store.credentials import CredentialRows
from xentpm_lib.verifier.store.model import Entry, Problem, StoredResult
from xentpm_lib.verifier.store.named_results import named_results
from xentpm_lib.verifier.store.outbox import Outbox
from xentpm_lib.verifier.store.results import Results
from xentpm_lib.verifier.store.shown import WITHOUT_RESULT, Shown
from xentpm_lib.verifier.store.tables import blobs, current, outbox, results
from xentpm_lib.verifier.times import format_time

__all__ = ["STATION", "check_rows", "export_history"]

STATION = "xentpm-attest"
"""Who it was, where nobody asked for it."""
_CHUNK = 1000  # rows read at a time
# What of a row of ``current`` names results, and what these have to have.
_POINTERS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "result_id": lambda row: True,
    "clock_id": lambda row: row["clock"] is not None,
    "trusted_id": lambda row: bool(row["state"] == State.TRUSTED.value),
}


def check_rows(
    connection: Connection,
    kept: Results,
    notifications: Outbox,
    credentials: CredentialRows,
    shown: dict[str, Shown],
) -> Iterator[Problem]:
    """Every row outside of the ledger that is not what the verifier wrote, or that is missed.

    A result is missed when the ledger or ``current`` names it; one that nothing rests on is not, nor is a
    notification. shown: what the ledger says last of each host.
    """
    for row in _rows(connection, current, "host_id"):
        if not kept.pointer_holds(row):
            yield Problem("current", _shown(row["host_id"]), "the row was altered")
        else:
            yield from _pointed_at(connection, kept, row, shown.get(row["host_id"]))
    yield from _wrong_pointers(connection)
    yield from _lost_results(connection)
    for row in _rows(connection, results, "id"):
        stored = kept.read(connection, [row])[0]
        if stored.altered:
            yield Problem("results", _shown(row["id"]), stored.result.findings[0].detail)
    for row in _rows(connection, blobs, "sha256"):
        yield from _problem("blobs", _shown(row["sha256"]), partial(unpack, row["data"], row["sha256"]))
    for row in _rows(connection, outbox, "sequence"):
        if not notifications.holds(row):
            yield Problem("outbox", _shown(row["sequence"]), "the row was altered")
    for pool_id in credentials.pools(connection):
        yield from _problem("credentials", _shown(pool_id), partial(credentials.get, connection, pool_id))


def _pointed_at(
    connection: Connection, kept: Results, pointer: dict[str, Any], last: Shown | None
) -> Iterator[Problem]:
    """Whether the results that a row of ``current`` names are there, and can be what it says."""
    host_id, rows = pointer["host_id"], kept.rows(connection, {pointer[name] for name in _POINTERS} - {None})
    for column, fits in _POINTERS.items():
        row = rows.get(pointer[column])
        if pointer[column] is None:
            continue
        if row is None or row["host_id"] != host_id or not fits(row):
            detail = "result {}, which the row names, is missing".format(pointer[column])
            yield Problem("current", _shown(host_id), detail)
        elif column == "result_id" and last is not None and kept.holds(row) and not last.allows(row):
            detail = "result {} is not what ledger entry {} says last".format(row["id"], last.seq)
            yield Problem("current", _shown(host_id), detail)


def _wrong_pointers(connection: Connection) -> Iterator[Problem]:
    """Hosts that have results, but whose newest one is not what ``current`` says."""
    newest = func.max(results.c.id)
    query = (
        select(results.c.host_id, newest, current.c.result_id)
        .join_from(results, current, current.c.host_id == results.c.host_id, isouter=True)
        .group_by(results.c.host_id, current.c.result_id)
        .order_by(results.c.host_id)
    )
    for host_id, number, told in connection.execute(query):
        if told is None:
            yield Problem("current", _shown(host_id), "the row is missing")
        elif told != number:
            detail = "the row names result {}, the newest is {}".format(_shown(told), number)
            yield Problem("current", _shown(host_id), detail)


def _lost_results(connection: Connection) -> Iterator[Problem]:
    """Results that a change of state rests on, and that are not there any more, or are others."""
    named = (one for one in named_results(connection) if one.number)
    while part := list(islice(named, _CHUNK)):
        columns = (results.c.id, results.c.host_id, results.c.state, results.c.mac)
        query = select(*columns).where(results.c.id.in_({one.number for one in part}))
        found = {row.id: row for row in connection.execute(query)}
        for one in part:
            row = found.get(one.number)
            if row is None or row.host_id != one.host_id:
                detail = "the result that ledger entry {} names is missing".format(one.seq)
                yield Problem("results", str(one.number), detail)
            elif one.seal not in (None, _shown(row.mac)) or (
                one.state not in WITHOUT_RESULT and one.state != row.state
            ):
                detail = "the result is another one than ledger entry {} names".format(one.seq)
                yield Problem("results", str(one.number), detail)


def export_history(
    file: TextIO, connection: Connection, entries: Iterator[Entry], kept: Results, notifications: Outbox
) -> int:
    """Write all history as JSON lines: ledger, results, notifications. How many lines.

    Raises:
        StoreError: the ledger was altered. What was written until then is true.
    """
    count = 0
    for line in _lines(connection, entries, kept, notifications):
        file.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")
        count += 1
    return count


def _lines(
    connection: Connection, entries: Iterator[Entry], kept: Results, notifications: Outbox
) -> Iterator[dict[str, Any]]:
    yield from map(_entry_line, entries)
    for row in _rows(connection, results, "id"):
        yield _result_line(kept.read(connection, [row])[0], row["who"])
    for row in _rows(connection, outbox, "sequence"):
        yield _notification_line(row, notifications.holds(row))


def _entry_line(entry: Entry) -> dict[str, Any]:
    return {
        "type": "ledger",
        "seq": entry.seq,
        "at": format_time(entry.at),
        "who": entry.who,
        "kind": entry.kind,
        "subject": entry.subject,
        "body": entry.body,
        "mac": entry.mac.hex(),
    }


def _result_line(stored: StoredResult, who: str | None) -> dict[str, Any]:
    """who: None in rows of an older release; of an altered row it is nothing to go by."""
    return {
        "type": "result",
        "id": stored.result_id,
        "who": STATION if who is None or stored.altered else who,
        "altered": stored.altered,
        "result": result_to_object(stored.result),
    }


def _notification_line(row: dict[str, Any], holds: bool) -> dict[str, Any]:
    if not holds:
        return {"type": "notification", "sequence": _shown(row["sequence"]), "altered": True}
    finished = row["finished_at"]
    return {
        "type": "notification",
        "sequence": row["sequence"],
        "who": STATION,
        "id": row["notification_id"],
        "channel": row["channel"],
        "host": row["host_id"],
        "created_at": format_time(row["created_at"]),
        "state": str(row["state"]),
        "attempts": row["attempts"] if isinstance(row["attempts"], int) else _shown(row["attempts"]),
        "finished_at": _time(finished),
        "error": str(row["error"]),
        "altered": False,
        "body": row["body"],
    }


def _rows(connection: Connection, table: Table, key: str) -> Iterator[dict[str, Any]]:
    """All rows by their key, without having all of them in memory."""
    column = table.c[key]
    query = select(table).order_by(column).limit(_CHUNK)
    rows = connection.execute(query).mappings().all()
    while rows:
        yield from (dict(row) for row in rows)
        rows = connection.execute(query.where(column > rows[-1][key])).mappings().all()


def _time(value: object) -> str | None:
    """A time that no seal is over."""
    try:
        return format_time(value) if isinstance(value, float) else None
    except FormatError:
        return None


def _shown(value: object) -> str:
    """Any value that a database may hold, for people."""
    if isinstance(value, (bytes, memoryview)):
        return bytes(value[:64]).hex()
    return value[:64] if isinstance(value, str) else repr(value)


def _problem(table: str, row: str, look: Callable[[], object]) -> Iterator[Problem]:
    try:
        look()
    except (StoreError, XenTpmError) as error:
        yield Problem(table, row, str(error))
