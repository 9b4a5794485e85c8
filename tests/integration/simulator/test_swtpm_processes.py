"""No swtpm outlives the process that started it, however that one ends."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import xentpm_lib

PACKAGE = Path(xentpm_lib.__file__).resolve().parent.parent
PROGRAM = """
import sys, threading, time
from xentpm_lib.simulator.swtpm import Swtpm
tpm = Swtpm(sys.argv[1])
thread = threading.Thread(target=tpm.start)
thread.start()
thread.join()
print(tpm.pid, flush=True)
{end}
"""
PR_SET_CHILD_SUBREAPER = 36
WAIT = "time.sleep(600)"


def _hangup_ends() -> None:
    """The tests themselves may run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(state: Path, end: str) -> tuple[subprocess.Popen[str], int]:
    """A process that starts a TPM; and the TPM's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(end=end), str(state)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_hangup_ends,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def gone(pid: int, limit_s: float = 60.0) -> bool:
    """Whether the process ends within the limit; one that nobody has waited for has ended."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def state(new_tpm: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tpm"
    path.mkdir()
    (path / "tpm2-00.permall").write_bytes((new_tpm / "tpm" / "tpm2-00.permall").read_bytes())
    return path


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_killed(state: Path, number: signal.Signals) -> None:
    process, tpm = start(state, WAIT)
    process.send_signal(number)
    process.communicate()
    assert gone(tpm)


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise SystemError('crash')", "import os; os._exit(0)"])
def test_ended(state: Path, end: str) -> None:
    process, tpm = start(state, end)
    process.communicate()
    assert gone(tpm)


def test_started_again_at_once_after_a_kill(state: Path) -> None:
    for _ in range(5):
        process, tpm = start(state, WAIT)
        process.kill()
        process.communicate()
    assert gone(tpm)


def _make(place: Path) -> subprocess.Popen[bytes]:
    """A process that makes a TPM."""
    place.mkdir()
    program = "import sys; from xentpm_lib.simulator.swtpm import Swtpm; Swtpm.manufacture(*sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "TMPDIR": str(place)}
    words = [sys.executable, "-c", program, str(place / "tpm"), str(place / "ca")]
    return subprocess.Popen(words, env=environment)


@pytest.fixture(scope="module")
def making_s(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long it takes here to make a TPM."""
    start = time.monotonic()
    assert _make(tmp_path_factory.mktemp("making") / "first").wait() == 0
    return time.monotonic() - start


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_killed_while_a_tpm_is_made(tmp_path: Path, making_s: float, share: float) -> None:
    delay_s = share * making_s
    process = _make(tmp_path / "0")
    for number in itertools.count(1):
        try:
            assert process.wait(delay_s) == 0
        except subprocess.TimeoutExpired:
            break
        delay_s *= 0.7  # the search for the CA's primes takes now long, now not
        process = _make(tmp_path / str(number))
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while _processes_naming(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _processes_naming(str(tmp_path))


@pytest.fixture
def negligent_parent() -> Iterator[None]:
    """This process inherits all orphans and does not collect them, as the first one of a container may do."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_killed_where_zombies_stay(
    negligent_parent: None, tmp_path: Path, making_s: float, share: float
) -> None:
    test_killed_while_a_tpm_is_made(tmp_path, making_s, share)


def _processes_naming(text: str) -> list[str]:
    """Command lines, of other processes than this one, that have the text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found
