"""Results say which ledger entry they came after, and who asked for them; indexes for retention.

In rows of before both are empty; their seals stay as they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INDEXES = (
    ("results_at", "results", ["host_id", "at"]),
    ("results_findings", "results", ["findings"]),
    ("results_evidence", "results", ["evidence"]),
    ("results_event_log", "results", ["event_log"]),
    ("outbox_host", "outbox", ["host_id", "channel", "sequence"]),
    ("outbox_finished", "outbox", ["finished_at", "sequence"]),
)


def upgrade() -> None:
    """Add the columns, make the indexes."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.add_column("results", sa.Column("after_entry", number))
    op.add_column("results", sa.Column("who", sa.Text))
    op.drop_index("results_at", "results")
    for name, table, columns in _INDEXES:
        op.create_index(name, table, columns)
