"""Where sockets go."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.socket_dir import (
    make_private,
    plain_temporary_base,
    remove_if_empty,
    short_directory,
)


def test_a_short_plain_path_is_used_itself() -> None:
    assert short_directory("/srv/host-1/tpm") == "/srv/host-1/tpm"


@pytest.mark.parametrize("path", ["/srv/a b", "/srv/a,b", "/srv/é", "/srv/a=b", "/srv/" + "x" * 90])
def test_others_get_one_of_their_own(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/var/tmp")
    short = short_directory(path)
    assert short.startswith("/var/tmp/xentpm-")
    assert short == short_directory(path) != short_directory(path + "2")


def test_an_odd_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/srv/a b")
    assert plain_temporary_base() == "/tmp"


def test_make_private(tmp_path: Path) -> None:
    make_private(str(tmp_path / "new"))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with pytest.raises(UsageError, match="not a directory of this user"):
        make_private(str(tmp_path / "link"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make"):
        make_private(str(tmp_path / "file"))


def test_remove_if_empty(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    remove_if_empty(str(tmp_path / "a"))
    remove_if_empty(str(tmp_path / "a" / "b"))
    remove_if_empty(str(tmp_path / "none"))
    assert os.listdir(tmp_path / "a") == []
