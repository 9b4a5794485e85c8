"""Numbers of rows, which are never given twice, also after the newest rows were deleted.

The highest one that was given is in ``meta``, without a seal: whoever writes to the database can set it back,
as he can put back old rows. What rests on a number therefore rests on the row's seal as well (``shown``).
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, func, select

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.store.model import ALTERED
from xentpm_lib.verifier.store.tables import meta
from xentpm_lib.verifier.store.upsert import insert_or

__all__ = ["take_numbers"]

_END = 2**53  # never reached, even at a million a second


def take_numbers(connection: Connection, column: Column[int], count: int) -> range:
    """The next numbers of a table's key; for a writing transaction.

    Raises:
        StoreError: ``XENTPM_STORE_ALTERED``: a row has a number that leaves no room.
    """
    name = "last number in {}".format(column.table.name)
    there = connection.execute(select(func.max(column))).scalar() or 0
    if not 0 <= there < _END:
        message = "{} has a row with the number {}, which the verifier did not give".format(
            column.table.name, there
        )
        raise StoreError(message, "Find out who has access to the store: xentpm-attest store check.", ALTERED)
    first = max(there, _given(connection, name)) + 1
    if count:
        _note(connection, name, first + count - 1)
    return range(first, first + count)


def _given(connection: Connection, name: str) -> int:
    """The highest number that was given; 0 for anything that was not written here."""
    text = connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar()
    if not isinstance(text, str) or not (text.isascii() and text.isdigit()) or len(text) > len(str(_END)):
        return 0
    return int(text) if int(text) < _END else 0


def _note(connection: Connection, name: str, number: int) -> None:
    statement = insert_or(connection, meta)
    statement = statement.on_conflict_do_update(
        index_elements=["name"], set_={"value": statement.excluded["value"]}
    )
    connection.execute(statement, {"name": name, "value": str(number)})
