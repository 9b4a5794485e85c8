"""The tables, as the newest migration leaves them. docs/adr has why the ledger is chained.

ledger        append-only history of everything that decides trust; each entry seals the one before it
meta          the store's id, the highest numbers that were given to rows
results       one row for each attestation, its seal over all columns; after_entry: the ledger's end
current       which result of a host is the newest, the newest with a clock, the newest trusted one
blobs         by SHA-256: findings, unchanging parts of evidence, event logs; stored once however often used
outbox        notifications until they are delivered, and for a while after
credentials   one row for each pool: an encrypted password, or where it is
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

__all__ = ["METADATA", "blobs", "credentials", "current", "ledger", "meta", "outbox", "results"]

METADATA = MetaData()
# SQLite makes a column a row id only where its type is spelled INTEGER.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
ledger = Table(
    "ledger",
    METADATA,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("previous_mac", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Index("ledger_kind_subject", "kind", "subject", "seq"),
)
results = Table(
    "results",
    METADATA,
    Column("id", _NUMBER, primary_key=True, autoincrement=False),
    Column("host_id", Text, nullable=False),
    Column("host_name", Text, nullable=False),
    Column("pool_id", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("state", Text, nullable=False),
    Column("clock", Text),
    Column("findings", LargeBinary, nullable=False),
    Column("evidence_digest", Text, nullable=False),
    Column("evidence", LargeBinary),
    Column("event_log", LargeBinary),
    Column("attest", LargeBinary),
    Column("signature", LargeBinary),
    Column("tag_attest", LargeBinary),
    Column("tag_signature", LargeBinary),
    Column("created", Text),
    Column("mac", LargeBinary, nullable=False),
    Column("after_entry", _NUMBER),
    Column("who", Text),
    Index("results_host", "host_id", "id"),
    Index("results_at", "host_id", "at"),
    Index("results_findings", "findings"),
    Index("results_evidence", "evidence"),
    Index("results_event_log", "event_log"),
)
current = Table(
    "current",
    METADATA,
    Column("host_id", Text, primary_key=True),
    Column("result_id", _NUMBER, nullable=False),
    Column("clock_id", _NUMBER),
    Column("trusted_id", _NUMBER),
    Column("mac", LargeBinary, nullable=False),
)
blobs = Table(
    "blobs",
    METADATA,
    Column("sha256", LargeBinary, primary_key=True),
    Column("size", _NUMBER, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
outbox = Table(
    "outbox",
    METADATA,
    Column("sequence", _NUMBER, primary_key=True, autoincrement=False),
    Column("notification_id", Text, nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("host_id", Text, nullable=False),
    Column("pool_id", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", _NUMBER, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("state", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("finished_at", Double),
    Column("mac", LargeBinary, nullable=False),
    Index("outbox_due", "state", "next_at"),
    Index("outbox_host", "host_id", "channel", "sequence"),
    Index("outbox_finished", "finished_at", "sequence"),
)
credentials = Table(
    "credentials",
    METADATA,
    Column("pool_id", Text, primary_key=True),
    Column("username", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)
