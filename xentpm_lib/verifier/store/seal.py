"""Seals: what makes a row of the store the verifier's own, whoever can write to the database.

A seal is an HMAC-SHA256 over the store's id, the table and every field of the row, each with its type, so
that no two rows have the same bytes. The keys are the station's and not in the database.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence

from xentpm_lib.verifier.keys import StationKeys

__all__ = ["SEAL_SIZE", "Seals", "canonical_json"]

SEAL_SIZE = 32  # bytes

Field = str | int | float | bytes | None


def canonical_json(value: object) -> str:
    """``value`` as JSON: ASCII, members sorted, no spaces, no NaN. Raises: ValueError, TypeError."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))


class Seals:
    """The seals of one store's rows."""

    def __init__(self, keys: StationKeys, store_id: str) -> None:
        self.store_id = store_id
        self._keys = {
            "ledger": keys.ledger_key,
            "head": keys.derive("ledger head"),
            "results": keys.result_key,
            "evidence": keys.evidence_key,
            "current": keys.derive("current results"),
            "outbox": keys.derive("outbox"),
            "credentials": keys.derive("credential rows"),
        }

    def seal(self, table: str, fields: Sequence[Field]) -> bytes:
        """32 bytes that only the holder of the keys can make. table: also tells which key."""
        texts = [_spell(value) for value in fields]
        text = json.dumps([self.store_id, table, *texts], separators=(",", ":"))
        return hmac.digest(self._keys[table], text.encode("ascii"), "sha256")

    def holds(self, table: str, fields: Sequence[Field], seal: object) -> bool:
        """Whether ``seal`` is the one over ``fields``. Never raises for what a database may hold."""
        try:
            expected = self.seal(table, fields)
        except (TypeError, ValueError):
            return False
        return isinstance(seal, (bytes, memoryview)) and hmac.compare_digest(expected, bytes(seal))


def _spell(value: Field) -> str:
    if value is None:
        return "n"
    if isinstance(value, str):
        return "s" + value
    if isinstance(value, (bytes, memoryview)):
        return "b" + value.hex()
    if isinstance(value, bool):
        raise TypeError("a seal over a bool: databases give them back as numbers")
    if isinstance(value, int):
        return "i{:d}".format(value)
    if isinstance(value, float):
        return "f" + value.hex()
    raise TypeError("a seal over {}".format(type(value).__name__))
