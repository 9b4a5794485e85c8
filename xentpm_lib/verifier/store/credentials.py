"""How to log in to the pools: an encrypted password, or where it is kept. Nothing in the database alone is
of use.

An encrypted password is sealed by AES-256-GCM with a key that is not in the database, together with the pool
it is for, so that it cannot be moved to another one. A reference is sealed like every row: nobody can point
it to a file of his.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, delete, insert, select

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.secret import MAX_SECRET_BYTES, Secret, SecretRef
from xentpm_lib.verifier.store.model import ALTERED, StoredCredentials
from xentpm_lib.verifier.store.result_rows import clean_text
from xentpm_lib.verifier.store.seal import Seals, canonical_json
from xentpm_lib.verifier.store.tables import credentials

__all__ = ["CredentialRows"]

_NONCE_SIZE = 12  # bytes
_PADDED_SIZE = 128  # bytes, so that the ciphertext does not tell the password's length
_SEALED = ("pool_id", "username", "mode", "value", "changed_at")


class CredentialRows:
    """The credentials in one store. Each method works in the transaction of the connection given."""

    def __init__(self, keys: StationKeys, seals: Seals) -> None:
        self._cipher = AESGCM(keys.credential_key)
        self._seals = seals

    def put(
        self, connection: Connection, pool_id: str, username: str, secret: Secret | SecretRef, now: float
    ) -> None:
        """Store how to log in to a pool instead of what was there. Raises: UsageError, too long or empty."""
        mode, value = self._encode(pool_id, secret)
        row = {
            "pool_id": pool_id,
            "username": clean_text(username),
            "mode": mode,
            "value": value,
            "changed_at": float(now),
        }
        seal = self._seals.seal("credentials", [row[name] for name in _SEALED])  # type: ignore[misc]
        connection.execute(delete(credentials).where(credentials.c.pool_id == pool_id))
        connection.execute(insert(credentials), {**row, "mac": seal})

    def get(self, connection: Connection, pool_id: str) -> StoredCredentials | None:
        """How to log in to a pool; None when nothing is stored.

        Raises:
            StoreError: ``XENTPM_STORE_ALTERED``: the row was changed, or the keys are not those it was
            written with.
        """
        row = (
            connection.execute(select(credentials).where(credentials.c.pool_id == pool_id)).mappings().first()
        )
        if row is None:
            return None
        if not self._seals.holds("credentials", [row[name] for name in _SEALED], row["mac"]):
            raise _altered(pool_id)
        return StoredCredentials(row["username"], self._decode(pool_id, row["mode"], bytes(row["value"])))

    def drop(self, connection: Connection, pool_id: str) -> None:
        """Forget them."""
        connection.execute(delete(credentials).where(credentials.c.pool_id == pool_id))

    def pools(self, connection: Connection) -> list[str]:
        """The pools that have a row."""
        return list(connection.execute(select(credentials.c.pool_id)).scalars())

    def _encode(self, pool_id: str, secret: Secret | SecretRef) -> tuple[str, bytes]:
        if isinstance(secret, SecretRef):
            return ("file", secret.file.encode()) if secret.file else ("env", secret.env.encode())
        plain = secret.reveal().encode("utf-8")
        if not 0 < len(plain) <= MAX_SECRET_BYTES:
            raise UsageError("a password of {} bytes, expected 1 to {}".format(len(plain), MAX_SECRET_BYTES))
        size = -(-(len(plain) + 2) // _PADDED_SIZE) * _PADDED_SIZE
        padded = (len(plain).to_bytes(2, "big") + plain).ljust(size, b"\0")
        nonce = os.urandom(_NONCE_SIZE)
        return "encrypted", nonce + self._cipher.encrypt(nonce, padded, self._bound_to(pool_id))

    def _decode(self, pool_id: str, mode: str, value: bytes) -> Secret | SecretRef:
        if mode == "file":
            return SecretRef(file=value.decode())
        if mode == "env":
            return SecretRef(env=value.decode())
        try:
            nonce, sealed = value[:_NONCE_SIZE], value[_NONCE_SIZE:]
            padded = self._cipher.decrypt(nonce, sealed, self._bound_to(pool_id))
        except (InvalidTag, ValueError):
            raise _altered(pool_id) from None
        return Secret(padded[2 : 2 + int.from_bytes(padded[:2], "big")].decode("utf-8"))

    def _bound_to(self, pool_id: str) -> bytes:
        return canonical_json(["credentials", self._seals.store_id, pool_id]).encode("ascii")


def _altered(pool_id: str) -> StoreError:
    message = "the stored credentials of pool {} were altered".format(pool_id)
    hint = "Give them again: xentpm-attest pool password; find out who has access to the store."
    return StoreError(message, hint, ALTERED)
