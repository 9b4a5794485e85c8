"""Which release's tables a database has, and bringing them up to this one's."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.store.database import Database

__all__ = ["REVISION", "upgrade"]

REVISION = "0003"
"""The newest migration."""

_KNOWN = ("0001", "0002", REVISION)
_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database, to: str = REVISION) -> None:
    """Make the tables, or migrate those of an older release; all in one transaction.

    to: another migration, for tests.

    Raises:
        StoreError: ``XENTPM_STORE_NEWER``: a later release wrote it; or the database cannot be used.
    """
    with database.read() as connection:
        if _revision(connection, database.name) == to:
            return
    with database.write() as connection:
        if _revision(connection, database.name) != to:  # another process may have done it meanwhile
            _migrate(connection, to)


def _revision(connection: Connection, name: str) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        if "ledger" in tables or "results" in tables:
            raise StoreError("the database {} has tables of the store's names that are not ours".format(name))
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found not in _KNOWN:
        message = (
            "the store {} was written by another release of xentpm: schema {}, this one knows {}".format(
                name, ascii(found), REVISION
            )
        )
        raise StoreError(message, "Use that release, or a later one.", "XENTPM_STORE_NEWER")
    return str(found)


def _migrate(connection: Connection, to: str) -> None:
    from alembic import command  # slow to import, and needed once in a release
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
