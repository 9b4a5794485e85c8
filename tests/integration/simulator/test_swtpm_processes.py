"""No swtpm outlives the process that started it, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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
WAIT = "time.sleep(60)"


def start(state: Path, end: str) -> tuple[subprocess.Popen[str], int]:
    """A process that starts a TPM; and the TPM's process id."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(end=end), str(state)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def gone(pid: int, limit_s: float = 5.0) -> bool:
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


@pytest.mark.parametrize("delay_s", [0.15, 0.25, 0.4, 0.6])
def test_killed_while_a_tpm_is_made(tmp_path: Path, delay_s: float) -> None:
    program = "import sys; from xentpm_lib.simulator.swtpm import Swtpm; Swtpm.manufacture(*sys.argv[1:])"
    place = [str(tmp_path / "tpm"), str(tmp_path / "ca")]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", program, *place], env=environment)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(delay_s)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 5
    while _processes_naming(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _processes_naming(str(tmp_path))


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
