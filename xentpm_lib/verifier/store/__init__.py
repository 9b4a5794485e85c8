"""The store: SQLAlchemy 2 on SQLite or PostgreSQL.

``store.Store`` is the one to use; what goes in and comes out is in ``model``.
"""

from xentpm_lib.verifier.store.model import (
    ALTERED,
    Entry,
    Problem,
    Pruned,
    Recorded,
    StoredCredentials,
    StoredResult,
)
from xentpm_lib.verifier.store.store import Store

__all__ = [
    "ALTERED",
    "Entry",
    "Problem",
    "Pruned",
    "Recorded",
    "Store",
    "StoredCredentials",
    "StoredResult",
]
