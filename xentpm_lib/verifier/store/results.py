"""The results: one row for each attestation, and which of a host's rows is the newest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.store.blobs import Blobs
from xentpm_lib.verifier.store.model import ALTERED, Recorded, StoredResult
from xentpm_lib.verifier.store.numbers import take_numbers
from xentpm_lib.verifier.store.result_rows import (
    altered_result,
    clean_text,
    clock_from_text,
    evidence_columns,
    read_evidence,
    read_result,
    result_columns,
    sealed_fields,
)
from xentpm_lib.verifier.store.seal import Seals
from xentpm_lib.verifier.store.shown import Shown
from xentpm_lib.verifier.store.tables import current, results
from xentpm_lib.verifier.store.upsert import insert_or

__all__ = ["Results", "RowName"]

_CHUNK = 500  # rows asked for by name at a time
_POINTERS = ("host_id", "result_id", "clock_id", "trusted_id")

Row = dict[str, Any]


class RowName(NamedTuple):
    """What the ledger calls a result by. seal: hex; empty where the row is not there, or was altered."""

    number: int
    seal: str


class Results:
    """The results of one store. Each method works in the transaction of the connection that it is given."""

    def __init__(self, seals: Seals, blobs: Blobs) -> None:
        self._seals = seals
        self._blobs = blobs

    def add(self, connection: Connection, batch: Sequence[Recorded], who: str, last: int) -> list[RowName]:
        """Store results and evidence; how the ledger is to call them.

        who: the person or program that asked for them. last: the ledger's last entry before this.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``: a row has a number that leaves no room.
        """
        contents: dict[bytes, bytes] = {}
        rows = []
        for number, one in zip(take_numbers(connection, results.c.id, len(batch)), batch, strict=True):
            last += len(one.entries)
            origin = {"after_entry": last, "who": clean_text(who)}
            rows.append(self._row(number, one, origin, contents))
        self._blobs.put(connection, contents)
        if rows:
            connection.execute(insert(results), rows)
            self._move_pointers(connection, rows)
        return [RowName(row["id"], row["mac"].hex()) for row in rows]

    def latest(
        self, connection: Connection, shown: dict[str, Shown], hosts: str | Collection[str] | None
    ) -> dict[str, StoredResult]:
        """Host to its newest result. shown: what the ledger says last of each. hosts: one, some, or all."""
        pointers = self._pointers(connection, [hosts] if isinstance(hosts, str) else hosts)
        sound = [row for row in pointers.values() if self.pointer_holds(row)]
        wanted = {number for row in sound for number in (row["result_id"], row["clock_id"]) if number}
        rows = self.rows(connection, wanted)
        facts = self._facts(connection, rows.values())
        found = {
            host: self._newest(pointer, rows, facts, shown.get(host)) for host, pointer in pointers.items()
        }
        found.update((host, _missing(host, 0)) for host in set(shown) - set(found))
        anew = {host for host, last in shown.items() if last.enrolled}
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
        found = self.read(connection, list(self.rows(connection, [pointer["trusted_id"]]).values()))
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
        row = self.rows(connection, {result_id}).get(result_id)
        if row is None or row["evidence"] is None:
            return None
        if not self.holds(row):
            hint = "Find out who has access to the store: xentpm-attest store check."
            raise StoreError("stored result {} was altered".format(result_id), hint, ALTERED)
        wanted = {bytes(row[name]) for name in ("evidence", "event_log") if row[name] is not None}
        return read_evidence(row, self._blobs.get(connection, wanted))

    def newest_row(self, connection: Connection, host_id: str) -> RowName | None:
        """What the ledger is to call a host's newest result by; None when it has none."""
        pointer = self._pointers(connection, [host_id]).get(host_id)
        if pointer is None or not self.pointer_holds(pointer):
            return None
        number = pointer["result_id"]
        row = self.rows(connection, [number]).get(number)
        return RowName(number, row["mac"].hex() if row is not None and self.holds(row) else "")

    def holds(self, row: Row) -> bool:
        """Whether the verifier wrote the row as it is."""
        return self._seals.holds("results", sealed_fields(row), row["mac"])

    def pointer_holds(self, row: Row) -> bool:
        """Whether the verifier wrote a row of ``current`` as it is."""
        return self._seals.holds("current", [row[name] for name in _POINTERS], row["mac"])

    def _row(self, number: int, one: Recorded, origin: Row, contents: dict[bytes, bytes]) -> Row:
        row = result_columns(number, one.result, contents)
        row.update(**evidence_columns(one.evidence, contents), **origin)
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
        statement = insert_or(connection, current)
        changed = {name: statement.excluded[name] for name in (*_POINTERS[1:], "mac")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["host_id"], set_=changed), pointers
        )

    def _pointers(self, connection: Connection, hosts: Iterable[str] | None) -> dict[str, Row]:
        query = select(current)
        if hosts is not None:
            query = query.where(current.c.host_id.in_(sorted(hosts)))
        return {row["host_id"]: dict(row) for row in connection.execute(query).mappings()}

    def rows(self, connection: Connection, numbers: Iterable[int]) -> dict[int, Row]:
        """The rows of these numbers, as far as they are there; their seals are not looked at."""
        found: dict[int, Row] = {}
        ordered = sorted(numbers)
        for start in range(0, len(ordered), _CHUNK):
            query = select(results).where(results.c.id.in_(ordered[start : start + _CHUNK]))
            found.update((row["id"], dict(row)) for row in connection.execute(query).mappings())
        return found

    def _newest(
        self, pointer: Row, rows: dict[int, Row], facts: dict[bytes, bytes], shown: Shown | None
    ) -> StoredResult:
        host_id, number = pointer["host_id"], pointer["result_id"]
        if not self.pointer_holds(pointer):
            return _missing(host_id, number, "the record of which result is the newest was altered")
        row = rows.get(number)
        if row is None or row["host_id"] != host_id:
            return _missing(host_id, number)
        stored = self._stored(row, facts)
        if not stored.altered and shown is not None and not shown.allows(row):
            return _missing(host_id, number)
        if stored.altered or pointer["clock_id"] is None:
            return stored
        clock_row = rows.get(pointer["clock_id"])
        if self._lost_clock(clock_row, host_id):
            return _missing(
                host_id, number, "the result with the host's last TPM clock is missing or altered"
            )
        clock = None if clock_row is None else clock_from_text(clock_row["clock"])
        return replace(stored, clock=clock)

    def _facts(self, connection: Connection, rows: Iterable[Row]) -> dict[bytes, bytes]:
        """The findings of those rows that the verifier wrote. SQLite keeps anything in any column."""
        sound = [row for row in rows if self._look(row)]
        return self._blobs.get(connection, {bytes(row["findings"]) for row in sound})

    def _look(self, row: Row) -> bool:
        """Note in the row whether the verifier wrote it."""
        row["sound"] = self.holds(row)
        return bool(row["sound"])

    def _lost_clock(self, row: Row | None, host_id: str) -> bool:
        """Whether the row that had the host's last clock is not the one that was written."""
        return row is None or row["host_id"] != host_id or not row["sound"] or row["clock"] is None

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
