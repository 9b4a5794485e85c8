"""Opening: the file is ours alone, the server proves itself, errors are sentences without passwords."""

import os
import shutil
import signal
import socket
import sqlite3
import stat
import threading
import time
from contextlib import closing

import pytest

from support.postgresql import PASSWORD, PostgresServer
from support.resetting_relay import ResettingRelay
from support.stores import Station, make_result
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import note
from xentpm_lib.verifier.store import Recorded, database
from xentpm_lib.verifier.store.database import Database


@pytest.fixture
def sqlite_station(tmp_path):
    station = Station(tmp_path, "sqlite:///{}/store.sqlite".format(tmp_path))
    yield station
    station.close()


def test_the_files_are_ours_alone(sqlite_station, tmp_path):
    old = os.umask(0)
    try:
        store = sqlite_station.open()
        store.append(*note("a", "text"), who="jo")
    finally:
        os.umask(old)
    files = [tmp_path / name for name in ("store.sqlite", "store.sqlite-wal", "keys/ledger.head")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600] * 3
    assert sqlite_station.by_hand("PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_that_others_may_use_is_refused(sqlite_station, tmp_path, mode):
    sqlite_station.open().close()
    (tmp_path / "store.sqlite").chmod(mode)
    with pytest.raises(StoreError, match="others can read or write the store .*{:o}".format(mode)):
        sqlite_station.open()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////tmp/x?mode=ro",
        "mysql://u:secret@h/d",
        "postgresql+psycopg2://u:secret@h/d",
        "postgresql://u:secret@h/d?options=x",
        "postgresql://u:secret@h/d?sslmode=prefer",
        "postgresql://u:secret@h/d?sslrootcert=/nope",
    ],
)
def test_a_url_that_cannot_be_used(url):
    with pytest.raises(UsageError) as caught:
        Database(url)
    assert "secret" not in str(caught.value) + caught.value.hint


def test_what_is_no_database(tmp_path):
    for name, content in (("text", b"not a database, and long enough for a header" * 40), ("dir", None)):
        path = tmp_path / name
        if content is None:
            path.mkdir(mode=0o700)
        else:
            path.write_bytes(content)
            path.chmod(0o600)
        with pytest.raises(StoreError, match="cannot be used"):
            Station(tmp_path / "s", "sqlite:///{}".format(path)).open()
    with pytest.raises(StoreError, match="No such file"):
        Station(tmp_path / "s", "sqlite:///{}/no/where".format(tmp_path)).open()


def test_a_database_of_something_else_is_left_alone(station):
    station.by_hand("CREATE TABLE ledger (a INTEGER)") if station.kind == "sqlite" else None
    if station.kind == "postgresql":
        connection, _ = station._connect()
        connection.cursor().execute("CREATE TABLE ledger (a INTEGER)")
        connection.commit()
        connection.close()
    else:
        os.chmod(station.url[len("sqlite:///") :], 0o600)
    with pytest.raises(StoreError, match="not ours"):
        station.open()


def test_a_wrong_password_is_told_without_it(postgresql, tmp_path):
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        Station(tmp_path, postgresql.url(password="wrong-secret")).open()
    error = caught.value
    assert "wrong-secret" not in str(error) + error.hint
    assert PASSWORD not in str(error)


def test_a_server_that_is_not_there(tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = "postgresql://u:wrong-secret@127.0.0.1:{}/d".format(one.getsockname()[1])
        with pytest.raises(StoreError, match="cannot be used") as caught:
            Station(tmp_path, url).open()
    assert "wrong-secret" not in str(caught.value)


def test_a_server_elsewhere_has_to_prove_itself(postgresql, tmp_path):
    """127.0.0.2 is no name of this machine for the store."""
    url = postgresql.url(postgresql.new_database()).replace("127.0.0.1", "127.0.0.2")
    known = tmp_path / "ca.pem"
    shutil.copy(postgresql.certificate, known)
    for query in ("", "?sslmode=verify-full"):
        with pytest.raises(StoreError, match="certificate verify failed"):
            Station(tmp_path, url + query).open()
    for query in ("?sslrootcert={}".format(known), "?sslmode=require", "?sslmode=disable"):
        station = Station(tmp_path, url + query)
        used = {row[0] for row in in_use(station)}
        assert used == ({False} if "disable" in query else {True})
        station.close()


def in_use(station):
    """Whether the connection is encrypted, by what the server says."""
    with station.open()._database.read() as connection:
        return connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").all()


def test_the_unix_socket(postgresql, tmp_path):
    url = postgresql.socket_url(postgresql.new_database())
    station = Station(tmp_path, url)
    written = station.open().append(*note("a", "text"), who="jo")
    assert list(station.open().entries()) == [written]
    station.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_a_server_that_goes_and_comes_back(tmp_path, number):
    """What was told as stored is there; what could not be stored is an error; afterwards all goes on."""
    server = PostgresServer()
    try:
        station = Station(tmp_path, server.url(server.new_database()))
        store = station.open()
        store.append(*note("a", "before"), who="jo")
        server.stop(number)
        with pytest.raises(StoreError, match="cannot be used"):
            store.append(*note("b", "lost"), who="jo")
        with pytest.raises(StoreError):
            store.latest()
        server.start()
        store.append(*note("c", "after"), who="jo")
        assert [entry.body["text"] for entry in store.entries()] == ["before", "after"]
        station.close()
    finally:
        server.close()


@pytest.fixture
def relay(postgresql):
    one = ResettingRelay(postgresql.port)
    yield one
    one.close()


@pytest.fixture
def relayed(postgresql, relay, tmp_path):
    url = postgresql.url(postgresql.new_database())
    station = Station(tmp_path, url.replace(":{}/".format(postgresql.port), ":{}/".format(relay.port)))
    yield station
    station.close()


def reset_once_it_sleeps(relay, postgresql):
    """Reset the connection that waits for an answer."""
    query = "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
    while postgresql.run("psql", "-qAtc", query) != "1\n":
        time.sleep(0.1)
    relay.reset()


def test_a_connection_that_is_reset_is_told(relay, relayed, postgresql):
    """An error of the socket: neither pg8000 nor SQLAlchemy makes one of theirs of it."""
    store = relayed.open()
    with (
        pytest.raises(StoreError, match="cannot be used: .*reset by peer"),
        store._database.read() as connection,
    ):
        threading.Thread(target=reset_once_it_sleeps, args=(relay, postgresql), daemon=True).start()
        connection.exec_driver_sql("SELECT pg_sleep(50)")
    store.append(*note("a", "afterwards"), who="jo")
    assert [entry.body["text"] for entry in store.entries()] == ["afterwards"]


def test_a_connection_that_was_reset_while_nobody_used_it_is_made_anew(relay, relayed):
    store = relayed.open()
    for reset in (relay.reset, relay.reset_when_asked):
        reset()
        assert store.latest() == {}
        reset()
        store.append(*note("a", "text"), who="jo")


def test_a_connection_that_is_reset_holds_no_lock(relay, relayed):
    with relayed.open().watch_lock() as held:
        assert held()
        relay.reset()
        assert not held()
        assert not held()


def test_a_server_that_falls_silent_is_told(relay, relayed):
    store = relayed.open()
    with pytest.raises(StoreError, match="cannot be used: .*timed out"), store._database.read() as connection:
        opened = connection.connection.driver_connection._usock
        assert opened.gettimeout() == database._SOCKET_TIMEOUT_S
        opened.settimeout(1)
        relay.answer(b"")
        connection.exec_driver_sql("SELECT 1")


NONSENSE = [b"?\0\0\0\4", b"R\0\0\0\1", b"S\0\0\0\7\xc8\0\0", b"T\0\0\0\6\xc8\xc8"]


@pytest.mark.parametrize("answer", NONSENSE, ids=["kind", "length", "text", "row"])
def test_an_answer_that_makes_no_sense_is_told(relay, relayed, answer):
    """Whatever pg8000 makes of it: KeyError, ValueError, UnicodeDecodeError, struct.error."""
    store = relayed.open()
    with (
        pytest.raises(StoreError, match="cannot be used: the server's answer makes no sense"),
        store._database.read() as connection,
    ):
        relay.answer(answer)
        connection.exec_driver_sql("SELECT 1")
    with pytest.raises(StoreError, match="cannot be used: the server's answer makes no sense"):
        relayed.open()
    relay.answer(None)
    store.append(*note("a", "afterwards"), who="jo")


def test_a_url_without_the_password_that_the_server_asks_for(postgresql, tmp_path):
    url = postgresql.url().replace(":{}@".format(PASSWORD), "@")
    with pytest.raises(StoreError, match="password"):
        Station(tmp_path, url).open()


def test_two_that_make_a_new_file_wait_for_each_other(sqlite_station, tmp_path):
    """SQLite itself waits for no lock while it makes the log."""
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        path.chmod(0o600)
        other.execute("BEGIN IMMEDIATE")
        let_go = threading.Timer(0.5, other.execute, ("COMMIT",))
        let_go.start()
        assert sqlite_station.open().latest() == {}
        let_go.join()


def test_a_full_disk_is_told_and_nothing_is_half_stored(sqlite_station):
    store = sqlite_station.open()
    store.append(*note("a", "before"), who="jo")
    pages = sqlite_station.by_hand("PRAGMA page_count")[0][0]
    store._database._engine.dispose()
    from sqlalchemy import event

    limit = "PRAGMA max_page_count={}".format(pages + 2)
    event.listen(store._database._engine, "connect", lambda connection, _: connection.execute(limit))
    batch = [Recorded(make_result("h", host_name="x" * 4000)) for _ in range(50)]
    with pytest.raises(StoreError, match="full") as caught:
        store.record(batch)
    assert "free space" in caught.value.hint
    assert store.latest() == {}
    assert len(list(store.entries())) == 1


def test_readers_do_not_wait_for_a_writer(station):
    store, other = station.open(), station.open()
    store.record([Recorded(make_result("h"))])
    with other._database.write():
        started = time.monotonic()
        assert list(store.latest()) == ["h"]
        assert list(store.entries()) == []
        assert time.monotonic() - started < database.BUSY_TIMEOUT_S


def test_threads_share_a_store(station):
    store = station.open()
    errors = []

    def work(name):
        try:
            for number in range(10):
                store.record([Recorded(make_result(name))])
                store.latest()
                store.append(*note(name, str(number)), who=name)
        except Exception as error:  # noqa: B902 - the main thread shows it
            errors.append(error)

    threads = [threading.Thread(target=work, args=("t%d" % number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.latest()) == 6
    assert len(list(store.entries())) == 60
