"""``xentpm-sim`` as processes: ready, found from elsewhere, used, ended in every way. No TPM needed."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from support import fake_machine
from support.fake_machine import add_plugin

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, fake_machine.__file__]
Sim = Callable[..., "subprocess.CompletedProcess[str]"]
LIMIT_S = 100
"""For what takes a second or less where nothing else goes on."""
pytestmark = pytest.mark.timeout(400)


def environment(directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "TMPDIR": str(directory),
    }


def _hangup_ends() -> None:
    """The tests themselves may run under nohup, which a simulator would go by."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Simulator:
    """A simulator in a process of its own."""

    def __init__(self, place: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "up", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(place),
            preexec_fn=_hangup_ends,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.ready = json.loads(line)
        self.directory = Path(self.ready["certificate"]).parent

    def session(self) -> Any:
        session = XenAPI.Session(self.ready["url"], ignore_ssl=True)
        session.xenapi.login_with_password(self.ready["username"], self.ready["password"])
        return session

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _out, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, err


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    started: list[Simulator] = []

    def begin(*options: str) -> Simulator:
        started.append(Simulator(tmp_path, *options))
        return started[-1]

    yield begin
    for simulator in started:
        if simulator.process.poll() is None:
            simulator.end()


@pytest.fixture
def sim(tmp_path: Path) -> Sim:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*PROGRAM, *arguments], capture_output=True, text=True, env=environment(tmp_path), timeout=LIMIT_S
        )

    return run


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ready_line(start: Callable[..., Simulator]) -> None:
    simulator = start("--hosts", "2")
    ready = simulator.ready
    assert list(ready) == [
        "url",
        "username",
        "password",
        "certificate",
        "certificates",
        "control",
        "hosts",
    ]
    assert ready["url"].startswith("https://127.0.0.1:")
    assert [host["name"] for host in ready["hosts"]] == ["host1", "host2"]
    for host in ready["hosts"]:
        assert list(host) == ["url", "uuid", "ref", "name", "dir", "tcti"]
    session = simulator.session()
    assert session.xenapi.host.get_all() == [host["ref"] for host in ready["hosts"]]
    assert simulator.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_clean_end(start: Callable[..., Simulator], number: int) -> None:
    simulator = start("--http")
    assert simulator.ready["url"].startswith("http://")
    status, err = simulator.end(number)
    assert status == 0 and "Traceback" not in err and err.endswith("stopped\n")
    assert not simulator.directory.exists()


def test_signals_until_it_is_gone(start: Callable[..., Simulator]) -> None:
    """Also while Python itself comes to its end."""
    simulator = start()
    while simulator.process.poll() is None:
        simulator.process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    _out, err = simulator.process.communicate()
    assert simulator.process.returncode == 0 and err.endswith("stopped\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_plugin_outlives_the_simulator(
    start: Callable[..., Simulator], tmp_path: Path, number: int
) -> None:
    simulator = start()
    script = "#!/bin/sh\nsleep 1\n"  # as long as the simulator may need to tell its watchdog of it
    script += f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; sleep 600; :\n"
    add_plugin(Path(simulator.ready["hosts"][0]["dir"]) / "root", "slow", script)
    session = simulator.session()
    session.xenapi.Async.host.call_plugin(simulator.ready["hosts"][0]["ref"], "slow", "f", {})
    wait_until((tmp_path / "pid").exists)
    pid = int((tmp_path / "pid").read_text())
    simulator.end(number)
    wait_until(lambda: not _group_runs(pid))
    wait_until(lambda: not simulator.directory.exists())


def _group_runs(pid: int) -> bool:
    """Whether a process of the group runs; one that waits to be reaped by init does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) == pid and state != "Z":
            return True
    return False


def known(simulator: Simulator) -> list[dict[str, str]]:
    """What stays of the hosts: all but the port."""
    return [{key: value for key, value in host.items() if key != "url"} for host in simulator.ready["hosts"]]


def test_directory_is_reused(start: Callable[..., Simulator], sim: Sim, tmp_path: Path) -> None:
    place = str(tmp_path / "pool")
    first = start("--dir", place, "--hosts", "2")
    session = first.session()
    session.xenapi.host.add_tags(first.ready["hosts"][1]["ref"], "kept")
    assert "runs in" in sim("up", "--dir", place).stderr
    assert first.end()[0] == 0
    second = start("--dir", place, "--hosts", "3")
    assert known(second)[:2] == known(first)
    assert second.ready["password"] == first.ready["password"]
    assert len(second.ready["hosts"]) == 3
    session = second.session()
    assert session.xenapi.host.get_tags(first.ready["hosts"][1]["ref"]) == ["kept"]
    second.end(signal.SIGKILL)
    third = start("--dir", place)
    assert known(third) == known(second)
    third.end()
    fewer = sim("up", "--dir", place, "--hosts", "1")
    assert (fewer.returncode, fewer.stdout) == (1, "")
    assert fewer.stderr.splitlines()[0] == "xentpm-sim: this directory has 3 hosts, 1 are asked for"


def test_from_another_terminal(start: Callable[..., Simulator], sim: Sim) -> None:
    simulator = start("--hosts", "2")
    uuid = simulator.ready["hosts"][1]["uuid"]
    assert sim("xe", "host-list", "name-label=host2", "--minimal").stdout == uuid + "\n"
    called = sim("xe", "host-call-plugin", f"uuid={uuid}", "plugin=tpm", "fn=f", "args:tag=x")
    assert (called.returncode, called.stdout, called.stderr) == (0, "I am host2\n", "")
    assert sim("host", "edit", "host1").stdout == "initrd\nkernel\n"
    assert sim("host", "edit", uuid, "initrd").stdout.startswith("host2: initrd changed")
    assert sim("host", "reboot", "host1").stdout == "host1 rebooted\n"
    assert sim("host", "power-off", "host1").stdout == "host1 is off\n"
    listed = sim("host", "list").stdout.splitlines()
    assert [line.split()[2] for line in listed] == ["off", "on"]
    assert [host["live"] for host in json.loads(sim("host", "list", "--json").stdout)] == [False, True]
    off = sim("host", "reboot", "host1")
    assert (off.returncode, off.stderr.splitlines()[0]) == (1, "xentpm-sim: host1 is off")
    assert off.stderr.endswith("host power-on host1\n")
    assert sim("host", "power-on", "host1").stdout == "host1 is on\n"
    assert sim("host", "replace-tpm", "host1").stdout == "host1 has another TPM\n"
    unknown = sim("host", "reboot", "host9")
    assert unknown.stderr == "xentpm-sim: there is no host host9\nhint: the hosts are: host1, host2\n"


def test_none_and_several(start: Callable[..., Simulator], sim: Sim) -> None:
    none = sim("host", "list")
    assert none.returncode == 1
    started = f"{sys.executable} {fake_machine.__file__} up"
    assert none.stderr == f"xentpm-sim: no simulator is running\nhint: start one with: {started}\n"
    one, two = start(), start("--http")
    several = sim("xe", "host-list")
    assert several.returncode == 1 and "several simulators are running" in several.stderr
    for simulator in (one, two):
        host = simulator.ready["hosts"][0]["uuid"]
        chosen = sim("xe", "--dir", str(simulator.directory), "host-list", "--minimal")
        assert chosen.stdout == host + "\n"
    gone = sim("host", "list", "--dir", "/no/such/place")
    assert gone.returncode == 1 and "no simulator runs in" in gone.stderr


def _port_of_nobody() -> str:
    """A free port of those that the system gives to nobody who asks for any: it can be taken again later."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    others = [port for port in range(10000, 65536) if not low <= port <= high]
    while True:
        port = random.choice(others or range(10000, 65536))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return str(port)


def test_port(start: Callable[..., Simulator], sim: Sim, tmp_path: Path) -> None:
    port = _port_of_nobody()
    simulator = start("--http", "--port", port)
    assert simulator.ready["url"].rpartition(":")[2] == port
    taken = sim("up", "--port", port, "--http")
    assert taken.returncode == 1
    assert taken.stderr.splitlines() == [
        f"xentpm-sim: port {port} is in use",
        "hint: leave out --port to get a free one",
    ]
    place = str(tmp_path / "pool")
    assert sim("up", "--port", port, "--http", "--dir", place).returncode == 1
    simulator.end()
    again = start("--http", "--port", port, "--dir", place)
    assert again.ready["url"] == simulator.ready["url"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["up", "--hosts", "0"],
        ["up", "--hosts", "51"],
        ["up", "--port", "x"],
        ["up", "--port", "70000"],
        ["host"],
        ["host", "explode"],
        ["host", "edit"],
        ["nothing"],
    ],
)
def test_wrong_usage(sim: Sim, arguments: list[str]) -> None:
    ended = sim(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "usage: xentpm-sim" in ended.stderr and "Traceback" not in ended.stderr


def test_a_directory_that_is_not_ours(sim: Sim, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/letter").touch()
    ended = sim("up", "--dir", str(tmp_path / "docs"))
    assert ended.returncode == 1 and "not empty" in ended.stderr
    assert [entry.name for entry in (tmp_path / "docs").iterdir()] == ["letter"]


def test_text_for_people(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "up"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(tmp_path)
    )
    assert process.stdout is not None
    text = ""
    while "Ctrl-C ends it." not in text:
        line = process.stdout.readline()
        assert line
        text += line
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 0
    for word in ("https://127.0.0.1:", "password", "host1", f"{PROGRAM[1]} xe host-call-plugin host-uuid="):
        assert word in text


def test_log_holds_no_secrets(start: Callable[..., Simulator], tmp_path: Path) -> None:
    simulator = start("--dir", str(tmp_path / "pool"))
    session = simulator.session()
    host = simulator.ready["hosts"][0]["ref"]
    session.xenapi.host.call_plugin(host, "tpm", "f", {"tag": "SECRET-VALUE"})
    simulator.end()
    log = (tmp_path / "pool/simulator.log").read_text()
    assert "host.call_plugin ok" in log
    for secret in ("SECRET-VALUE", "OpaqueRef", simulator.ready["password"]):
        assert secret not in log
