"""The results: one row for each attestation, and which of a host's rows is the newest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.result import AttestationResult, State, TpmClock
from xentpm_lib.verifier.store.blobs import Blobs
from xentpm_lib.verifier.store.model import ALTERED, Recorded, StoredResult
from xentpm_lib.verifier.store.result_rows import (
    altered_result,
    clock_from_text,
    evidence_columns,
    read_evidence,
    read_result,
    result_columns,
    sealed_fields,
)
from xentpm_lib.verifier.store.seal import Seals
from xentpm_lib.verifier.store.tables import current, results

__all__ = ["ENROLLED_SINCE", "Results"]

ENROLLED_SINCE = -1
"""In the place of a result's number: the host was enrolled, perhaps anew, since the ledger spoke of one."""
_LAST_ID = 2**53  # never reached, even at a million a second
_CHUNK = 500  # rows asked for by name at a time
_POINTERS = ("host_id", "result_id", "clock_id", "trusted_id")
# The states that a host gets without a result.
_WITHOUT_RESULT = (State.STALE, State.NOT_ENROLLED)

Row = dict[str, Any]


class Results:
    """The results of one store. Each method works in the transaction of the connection that it is given."""

    def __init__(self, seals: Seals, blobs: Blobs) -> None:
        self._seals = seals
        self._blobs = blobs

    def add(self, connection: Connection, batch: Sequence[Recorded]) -> list[int]:
        """Store results and evidence; their numbers."""
        first = (connection.execute(select(func.max(results.c.id))).scalar() or 0) + 1
        if not 0 < first < _LAST_ID:
            message = "there is a result with the number {}, which the verifier did not give".format(
                first - 1
            )
            raise StoreError(
                message, "Find out who has access to the store: xentpm-attest store check.", ALTERED
            )
        contents: dict[bytes, bytes] = {}
        rows = [self._row(number, one, contents) for number, one in enumerate(batch, first)]
        self._blobs.put(connection, contents)
        if rows:
            connection.execute(insert(results), rows)
            self._move_pointers(connection, rows)
        return [row["id"] for row in rows]

    def latest(
        self, connection: Connection, last_shown: dict[str, int], host_id: str | None
    ) -> dict[str, StoredResult]:
        """Host to its newest result. last_shown: host to the result that the ledger says it had last."""
        pointers = self._pointers(connection, None if host_id is None else [host_id])
        sound = [row for row in pointers.values() if self.pointer_holds(row)]
        wanted = {number for row in sound for number in (row["result_id"], row["clock_id"]) if number}
        rows = self._rows(connection, wanted)
        facts = self._facts(connection, rows.values())
        found = {
            host: self._newest(pointer, rows, facts, last_shown.get(host, 0))
            for host, pointer in pointers.items()
        }
        found.update((host, _missing(host, 0)) for host in set(last_shown) - set(found))
        anew = {host for host, number in last_shown.items() if number == ENROLLED_SINCE}
        return {host: one for host, one in found.items() if host not in anew or not one.altered}

    def history(
        self, connection: Connection, host_id: str, limit: int, before: int | None
    ) -> list[StoredResult]:
        """A host's results, newest first."""
        query = select(results).where(results.c.host_id == host_id)
        if before is not None:
            query = query.where(results.c.id < before)
        query = query.order_by(results.c.id.desc()).limit(limit)
        rows = [dict(row) for row in connection.execute(query).mappings()]
        return self.read(connection, rows)

    def last_trusted(self, connection: Connection, host_id: str) -> AttestationResult | None:
        """The host's newest result by which it was trusted; None without one, or where it was altered."""
        pointer = self._pointers(connection, [host_id]).get(host_id)
        if pointer is None or not self.pointer_holds(pointer) or pointer["trusted_id"] is None:
            return None
        found = self.read(connection, list(self._rows(connection, [pointer["trusted_id"]]).values()))
        sound = [one.result for one in found if not one.altered and one.result.host_id == host_id]
        return sound[0] if sound else None

    def read(self, connection: Connection, rows: Sequence[Row]) -> list[StoredResult]:
        """The results in rows."""
        facts = self._facts(connection, rows)
        return [self._stored(row, facts) for row in rows]

    def evidence(self, connection: Connection, result_id: int) -> QuoteEvidence | None:
        """What the host sent; None when it was not stored or is not there any more.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``.
        """
        row = self._rows(connection, {result_id}).get(result_id)
        if row is None or row["evidence"] is None:
            return None
        if not self.holds(row):
            hint = "Find out who has access to the store: xentpm-attest store check."
            raise StoreError("stored result {} was altered".format(result_id), hint, ALTERED)
        wanted = {bytes(row[name]) for name in ("evidence", "event_log") if row[name] is not None}
        return read_evidence(row, self._blobs.get(connection, wanted))

    def newest_id(self, connection: Connection, host_id: str) -> int | None:
        """The number of a host's newest result; None when it has none."""
        pointer = self._pointers(connection, [host_id]).get(host_id)
        return pointer["result_id"] if pointer is not None and self.pointer_holds(pointer) else None

    def holds(self, row: Row) -> bool:
        """Whether the verifier wrote the row as it is."""
        return self._seals.holds("results", sealed_fields(row), row["mac"])

    def pointer_holds(self, row: Row) -> bool:
        """Whether the verifier wrote a row of ``current`` as it is."""
        return self._seals.holds("current", [row[name] for name in _POINTERS], row["mac"])

    def _row(self, number: int, one: Recorded, contents: dict[bytes, bytes]) -> Row:
        row = result_columns(number, one.result, contents)
        row.update(evidence_columns(one.evidence, contents))
        row["mac"] = self._seals.seal("results", sealed_fields({**row, "mac": None}))
        return row

    def _move_pointers(self, connection: Connection, rows: Sequence[Row]) -> None:
        hosts = {row["host_id"] for row in rows}
        pointers = {
            host_id: dict(row)
            for host_id, row in self._pointers(connection, hosts).items()
            if self.pointer_holds(row)
        }
        for row in rows:
            pointer = pointers.setdefault(row["host_id"], {"clock_id": None, "trusted_id": None})
            pointer.update(host_id=row["host_id"], result_id=row["id"])
            if row["clock"] is not None:
                pointer["clock_id"] = row["id"]
            if row["state"] == State.TRUSTED.value:
                pointer["trusted_id"] = row["id"]
        for pointer in pointers.values():
            pointer["mac"] = self._seals.seal("current", [pointer[name] for name in _POINTERS])
        self._upsert(connection, list(pointers.values()))

    def _upsert(self, connection: Connection, pointers: list[Row]) -> None:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(current)
        changed = {name: statement.excluded[name] for name in (*_POINTERS[1:], "mac")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["host_id"], set_=changed), pointers
        )

    def _pointers(self, connection: Connection, hosts: Iterable[str] | None) -> dict[str, Row]:
        query = select(current)
        if hosts is not None:
            query = query.where(current.c.host_id.in_(sorted(hosts)))
        return {row["host_id"]: dict(row) for row in connection.execute(query).mappings()}

    def _rows(self, connection: Connection, numbers: Iterable[int]) -> dict[int, Row]:
        found: dict[int, Row] = {}
        ordered = sorted(numbers)
        for start in range(0, len(ordered), _CHUNK):
            query = select(results).where(results.c.id.in_(ordered[start : start + _CHUNK]))
            found.update((row["id"], dict(row)) for row in connection.execute(query).mappings())
        return found

    def _newest(
        self, pointer: Row, rows: dict[int, Row], facts: dict[bytes, bytes], shown: int
    ) -> StoredResult:
        host_id, number = pointer["host_id"], pointer["result_id"]
        if not self.pointer_holds(pointer):
            return _missing(host_id, number, "the record of which result is the newest was altered")
        row = rows.get(number)
        if row is None or row["host_id"] != host_id or number < shown:
            return _missing(host_id, number)
        stored = self._stored(row, facts)
        clock = self._clock(rows.get(pointer["clock_id"]), host_id)
        return StoredResult(stored.result_id, stored.result, stored.altered, clock)

    def _facts(self, connection: Connection, rows: Iterable[Row]) -> dict[bytes, bytes]:
        """The findings of those rows that the verifier wrote. SQLite keeps anything in any column."""
        sound = [row for row in rows if self._look(row)]
        return self._blobs.get(connection, {bytes(row["findings"]) for row in sound})

    def _look(self, row: Row) -> bool:
        """Note in the row whether the verifier wrote it."""
        row["sound"] = self.holds(row)
        return bool(row["sound"])

    def _clock(self, row: Row | None, host_id: str) -> TpmClock | None:
        if row is None or row["host_id"] != host_id or not row["sound"]:
            return None
        return clock_from_text(row["clock"])

    def _stored(self, row: Row, facts: dict[bytes, bytes]) -> StoredResult:
        number, host_id = row["id"], row["host_id"]
        if not row["sound"]:
            return _altered(host_id, number, "stored result {} was altered".format(number))
        content = facts.get(bytes(row["findings"]))
        if content is None:
            detail = "the findings of stored result {} are missing or altered".format(number)
            return _altered(host_id, number, detail)
        try:
            result = read_result(row, content)
        except (ValueError, LookupError, TypeError, AssertionError) as error:
            return _altered(host_id, number, "stored result {} cannot be read: {}".format(number, error))
        return StoredResult(number, result, False, result.clock)


def _missing(host_id: str, number: int, detail: str = "") -> StoredResult:
    return _altered(host_id, number, detail or "the host's newest result is missing from the store")


def _altered(host_id: object, number: object, detail: str) -> StoredResult:
    host = host_id if isinstance(host_id, str) else ""
    return StoredResult(number if isinstance(number, int) else 0, altered_result(host, detail), True)
