"""One watch for each store, and none that is left behind."""

import signal
import subprocess
import sys
import time

import pytest

from support.stores import Station
from xentpm_lib.verifier.errors import StoreError

HOLDER = """
import sys, time
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.store import Store
with Store.open(sys.argv[1], StationKeys.open(sys.argv[2])) as store, store.watch_lock() as held:
    print(held(), flush=True)
    time.sleep(120)
"""


def test_only_one_has_it(station):
    first, second = station.open(), station.open()
    with first.watch_lock() as held:
        assert held()
        with pytest.raises(StoreError) as caught, second.watch_lock():
            pass
        assert caught.value.code == "XENTPM_STORE_WATCHED"
        first.latest()
        second.latest()
    with second.watch_lock() as held:
        assert held()


def test_stores_do_not_exclude_each_other(station, tmp_path):
    other = Station(tmp_path / "other", "sqlite:///{}/other.sqlite".format(tmp_path))
    with station.open().watch_lock(), other.open().watch_lock() as held:
        assert held()
    other.close()


def test_a_killed_watch_leaves_it(station):
    store = station.open()
    command = [sys.executable, "-c", HOLDER, station.url, station.keys.directory]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "True\n"
    with pytest.raises(StoreError), store.watch_lock():
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with store.watch_lock():
                return
        except StoreError:
            time.sleep(0.1)  # a server notices a moment later that its client is gone
    pytest.fail("the lock is still held")


def test_a_server_that_went_has_forgotten_it(postgresql, tmp_path):
    database = postgresql.new_database()
    station = Station(tmp_path, postgresql.url(database))
    store = station.open()
    with store.watch_lock() as held:
        assert held()
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'".format(database)
        postgresql.run("psql", "-qAtc", cut)
        end = time.monotonic() + 60
        while held():
            assert time.monotonic() < end
            time.sleep(0.1)  # the server ends its processes in its own time
        assert not held()
    station.close()
