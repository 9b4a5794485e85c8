"""The demo as people run it: every step, to the end; nothing of it is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEMO = [sys.executable, "-m", "xentpm_lib.simulator.demo"]
LIMIT_S = 800
"""A minute is enough where nothing else goes on."""
pytestmark = pytest.mark.timeout(900)


def _alike(text: str) -> list[str]:
    """The lines, with one letter for what is another each time: digests, identifiers, ports, times.

    Without the last step, which names who ran it.
    """
    changing = (
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
        r"|[0-9a-f]{8,}|:\d{4,5}\b|in \d+ s"
    )
    return re.sub(changing, "*", text.partition("\n19  ")[0]).splitlines()


def _environment(place: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(place), "NO_COLOR": "1"}


@pytest.mark.slow
def test_to_the_end(tmp_path: Path) -> None:
    ended = subprocess.run(
        DEMO,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=_environment(tmp_path),
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    steps = re.findall(r"^ ?(\d+)  \S", ended.stdout, re.MULTILINE)
    assert [int(step) for step in steps] == list(range(1, 20))
    for said in (
        "host2  Simulated pool  untrusted-measurement  Xen, dom0 kernel or initrd",
        "changed: /boot/initrd-4.19-xen.img",
        "XAPI message, priority 1: host2 is NOT trusted",
        "(signature holds)",
        "host2  Simulated pool  untrusted-key",
        "host2  Simulated pool  unreachable",
        "All 19 steps did what they should",
    ):
        assert said in ended.stdout, said
    assert ended.stderr == "" and max(map(len, ended.stdout.splitlines())) <= 90
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("xentpm-demo-")]
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme.partition("```text\n")[2].partition("\n```")[0]
    assert _alike(shown) == _alike(ended.stdout), "README.md shows what the demo printed once"


@pytest.mark.slow
def test_ctrl_c_in_the_middle(tmp_path: Path) -> None:
    with subprocess.Popen(
        DEMO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(tmp_path),
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        while not demo.stdout.readline().startswith("12 "):
            assert demo.poll() is None
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
        _, said = demo.communicate(timeout=LIMIT_S)
    assert demo.returncode == 130 and "Traceback" not in said and "interrupted" in said
    end = time.monotonic() + 60
    while _running_below(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _running_below(tmp_path)


def _running_below(place: Path) -> list[str]:
    """The command lines of processes that name the place."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(place) in line:
            found.append(line)
    return found
