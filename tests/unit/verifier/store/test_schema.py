"""Migrations: an older store is brought up, a newer one refused, and nothing is left half done."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from support.stores import make_result
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import note
from xentpm_lib.verifier.store import Recorded, schema
from xentpm_lib.verifier.store.database import Database
from xentpm_lib.verifier.store.tables import METADATA


def revision(station):
    return station.by_hand("SELECT version_num FROM alembic_version")[0][0]


def triggers(station):
    table = "sqlite_master WHERE type = 'trigger'" if station.kind == "sqlite" else "pg_trigger"
    connection, _ = station._connect()
    cursor = connection.cursor()
    cursor.execute("SELECT COUNT(*) FROM {}".format(table))
    count = cursor.fetchone()[0]
    connection.close()
    return count


def test_the_migrations_make_the_tables_of_this_release(station):
    station.open()
    database = Database(station.url)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()


def test_the_newest_revision_is_the_one_named():
    scripts = ScriptDirectory(str(schema._MIGRATIONS))
    assert scripts.get_heads() == [schema.REVISION]
    assert {script.revision for script in scripts.walk_revisions()} == set(schema._KNOWN)


def test_an_older_store_is_brought_up(station):
    """Revision 0001 had no triggers. Its contents stay as they are."""
    database = Database(station.url)
    schema.upgrade(database, "0001")
    database.close()
    assert revision(station) == "0001"
    assert triggers(station) == 0
    store = station.open()
    assert revision(station) == "0002"
    store.append(*note("a", "text"), who="jo")
    store.record([Recorded(make_result("h"))])
    forget = (
        "DROP FUNCTION IF EXISTS xentpm_ledger_is_append_only" if station.kind != "sqlite" else "SELECT 1"
    )
    station.by_hand("UPDATE alembic_version SET version_num = '0001'", forget)
    assert triggers(station) == 0
    again = station.open()
    assert triggers(station) >= 1
    assert revision(station) == "0002"
    assert [entry.body["text"] for entry in again.entries()] == ["text"]
    assert not again.latest()["h"].altered


@pytest.mark.parametrize("found", ["0003", "9999", "", "x"])
def test_a_newer_store_is_refused_and_left_as_it_is(station, found):
    station.open().append(*note("a", "text"), who="jo")
    station.by_hand("UPDATE alembic_version SET version_num = '{}'".format(found))
    with pytest.raises(StoreError, match="another release") as caught:
        station.open()
    assert caught.value.code == "XENTPM_STORE_NEWER"
    assert revision(station) == found
    station.by_hand("DELETE FROM alembic_version")
    with pytest.raises(StoreError):
        station.open()


def test_a_migration_that_fails_leaves_nothing(station):
    database = Database(station.url)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE outbox (a INTEGER)")
    with pytest.raises(StoreError, match="outbox"):
        schema.upgrade(database)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["outbox"]
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE outbox")
    database.close()
    station.open().append(*note("a", "text"), who="jo")


def test_several_open_a_new_store_at_once(station):
    stores, errors = [], []

    def open_it():
        try:
            stores.append(station.open())
        except Exception as error:  # noqa: B902 - the main thread shows it
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for store in stores:
        store.append(*note("a", "text"), who="jo")
    assert len(list(stores[0].entries())) == 5
