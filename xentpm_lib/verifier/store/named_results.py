"""The results that the ledger names: those that a change of state rests on. They are kept for good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, select

from xentpm_lib.verifier.store.tables import ledger

__all__ = ["NamedResult", "NamedResults", "named_results"]

_CHUNK = 1000  # entries read at a time


class NamedResult(NamedTuple):
    """Ledger entry ``seq`` says that result ``number`` showed that ``host_id`` became ``state``.

    number: 0 for none. seal: of the result, hex; None in entries of before there was one.
    """

    seq: int
    host_id: str
    number: int
    seal: str | None
    state: str


def named_results(connection: Connection, after: int = 0) -> Iterator[NamedResult]:
    """What the changes of state behind entry ``after`` name. The seals of the entries are not looked at."""
    columns = (ledger.c.seq, ledger.c.subject, ledger.c.body)
    query = select(*columns).where(ledger.c.kind == "state_changed").order_by(ledger.c.seq).limit(_CHUNK)
    rows = connection.execute(query.where(ledger.c.seq > after)).all()
    while rows:
        for seq, host_id, body in rows:
            yield NamedResult(seq, host_id, *_named(body))
        rows = connection.execute(query.where(ledger.c.seq > rows[-1].seq)).all()


class NamedResults:
    """Their numbers, which grow while others write."""

    def __init__(self) -> None:
        self._seen = 0
        self._numbers: set[int] = set()

    def now(self, connection: Connection) -> set[int]:
        """All that are named as this transaction sees it."""
        for one in named_results(connection, self._seen):
            self._seen = one.seq
            self._numbers.add(one.number)
        return self._numbers


def _named(body: object) -> tuple[int, str | None, str]:
    """Whatever stands there; that an entry was altered is found by its seal."""
    try:
        found = json.loads(body) if isinstance(body, str) else {}
        number, seal, state = found["result_id"], found.get("result_mac"), found["new"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return 0, None, ""
    return number if isinstance(number, int) else 0, seal, str(state)
