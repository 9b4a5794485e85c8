"""Files that are named on a command line: ordinary ones are read, and nothing else is waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli.tls import _read_ca
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.files import open_file
from xentpm_lib.verifier.operations import policies
from xentpm_lib.verifier.operations.baselines import _read
from xentpm_lib.verifier.secret import SecretRef
from xentpm_lib.verifier.station_config import load_config

READERS: dict[str, Callable[[Path], Any]] = {
    "open_file": open_file,
    "policy check": policies.check,
    "policy assign": lambda path: policies.load(str(path)),
    "--ek-ca": lambda path: EkAnchors.load([path]),
    "--ek-pin": lambda path: EkAnchors.load(pins=[str(path)]),
    "--password-file": lambda path: SecretRef(file=str(path)).read(),
    "--ca": _read_ca,
    "baseline import": lambda path: _read(path, 100),
    "station.toml": load_config,
}


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    return tmp_path / "pipe"


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_nobody_waits_for_a_pipe(read: Callable[[Path], Any], pipe: Path) -> None:
    for path in (pipe, Path("/dev/null")):
        with pytest.raises(UsageError) as caught:
            read(path)
        assert caught.value.message == f"{path} is not a file" and caught.value.hint


def test_a_pipe_among_certificates_is_passed_over(pipe: Path) -> None:
    pipe.rename(pipe.with_suffix(".pem"))
    with pytest.raises(UsageError, match="no certificate in this directory"):
        EkAnchors.load([pipe.parent])


def test_what_is_opened(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"text")
    link.symlink_to(file)
    with open_file(link) as opened:
        assert opened.read() == b"text" and not os.get_inheritable(opened.fileno())
    with pytest.raises(FileNotFoundError) as caught:
        open_file(tmp_path / "nothing")
    assert Path(caught.value.filename) == tmp_path / "nothing"
    with pytest.raises(UsageError):
        open_file(tmp_path)
