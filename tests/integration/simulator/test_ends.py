"""However a simulator that makes TPMs ends, nothing of it is left: no file, no process, no traceback."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support import fake_machine

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, fake_machine.__file__]
LIMIT_S = 100
HOSTS = 3
pytestmark = pytest.mark.timeout(400)


def begin(place: Path, *arguments: str, real: bool = True) -> "subprocess.Popen[str]":
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(place)}
    if real:
        variables["REAL_MACHINES"] = "1"
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )


def pid_files() -> dict[Path, int]:
    """swtpm_setup's files with their sizes."""
    found = {}
    for path in Path("/tmp").glob(".swtpm_setup.pidfile.*"):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.stat().st_size
    return found


def left(place: Path) -> list[str]:
    """What is there besides the folder of the registry, which stays."""
    found = [entry.name for entry in place.iterdir() if entry.name != f"xentpm-sim-{os.getuid()}"]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(place) in line:
            found.append(line)
    return found


def wait_until_nothing_is_left(place: Path) -> None:
    """The shell beside a swtpm_setup looks every tenth of a second whether to end."""
    deadline = time.monotonic() + LIMIT_S
    while left(place):
        assert time.monotonic() < deadline, left(place)
        time.sleep(0.1)


@pytest.mark.parametrize("delay_s", [0.2, 0.45, 0.7, 0.95])
def test_killed_while_tpms_are_made(tmp_path: Path, delay_s: float) -> None:
    process = begin(tmp_path, "up", "--hosts", f"{HOSTS}")
    assert process.stderr is not None and process.stderr.readline().startswith(f"making {HOSTS} hosts")
    time.sleep(delay_s)
    process.kill()
    process.communicate()
    wait_until_nothing_is_left(tmp_path)
    time.sleep(1)
    assert not left(tmp_path)  # and nothing came back


def test_swtpm_setup_s_own_files_go_too(tmp_path: Path) -> None:
    """Other tests make TPMs at the same time: so those that are there for long are looked at."""
    before = pid_files()
    test_killed_while_tpms_are_made(tmp_path, 0.3)
    deadline = time.monotonic() + 20
    new = pid_files().keys() - before.keys()
    while new and time.monotonic() < deadline:
        new &= pid_files().keys()
        time.sleep(0.2)
    sizes = pid_files()
    assert not any(sizes.get(path) for path in new)
    assert len(new) <= HOSTS  # of each TPM the one that swtpm_setup has made and not yet told anybody of


@pytest.mark.parametrize("delay_s", [0.0, 0.2, 0.5, 0.8, 1.1])
def test_signals_while_tpms_are_made(tmp_path: Path, delay_s: float) -> None:
    process = begin(tmp_path, "up", "--hosts", "3")
    assert process.stderr is not None and process.stderr.readline().startswith("making 3 hosts")
    time.sleep(delay_s)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        time.sleep(0.02)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0 and err.endswith("stopped\n")
    assert "Traceback" not in err and "Error" not in err
    wait_until_nothing_is_left(tmp_path)


@pytest.mark.parametrize("delay_s", [0.02, 0.05, 0.08, 0.12, 0.2])
def test_interrupted_at_once(tmp_path: Path, delay_s: float) -> None:
    process = begin(tmp_path, "host", "list", real=False)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    _out, err = process.communicate(timeout=LIMIT_S)
    assert "xentpm_lib/simulator/command_line.py" not in err


@pytest.mark.parametrize("ready", [True, False])
def test_until_eof(tmp_path: Path, ready: bool) -> None:
    process = begin(tmp_path, "up", "--until-eof", "--json", "--hosts", "2", real=not ready)
    assert process.stdin is not None and process.stdout is not None
    if ready:
        assert process.stdout.readline().startswith("{")
    process.stdin.close()
    assert process.wait(LIMIT_S) == 0
    process.stdout.close()
    wait_until_nothing_is_left(tmp_path)


def test_the_program_that_started_it_is_killed(tmp_path: Path) -> None:
    program = f"""import subprocess, sys
process = subprocess.Popen({[*PROGRAM, "up", "--until-eof", "--json"]!r}, stdin=subprocess.PIPE)
process.wait()"""
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=variables,
    )
    assert parent.stdout is not None and parent.stdout.readline().startswith("{")
    parent.kill()
    parent.communicate()
    wait_until_nothing_is_left(tmp_path)
