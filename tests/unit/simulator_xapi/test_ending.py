"""When a simulator ends: signals are noted and change nothing else, and so is the end of stdin."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from xentpm_lib.simulator.ending import Ended, Ending

ROOT = Path(__file__).parents[3]


@pytest.fixture
def ending() -> Iterator[Ending]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    yield Ending()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_not_yet(ending: Ending) -> None:
    ending.install()
    ending.check()
    assert not ending.wait(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_wakes_the_wait_and_more_of_them_do_nothing(ending: Ending, number: int) -> None:
    ending.install()
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    assert ending.wait(10)
    for again in (signal.SIGINT, signal.SIGTERM, number):
        os.kill(os.getpid(), again)
    with pytest.raises(Ended):
        ending.check()
    for _ in range(70000):  # more than the pipe holds
        ending._note(number, None)
    assert ending.wait()


def test_afterwards_signals_are_ignored(ending: Ending) -> None:
    ending.install()
    ending.close()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        assert signal.getsignal(number) == signal.SIG_IGN


def test_nohup_stays(ending: Ending) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ending.install()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.parametrize(("data", "close"), [(b"", True), (b"x" * 100000, True), (b"x", False)])
def test_end_of_stdin(data: bytes, close: bool) -> None:
    limit_s = 60 if close else 0.7
    program = f"from xentpm_lib.simulator.ending import Ending\nprint(Ending(until_eof=True).wait({limit_s}))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(data)
    process.stdin.flush()
    if close:
        process.stdin.close()
    assert process.stdout.read() == (b"True\n" if close else b"False\n")
    process.stdin.close()
    process.wait()


def test_no_stdin_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert Ending(until_eof=True).wait(0)
