"""The host's lock: who holds it, who was killed, and files that cannot be a lock."""

import fcntl
import os

import pytest

from xentpm_lib.errors import TpmError
from xentpm_lib.tpm.lock import MAXIMUM_RECORD_BYTES, host_lock


def _take(path, operation="op", timeout_s=0.05):
    with host_lock(path, operation, timeout_s) as held:
        found, held.leftovers = held.leftovers, False
        return found


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "lock")


def test_taken_again_and_again(path):
    assert [_take(path) for _ in range(3)] == [False] * 3
    assert os.stat(path).st_size == 0
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_released_after_an_error(path):
    with pytest.raises(KeyError):
        with host_lock(path, "op", 1):
            raise KeyError
    assert _take(path) is False


def test_who_holds_it_is_told(path):
    with host_lock(path, "tpm_get_quote", 1):
        with pytest.raises(TpmError) as caught:
            _take(path)
    assert caught.value.code == "XENTPM_BUSY"
    assert "tpm_get_quote (process {})".format(os.getpid()) in caught.value.message
    assert "waited 0.05 s" in caught.value.message
    assert "lock_timeout_s" in caught.value.hint


def test_a_holder_without_a_record(path):
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TpmError) as caught:
            _take(path)
    assert "in use by another process" in caught.value.message


def test_a_record_left_behind_tells_of_a_killed_holder(path):
    with open(path, "w") as file:
        file.write("tpm_get_quote 4711")
    assert _take(path) is True
    assert _take(path) is False


def test_a_record_of_junk(path):
    with open(path, "wb") as file:
        file.write(b"\xff" * 1000)
    assert _take(path) is True
    assert os.stat(path).st_size == 0


def test_a_long_name_is_cut(path):
    with host_lock(path, "ä" * 1000, 1):
        assert os.stat(path).st_size == MAXIMUM_RECORD_BYTES


@pytest.mark.parametrize("kind", ["no folder", "folder", "link", "pipe"])
def test_what_cannot_be_a_lock(path, kind):
    if kind == "no folder":
        path = os.path.join(path, "lock")
    elif kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        os.symlink(path + ".other", path)
    with pytest.raises(TpmError) as caught:
        _take(path)
    assert caught.value.code == "XENTPM_IO"
    assert path in caught.value.message
    assert not os.path.exists(path + ".other")


def test_the_record_stays_until_what_was_left_is_put_away(path):
    with open(path, "w") as file:
        file.write("tpm_get_quote 4711")
    with host_lock(path, "op", 1):
        pass
    assert _take(path) is True
    assert _take(path) is False


def test_a_disk_that_is_full(path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(TpmError) as caught:
        _take(path)
    assert caught.value.code == "XENTPM_IO"
