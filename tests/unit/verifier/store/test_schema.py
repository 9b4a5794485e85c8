"""Migrations: an older store is brought up, a newer one refused, and nothing is left half done."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from support.stores import NOW, make_result
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import StateChange, note, state_changed
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.store import Recorded, schema
from xentpm_lib.verifier.store.database import Database
from xentpm_lib.verifier.store.migrations.versions import v0003_results_after_entries
from xentpm_lib.verifier.store.result_rows import COLUMNS, sealed_fields
from xentpm_lib.verifier.store.seal import Seals
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


def make_older(station):
    """Take away from a store what the releases of revision 0001 did not have."""
    rows = station.by_hand("SELECT {} FROM results".format(", ".join(COLUMNS)))
    ((store_id,),) = station.by_hand("SELECT value FROM meta WHERE name = 'store_id'")
    for row in rows:
        fields = {**dict(zip(COLUMNS, row, strict=True)), "after_entry": None, "who": None}
        mac = Seals(station.keys, store_id).seal("results", sealed_fields(fields))
        station.by_hand(("UPDATE results SET mac = ? WHERE id = ?", mac, fields["id"]))
    function = "DROP FUNCTION IF EXISTS xentpm_ledger_is_append_only"
    station.by_hand(
        *("DROP INDEX {}".format(name) for name, _, _ in v0003_results_after_entries._INDEXES),
        "CREATE INDEX results_at ON results (at)",
        "ALTER TABLE results DROP COLUMN after_entry",
        "ALTER TABLE results DROP COLUMN who",
        "DELETE FROM meta WHERE name LIKE 'last number%'",
        "UPDATE alembic_version SET version_num = '0001'",
        "SELECT 1" if station.kind == "sqlite" else function,
    )


def test_an_older_store_is_brought_up(station):
    """Its contents stay as they are, and what comes now goes on from there."""
    database = Database(station.url)
    schema.upgrade(database, "0001")
    database.close()
    assert revision(station) == "0001"
    assert triggers(station) == 0
    store = station.open()
    assert revision(station) == schema.REVISION
    (number,) = store.record([Recorded(make_result("h"))])
    # Entries of before name results without their seal.
    old = StateChange("h", None, State.TRUSTED, NOW, result_id=number)
    store.append_all([note("a", "text"), state_changed(old)], who="jo")
    store.close()
    make_older(station)
    assert triggers(station) == 0
    again = station.open()
    assert triggers(station) >= 1
    assert revision(station) == schema.REVISION
    assert [entry.kind for entry in again.entries()] == ["note", "state_changed"]
    assert (again.latest()["h"].altered, again.check()) == (False, [])
    change = StateChange("h", State.TRUSTED, State.UNTRUSTED_MEASUREMENT, NOW + 1)
    again.record([Recorded(make_result("h", "untrusted"), entries=(state_changed(change),))])
    assert again.latest()["h"].result.state is State.UNTRUSTED_MEASUREMENT
    assert (again.latest()["h"].altered, again.check()) == (False, [])


@pytest.mark.parametrize("found", ["0004", "9999", "", "x"])
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
