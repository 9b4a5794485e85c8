"""The watch's lock: a command that delivers lets go of it soon, another watch does not."""

import threading

import pytest

from support.stores import Station
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.lock import WATCHED, WatchLock


@pytest.fixture
def stores(tmp_path):
    """Two openings of one store."""
    station = Station(tmp_path, f"sqlite:///{tmp_path}/store.sqlite")
    yield station.open(), station.open()
    station.close()


def test_it_waits_for_who_delivers(stores):
    one, other = stores
    held = threading.Event()

    def deliver():
        with one.watch_lock():
            held.set()
            done.wait(0.5)

    done = threading.Event()
    delivering = threading.Thread(target=deliver)
    delivering.start()
    assert held.wait(60)
    with WatchLock(other, wait_s=60.0) as lock:
        assert lock.held()
    delivering.join()


def test_it_does_not_wait_for_ever_nor_once_it_is_to_stop(stores):
    one, other = stores
    stop = threading.Event()
    stop.set()
    with one.watch_lock():
        for lock in (WatchLock(other, wait_s=0.0), WatchLock(other, stop, wait_s=1e6)):
            with pytest.raises(StoreError) as error, lock:
                pass
            assert error.value.code == WATCHED
