"""Digests of files, kept until the files change."""

import hashlib
import json
import os

import pytest

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot import digest_cache
from xentpm_lib.host.boot.digest_cache import MAX_CACHE_FILES, DigestCache
from xentpm_lib.host.paths import Paths

BANKS = ("sha1", "sha256")


@pytest.fixture
def paths(tmp_path):
    return Paths(str(tmp_path), str(tmp_path / "config"))


def _kept(paths):
    return paths.at("run/xentpm/boot-digests.json")


def _file(paths, content, name="initrd"):
    with open(paths.at(name), "wb") as file:
        file.write(content)
    return paths.at(name)


def _digests(paths, path, banks=BANKS):
    cache = DigestCache(paths)
    found = cache.digests(path, banks)
    cache.save()
    return found


def _right(content):
    return {bank: hashlib.new(bank, content).digest() for bank in BANKS}


def test_digests_are_kept_where_only_root_can_read_them(paths):
    path = _file(paths, b"a")
    assert _digests(paths, path) == _right(b"a")
    assert os.stat(_kept(paths)).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(_kept(paths))).st_mode & 0o777 == 0o700
    assert os.listdir(os.path.dirname(_kept(paths))) == ["boot-digests.json"]


def test_a_kept_digest_is_used(paths):
    path = _file(paths, b"a")
    _digests(paths, path)
    with open(_kept(paths)) as file:
        kept = json.load(file)
    (key,) = kept
    kept[key]["sha256"] = "11" * 32
    with open(_kept(paths), "w") as file:
        json.dump(kept, file)
    assert _digests(paths, path, ["sha256"]) == {"sha256": b"\x11" * 32}


def test_another_bank_is_added(paths):
    path = _file(paths, b"a")
    _digests(paths, path, ["sha1"])
    assert _digests(paths, path) == _right(b"a")


def test_a_file_that_changed_is_read_again(paths):
    path = _file(paths, b"a")
    _digests(paths, path)
    _file(paths, b"b")
    os.utime(path, (1, 1))
    assert _digests(paths, path) == _right(b"b")
    os.rename(_file(paths, b"c", "other"), path)
    assert _digests(paths, path) == _right(b"c")


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff", b'{"a": 1}', b"9" * 5000, b"[" * 100000, b"x" * (1024 * 1024 + 1)]
)
def test_a_damaged_cache_is_made_again(paths, damage):
    path = _file(paths, b"a")
    _digests(paths, path)
    with open(_kept(paths), "wb") as file:
        file.write(damage)
    assert _digests(paths, path) == _right(b"a")


@pytest.mark.parametrize("value", ["zz" * 32, "11", 5, None, "11" * 33])
def test_a_damaged_digest_is_made_again(paths, value):
    path = _file(paths, b"a")
    _digests(paths, path)
    with open(_kept(paths)) as file:
        kept = dict.fromkeys(json.load(file), {"sha256": value})
    with open(_kept(paths), "w") as file:
        json.dump(kept, file)
    assert _digests(paths, path) == _right(b"a")


def test_a_cache_that_others_can_write_is_not_believed(paths):
    path = _file(paths, b"a")
    _digests(paths, path)
    with open(_kept(paths)) as file:
        kept = dict.fromkeys(json.load(file), {"sha256": "11" * 32})
    with open(_kept(paths), "w") as file:
        json.dump(kept, file)
    os.chmod(_kept(paths), 0o666)
    assert _digests(paths, path) == _right(b"a")


def test_a_link_and_a_folder_in_its_place(paths):
    path = _file(paths, b"a")
    os.makedirs(os.path.dirname(_kept(paths)))
    os.symlink("/dev/zero", _kept(paths))
    assert _digests(paths, path) == _right(b"a")
    os.remove(_kept(paths))
    os.mkdir(_kept(paths))
    assert _digests(paths, path) == _right(b"a")
    assert os.listdir(os.path.dirname(_kept(paths))) == [os.path.basename(_kept(paths))]


def test_no_more_than_so_many_are_kept(paths):
    for number in range(3):
        cache = DigestCache(paths)
        for each in range(MAX_CACHE_FILES // 2):
            cache.digests(_file(paths, b"a", "f{}-{}".format(number, each)), BANKS)
        cache.save()
    with open(_kept(paths)) as file:
        assert len(json.load(file)) == MAX_CACHE_FILES


def test_what_cannot_be_read(paths):
    for path in (paths.at("absent"), paths.root, paths.at("a\0b")):
        with pytest.raises(XenTpmError) as caught:
            DigestCache(paths).digests(path, BANKS)
        assert caught.value.code == "XENTPM_BOOT"


def test_a_file_that_is_too_large(paths, monkeypatch):
    monkeypatch.setattr(digest_cache, "MAX_FILE_SIZE", 3)
    with pytest.raises(XenTpmError, match="4 bytes, at most 3"):
        DigestCache(paths).digests(_file(paths, b"aaaa"), BANKS)
