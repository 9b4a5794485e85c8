"""Suggested commands can be typed as they are; what goes wrong with a file is told with a remedy."""

import errno
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from xentpm_lib.simulator.invocation import command
from xentpm_lib.simulator.os_errors import hint_for, reason_of


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of this name in a directory that is not in PATH."""
    path = tmp_path / "some bin" / "xentpm-sim"
    path.parent.mkdir()
    path.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(path), "up"])
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))  # type: ignore[arg-type]
    return path


def test_a_path(called: Path) -> None:
    assert command("up", "--dir", "a b") == f"'{called}' up --dir 'a b'"


def test_a_name_in_path(called: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(called.parent))
    assert command("host", "list") == "xentpm-sim host list"


def test_a_script_that_is_not_executable(called: Path) -> None:
    called.chmod(0o644)
    assert command("up").endswith(f" '{called}' up") and not command("up").startswith("'")


def test_unknown(monkeypatch: pytest.MonkeyPatch, called: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["-c"])
    assert command("up") == "xentpm-sim up"


def test_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimpleNamespace(name="xentpm_lib.simulator.cli")
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-m", "xentpm_lib.simulator.cli"])
    assert command("up") == f"{sys.executable} -m xentpm_lib.simulator.cli up"


def test_reasons_and_hints() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/x")
    assert reason_of(full) == "/x: No space left on device" and "disk is full" in hint_for(full)
    refused = OSError(errno.EROFS, "Read-only file system")
    assert reason_of(refused, "/y") == "/y: Read-only file system" and "--dir" in hint_for(refused)
    assert reason_of(OSError("odd")) == "odd" and hint_for(OSError("odd")) == ""
