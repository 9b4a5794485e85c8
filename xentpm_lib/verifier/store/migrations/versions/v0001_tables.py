"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    _make_history()
    _make_results()
    _make_rest()


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _make_history() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "ledger",
        sa.Column("seq", _number(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous_mac", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_index("ledger_kind_subject", "ledger", ["kind", "subject", "seq"])


def _make_results() -> None:
    op.create_table(
        "results",
        sa.Column("id", _number(), primary_key=True, autoincrement=False),
        sa.Column("host_id", sa.Text, nullable=False),
        sa.Column("host_name", sa.Text, nullable=False),
        sa.Column("pool_id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("clock", sa.Text),
        sa.Column("findings", sa.LargeBinary, nullable=False),
        sa.Column("evidence_digest", sa.Text, nullable=False),
        sa.Column("evidence", sa.LargeBinary),
        sa.Column("event_log", sa.LargeBinary),
        sa.Column("attest", sa.LargeBinary),
        sa.Column("signature", sa.LargeBinary),
        sa.Column("tag_attest", sa.LargeBinary),
        sa.Column("tag_signature", sa.LargeBinary),
        sa.Column("created", sa.Text),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_index("results_host", "results", ["host_id", "id"])
    op.create_index("results_at", "results", ["at"])
    op.create_table(
        "current",
        sa.Column("host_id", sa.Text, primary_key=True),
        sa.Column("result_id", _number(), nullable=False),
        sa.Column("clock_id", _number()),
        sa.Column("trusted_id", _number()),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.LargeBinary, primary_key=True),
        sa.Column("size", _number(), nullable=False),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _make_rest() -> None:
    op.create_table(
        "outbox",
        sa.Column("sequence", _number(), primary_key=True, autoincrement=False),
        sa.Column("notification_id", sa.Text, nullable=False, unique=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("host_id", sa.Text, nullable=False),
        sa.Column("pool_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attempts", _number(), nullable=False),
        sa.Column("next_at", sa.Double, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    op.create_index("outbox_due", "outbox", ["state", "next_at"])
    op.create_table(
        "credentials",
        sa.Column("pool_id", sa.Text, primary_key=True),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
