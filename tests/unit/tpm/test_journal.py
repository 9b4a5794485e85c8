"""Intentions on disk."""

import os

import pytest

from xentpm_lib.errors import TpmError
from xentpm_lib.tpm.journal import Journal

SIZES = (1, 3, 20)


@pytest.fixture
def journal(tmp_path):
    return Journal(str(tmp_path / "var" / "state"))


def _io_error(function, *arguments):
    with pytest.raises(TpmError) as caught:
        function(*arguments)
    assert caught.value.code == "XENTPM_IO"
    assert caught.value.hint
    return caught.value.message


def test_written_read_and_removed(journal):
    assert journal.read("a", SIZES) is None
    for data in (b"\x00", b"\xff" * 3, b"x" * 20):
        journal.write("a", data)
        assert journal.read("a", SIZES) == data
    journal.remove("a")
    assert journal.read("a", SIZES) is None
    journal.remove("a")


def test_files_are_private_and_nothing_else_is_left(journal):
    journal.write("a", b"1")
    assert os.listdir(journal.directory) == ["a"]
    assert os.stat(journal.directory).st_mode & 0o777 == 0o700
    assert os.stat(os.path.join(journal.directory, "a")).st_mode & 0o777 == 0o600


def test_what_a_killed_writer_left_is_not_read(journal):
    journal.write("a", b"1")
    with open(os.path.join(journal.directory, "a.new"), "w") as file:
        file.write("3")
    assert journal.read("a", SIZES) == b"1"
    journal.write("a", b"2")
    assert journal.read("a", SIZES) == b"2"
    assert os.listdir(journal.directory) == ["a"]


@pytest.mark.parametrize("data", [b"no hex", b"123", b"\xff\xfe", b"", b"0011", b"00" * 21])
def test_junk_is_refused(journal, data):
    journal.write("a", b"1")
    with open(os.path.join(journal.directory, "a"), "wb") as file:
        file.write(data)
    assert "does not hold 2 or 6 or 40 hex digits" in _io_error(journal.read, "a", SIZES)


def test_a_folder_in_the_way(journal):
    os.makedirs(os.path.join(journal.directory, "a"))
    assert "Cannot read" in _io_error(journal.read, "a", SIZES)
    assert "Cannot write" in _io_error(journal.write, "a", b"1")
    assert "Cannot remove" in _io_error(journal.remove, "a")


def test_a_disk_that_is_full(journal, monkeypatch):
    journal.write("a", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in _io_error(journal.write, "a", b"new")
    assert journal.read("a", SIZES) == b"old"


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_write_cannot_have_made(journal, tmp_path, kind):
    journal.write("other", b"1")
    path = os.path.join(journal.directory, "a")
    if kind == "link":
        os.symlink(os.path.join(journal.directory, "other"), path)
    else:
        os.mkfifo(path)
    _io_error(journal.read, "a", SIZES)
    os.symlink(str(tmp_path / "target"), path + ".new")
    journal.write("a", b"2")
    assert journal.read("a", SIZES) == b"2"
    assert not os.path.exists(str(tmp_path / "target"))
