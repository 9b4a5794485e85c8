"""A pool of two fake hosts, called without any transport."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.fake_machine import FakeMachine
from xentpm_lib.simulator.xapi.hosts import Host
from xentpm_lib.simulator.xapi.service import Xapi
from xentpm_lib.simulator.xapi.store import Store


@pytest.fixture
def machines(tmp_path: Path) -> list[FakeMachine]:
    made = [FakeMachine.create(tmp_path / name, name) for name in ("host1", "host2")]
    for machine in made:
        machine.power_on()
    return made


@pytest.fixture
def start(tmp_path: Path, machines: list[FakeMachine]) -> Callable[[], Xapi]:
    """Starts the endpoint, each time with what the directory holds."""

    def begin() -> Xapi:
        store = Store(tmp_path / "database.json")
        hosts = [
            Host(machine, f"127.0.0.{number}", f"certificate {number}", store.host(machine.uuid))
            for number, machine in enumerate(machines, 1)
        ]
        return Xapi(hosts, store, "root", "secret")

    return begin


@pytest.fixture
def xapi(start: Callable[[], Xapi]) -> Xapi:
    return start()


@pytest.fixture
def call(xapi: Xapi) -> Callable[..., object]:
    """Calls with a session."""
    session = xapi.call("session.login_with_password", ["root", "secret"])
    return lambda name, *params: xapi.call(name, [session, *params])
