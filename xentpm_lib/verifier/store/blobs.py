"""Contents by their SHA-256: stored once, however many results they belong to, and checked when read."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable

from sqlalchemy import Connection, case, delete, insert, select, update

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.store.model import ALTERED
from xentpm_lib.verifier.store.tables import blobs

__all__ = ["MAX_BLOB_SIZE", "Blobs", "content_id", "unpack"]

MAX_BLOB_SIZE = 24 * 1024 * 1024  # bytes, as long as an evidence document may be
_LEVEL = 6
_CHUNK = 500  # identifiers asked for at a time
_LOOKED_AT_SIZE = 64 * 1024  # bytes; up to it a damaged content is mended when the same one is stored again


def content_id(data: bytes) -> bytes:
    """The SHA-256 of ``data``, 32 bytes."""
    return hashlib.sha256(data).digest()


def unpack(packed: object, sha256: object) -> bytes:
    """The content of a row. Raises: StoreError ``XENTPM_STORE_ALTERED`` when it is not what its name says."""
    data = b""
    if isinstance(packed, (bytes, memoryview)):
        try:
            data = zlib.decompressobj().decompress(packed, MAX_BLOB_SIZE)
        except zlib.error:
            pass
    if content_id(data) != sha256:
        raise StoreError("the content was altered", "", ALTERED)
    return data


class Blobs:
    """The contents of one store. Each method works in the transaction of the connection that it is given."""

    def put(self, connection: Connection, contents: dict[bytes, bytes], pinned: bool = False) -> None:
        """Store what is not there yet; for a writing transaction. contents: by SHA-256.

        pinned: retention leaves it, because reference values in the ledger name it.

        Raises:
            StoreError: one is too large.
        """
        present, damaged = self._look(connection, contents)
        if damaged:
            connection.execute(delete(blobs).where(blobs.c.sha256.in_(sorted(damaged))))
        missing = set(contents) - (present - damaged)
        rows = [_row(sha256, contents[sha256], pinned) for sha256 in sorted(missing)]
        if rows:
            connection.execute(insert(blobs), rows)
        if pinned:
            connection.execute(update(blobs).where(blobs.c.sha256.in_(list(contents))).values(pinned=True))

    def get(self, connection: Connection, wanted: Iterable[bytes]) -> dict[bytes, bytes]:
        """Contents by SHA-256, without those that are missing or altered."""
        found: dict[bytes, bytes] = {}
        for part in _parts(sorted(set(wanted))):
            query = select(blobs.c.sha256, blobs.c.data).where(blobs.c.sha256.in_(part))
            for sha256, packed in connection.execute(query):
                try:
                    found[bytes(sha256)] = unpack(packed, bytes(sha256))
                except StoreError:
                    continue
        return found

    def _look(self, connection: Connection, wanted: Iterable[bytes]) -> tuple[set[bytes], set[bytes]]:
        """What is there, and what of it is not what its name says. Large contents are not looked into."""
        present: set[bytes] = set()
        damaged: set[bytes] = set()
        looked_at = case((blobs.c.size <= _LOOKED_AT_SIZE, blobs.c.data))
        for part in _parts(sorted(wanted)):
            query = select(blobs.c.sha256, looked_at).where(blobs.c.sha256.in_(part))
            for sha256, packed in connection.execute(query):
                present.add(bytes(sha256))
                if packed is not None and not _holds(packed, bytes(sha256)):
                    damaged.add(bytes(sha256))
        return present, damaged


def _holds(packed: object, sha256: bytes) -> bool:
    try:
        unpack(packed, sha256)
    except StoreError:
        return False
    return True


def _row(sha256: bytes, data: bytes, pinned: bool) -> dict[str, object]:
    if len(data) > MAX_BLOB_SIZE:
        raise StoreError("a content of {} bytes, at most {}".format(len(data), MAX_BLOB_SIZE))
    return {"sha256": sha256, "size": len(data), "pinned": pinned, "data": zlib.compress(data, _LEVEL)}


def _parts(wanted: list[bytes]) -> Iterable[list[bytes]]:
    return (wanted[start : start + _CHUNK] for start in range(0, len(wanted), _CHUNK))
