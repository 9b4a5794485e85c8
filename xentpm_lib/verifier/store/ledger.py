"""The ledger: entries that are only ever added, each sealed together with the seal of the one before."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.ledger_readers import check_item
from xentpm_lib.verifier.store.head import Head
from xentpm_lib.verifier.store.model import ALTERED, Entry
from xentpm_lib.verifier.store.seal import Seals, canonical_json
from xentpm_lib.verifier.store.tables import ledger

__all__ = ["Ledger"]

_CHUNK = 1000  # entries read at a time
_MAX_WHO = 255  # characters
_ALTERED_HINT = (
    "Nothing in the store is believed now. Restore it from a backup and find out who has access to it;"
    " the keys have to be those that it was written with."
)


class Ledger:
    """The entries of one store. Each method works in the transaction of the connection that it is given."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals
        self.start = Head(seals.store_id, 0, seals.seal("ledger", ("start",)))

    def last(self, connection: Connection) -> Head:
        """Where the ledger ends in the database. Raises: StoreError when the last entry was altered."""
        row = connection.execute(select(ledger).order_by(ledger.c.seq.desc()).limit(1)).first()
        return self.start if row is None else self._head(self.verified(row))

    def end_of(self, entries: Sequence[Entry]) -> Head:
        """Where the ledger ends after these were added; where it starts after none."""
        return self._head(entries[-1]) if entries else self.start

    def check_head(self, connection: Connection, head: Head | None) -> Head:
        """Whether everything up to ``head`` is still there; where the ledger ends.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``: entries are missing or it is another store.
        """
        last = self.last(connection)
        if head is None:
            raise _altered("the file that tells where the ledger ends is missing")
        if head.store_id != self._seals.store_id:
            raise _altered("the ledger is that of another store")
        if last.seq < head.seq:
            raise _altered(
                "the ledger ends with entry {}, but {} were written".format(last.seq, head.seq),
            )
        if self._at(connection, head.seq).mac != head.mac:
            raise _altered("ledger entry {} is another one than was written".format(head.seq))
        return last

    def append(
        self, connection: Connection, last: Head, items: Iterable[LedgerItem], who: str, now: float
    ) -> list[Entry]:
        """Add entries after ``last``. Raises: StoreError for an item that could not be read back."""
        entries, rows, who = [], [], _clean_who(who)
        for item in map(check_item, items):
            body = _body_text(item)
            fields = (last.seq + 1, float(now), who, item.kind, item.subject, body, last.mac)
            mac = self._seals.seal("ledger", fields)
            rows.append(dict(zip(_COLUMNS, (*fields, mac), strict=True)))
            entries.append(Entry(fields[0], fields[1], who, item.kind, item.subject, json.loads(body), mac))
            last = self._head(entries[-1])
        if rows:
            connection.execute(insert(ledger), rows)
        return entries

    def entries(self, connection: Connection, after: int) -> Iterator[Entry]:
        """The verified entries behind entry ``after``, in their order.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``: an entry was changed, taken out or put in.
        """
        last = self._at(connection, after)
        while True:
            query = select(ledger).where(ledger.c.seq > last.seq).order_by(ledger.c.seq).limit(_CHUNK)
            rows = connection.execute(query).all()
            for row in rows:
                if row.seq != last.seq + 1:
                    raise _altered("ledger entry {} is missing".format(last.seq + 1))
                entry = self.verified(row)
                if bytes(row.previous_mac) != last.mac:
                    raise _altered("ledger entry {} does not follow the one before".format(row.seq))
                yield entry
                last = self._head(entry)
            if len(rows) < _CHUNK:
                return

    def _at(self, connection: Connection, seq: int) -> Head:
        if seq == 0:
            return self.start
        row = connection.execute(select(ledger).where(ledger.c.seq == seq)).first()
        if row is None:
            raise _altered("ledger entry {} is missing".format(seq))
        return self._head(self.verified(row))

    def _head(self, entry: Entry) -> Head:
        return Head(self._seals.store_id, entry.seq, entry.mac)

    def verified(self, row: Row[Any]) -> Entry:
        """The entry of a row, its body parsed after its seal has held. Its place in the chain is not looked
        at.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``.
        """
        seq, at, who, kind, subject, text, previous, mac = tuple(row)
        if not self._seals.holds("ledger", (seq, at, who, kind, subject, text, previous), mac):
            raise _altered("ledger entry {} was altered".format(seq))
        return Entry(seq, at, who, kind, subject, json.loads(text), bytes(mac))


_COLUMNS = tuple(column.name for column in ledger.columns)


def _body_text(item: LedgerItem) -> str:
    try:
        return canonical_json(item.body)
    except (TypeError, ValueError) as error:
        raise StoreError("a ledger entry of kind {} is no JSON: {}".format(item.kind, error)) from error


def _clean_who(who: str) -> str:
    """A name that any database takes and any terminal shows."""
    shown = "".join("?" if unicodedata.category(one)[0] == "C" else one for one in who)
    return shown[:_MAX_WHO] or "?"


def _altered(message: str) -> StoreError:
    return StoreError(message, _ALTERED_HINT, ALTERED)
