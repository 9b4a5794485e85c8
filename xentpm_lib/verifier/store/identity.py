"""Which store it is: an id of its own, given once, so that no other store can take its place."""

from __future__ import annotations

import uuid

from sqlalchemy import insert, select

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.store.database import Database
from xentpm_lib.verifier.store.head import HeadFile
from xentpm_lib.verifier.store.ledger import Ledger
from xentpm_lib.verifier.store.model import ALTERED
from xentpm_lib.verifier.store.seal import Seals
from xentpm_lib.verifier.store.tables import meta

__all__ = ["identify"]


def identify(database: Database, keys: StationKeys, file: HeadFile, now: float) -> str:
    """The id of the store, which is given to it when it is new.

    Raises:
        StoreError: ``XENTPM_STORE_ALTERED``: an empty store in the place of one that has entries.
    """
    query = select(meta.c.value).where(meta.c.name == "store_id")
    with database.read() as connection:
        found = connection.execute(query).scalar()
    if found is not None:
        return str(found)
    with database.write() as connection:
        found = connection.execute(query).scalar()
        if found is not None:
            return str(found)
        head = file.read()
        if head is not None and head.seq:
            message = "the store is empty, but {} entries were written with these keys".format(head.seq)
            hint = "Restore the store; or, to begin anew, use another station directory."
            raise StoreError(message, hint, ALTERED)
        store_id = str(uuid.uuid4())
        file.replace(Ledger(Seals(keys, store_id)).start)
        created = {"name": "created_at", "value": repr(float(now))}
        connection.execute(insert(meta), [{"name": "store_id", "value": store_id}, created])
        return store_id
