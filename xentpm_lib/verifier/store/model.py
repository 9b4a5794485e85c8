"""What goes into the store and comes out of it. Times are seconds since 1970, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.result import AttestationResult, TpmClock
from xentpm_lib.verifier.secret import Secret, SecretRef

__all__ = [
    "ALTERED",
    "CHANGED",
    "END_NOT_NOTED",
    "Entry",
    "Problem",
    "Pruned",
    "Recorded",
    "StoredCredentials",
    "StoredResult",
]

ALTERED = "XENTPM_STORE_ALTERED"
"""The code of the StoreError that says: a record was changed behind the verifier's back."""
CHANGED = "XENTPM_STORE_CHANGED"
"""The code of the StoreError that says: somebody else has written meanwhile, so nothing was."""
END_NOT_NOTED = "XENTPM_LEDGER_END"
"""The code of the StoreError that says: the entries are written, but not where the ledger ends now."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger, verified. who: the person or program. mac: 32 bytes."""

    seq: int
    at: float
    who: str
    kind: str
    subject: str
    body: dict[str, Any]
    mac: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """One attestation with all that belongs to it: stored together, or not at all.

    evidence: what the host sent; None where there was none or it is not worth keeping.
    entries: for the ledger; a ``state_changed`` among them gets the stored result's number.
    """

    result: AttestationResult
    evidence: QuoteEvidence | None = None
    notifications: tuple[Notification, ...] = ()
    entries: tuple[LedgerItem, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A result as it is in the store.

    altered: the record is not what the verifier wrote. Then ``result`` says RECORD_ALTERED, is untrusted and
    has nothing of what the record said.
    clock: of the host's newest verified quote, from this result or, for ``latest``, from an earlier one.
    """

    result_id: int
    result: AttestationResult
    altered: bool = False
    clock: TpmClock | None = None


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """How to log in to a pool. secret: the password itself, decrypted, or where it is kept."""

    username: str
    secret: Secret | SecretRef

    def password(self) -> Secret:
        """The password as it is now. Raises: UsageError when it is not where it should be."""
        return self.secret.read() if isinstance(self.secret, SecretRef) else self.secret


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows retention has deleted."""

    results: int = 0
    notifications: int = 0
    blobs: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that is not what the verifier wrote. table, row: which; detail: what is wrong."""

    table: str
    row: str
    detail: str
