"""Files that are replaced whole. A FAT cannot be mounted by every kernel that runs tests: the lab has one."""

import os
import stat
import subprocess

import pytest

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot import durable


def content(path):
    with open(str(path), "rb") as file:
        return file.read()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


def test_a_new_file_and_one_that_is_replaced(path):
    durable.replace(path, b"one", mode=0o640)
    assert (content(path), stat.S_IMODE(os.stat(path).st_mode)) == (b"one", 0o640)
    os.chmod(path, 0o751)
    durable.replace(path, b"two" * 100000, mode=0o600)
    assert (content(path), stat.S_IMODE(os.stat(path).st_mode)) == (b"two" * 100000, 0o751)
    assert os.listdir(os.path.dirname(path)) == ["file"]


def test_what_a_link_points_to_is_replaced(path):
    durable.replace(path, b"one")
    os.symlink("file", path + ".link")
    durable.replace(path + ".link", b"two")
    assert os.path.islink(path + ".link") and content(path) == b"two"


def test_what_an_earlier_try_left_is_removed(path):
    for name in (".xentpm-new", ".xentpm-new1", ".xentpm-new9"):
        durable.replace(path + name, b"half")
        assert durable.is_half_written(path + name)
    durable.replace(path, b"all")
    assert os.listdir(os.path.dirname(path)) == ["file"]
    assert durable.sweep(path) == []


def test_remove(path):
    assert durable.remove(path) is False
    durable.replace(path, b"one")
    assert durable.remove(path) is True
    assert not os.path.exists(path)


def test_read(path):
    assert durable.read_if_there(path) is None
    durable.replace(path, b"12345")
    assert durable.read(path, 5) == durable.read_if_there(path) == b"12345"
    with pytest.raises(XenTpmError, match="more than 4 bytes"):
        durable.read(path, 4)
    with pytest.raises(XenTpmError, match="No such file"):
        durable.read(path + "x")


def test_space(tmp_path):
    durable.require_space(str(tmp_path), 1, "It")
    with pytest.raises(XenTpmError, match="It needs .* KiB in"):
        durable.require_space(str(tmp_path), 1 << 60, "It")
    with pytest.raises(XenTpmError, match="cannot look at"):
        durable.require_space(str(tmp_path / "x"), 1, "It")


def test_a_disk_that_is_full_keeps_the_old_file(tmp_path):
    folder = str(tmp_path / "small")
    os.mkdir(folder)
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=64k", "xentpm-test", folder])
    try:
        path = os.path.join(folder, "file")
        durable.replace(path, b"old")
        with pytest.raises(XenTpmError, match="No space left"):
            durable.replace(path, bytes(128 << 10))
        assert content(path) == b"old" and os.listdir(folder) == ["file"]
    finally:
        subprocess.check_call(["umount", folder])


def test_no_fat_is_taken_for_one(tmp_path):
    assert durable.is_fat(str(tmp_path)) is False
    assert durable.is_fat(str(tmp_path / "absent")) is False
