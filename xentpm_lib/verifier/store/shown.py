"""What the ledger says last of each host, and which stored results can come after that.

Results are not chained, and somebody who can write to the database may put back any that the verifier once
wrote. So a change of state names its result by number and seal, and each result has under its own seal the
ledger entry that it came after: one from before a change is never taken for a newer one, whatever its number.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from xentpm_lib.verifier.ledger_readers import read_state_change
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.store.ledger import Ledger
from xentpm_lib.verifier.store.model import Entry
from xentpm_lib.verifier.store.tables import ledger

__all__ = ["WITHOUT_RESULT", "Shown", "last_shown", "newest_entries"]

WITHOUT_RESULT = (State.STALE.value, State.NOT_ENROLLED.value)
"""The states that a host gets without a result."""

_KINDS = ("state_changed", "host_enrolled", "host_removed")
_CHUNK = 500  # hosts asked for by name at a time


@dataclass(frozen=True, slots=True)
class Shown:
    """Ledger entry ``seq`` is the newest about a host.

    enrolled: the host was enrolled, perhaps anew, since the ledger spoke of a result. Else result_id, seal:
    the result that it names; seal is None in entries of before there were any, and empty where the row
    was missing. state: what the host became.
    """

    seq: int
    enrolled: bool = False
    result_id: int = 0
    seal: str | None = None
    state: str = ""

    def allows(self, row: dict[str, Any]) -> bool:
        """Whether a row, whose seal holds, can be the newest result of the host."""
        if self.enrolled:
            return True
        if row["id"] == self.result_id and self.seal is not None:
            return self.seal == bytes(row["mac"]).hex() and self._same_state(row)
        if row["id"] > self.result_id and row["after_entry"] is not None:
            return bool(row["after_entry"] >= self.seq)
        # Of before there were seals in entries, and entries in results.
        return self.seal is None and row["id"] >= self.result_id and self._same_state(row)

    def _same_state(self, row: dict[str, Any]) -> bool:
        return self.state in WITHOUT_RESULT or row["state"] == self.state


def last_shown(entries: Ledger, connection: Connection, hosts: Collection[str] | None) -> dict[str, Shown]:
    """Host to what the ledger says last of it; without those that were never spoken of, or removed."""
    found = {}
    for entry in newest_entries(entries, connection, _KINDS, hosts):
        if entry.kind == "host_enrolled":
            found[entry.subject] = Shown(entry.seq, enrolled=True)
        elif entry.kind == "state_changed":
            change = read_state_change(entry.subject, entry.body)
            if change.result_id is not None:
                number, seal = change.result_id, change.result_mac
                found[entry.subject] = Shown(entry.seq, False, number, seal, change.new.value)
    return found


def newest_entries(
    entries: Ledger,
    connection: Connection,
    kinds: Collection[str],
    hosts: Collection[str] | None,
    each_kind: bool = False,
) -> list[Entry]:
    """The newest entry of these kinds about each host, or of each kind; in their order, each verified.

    Raises:
        StoreError: ``XENTPM_STORE_ALTERED``.
    """
    groups = (ledger.c.subject, ledger.c.kind) if each_kind else (ledger.c.subject,)
    newest = select(func.max(ledger.c.seq).label("seq")).where(ledger.c.kind.in_(sorted(kinds)))
    ordered = None if hosts is None else sorted(hosts)
    rows: list[Any] = []
    for start in range(0, 1 if ordered is None else len(ordered), _CHUNK):
        query = newest
        if ordered is not None:
            query = query.where(ledger.c.subject.in_(ordered[start : start + _CHUNK]))
        found = query.group_by(*groups).subquery()
        rows += connection.execute(select(ledger).where(ledger.c.seq == found.c.seq)).all()
    return [entries.verified(row) for row in sorted(rows, key=lambda row: row.seq)]
