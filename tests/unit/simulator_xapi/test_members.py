"""Who answers at the address of a host, and who the master is."""

from collections.abc import Callable
from typing import Any

import pytest

from support.fake_machine import FakeMachine
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.member import Member
from xentpm_lib.simulator.xapi.service import Xapi

Call = Callable[..., Any]


def test_a_slave_tells_who_the_master_is(xapi: Xapi) -> None:
    master, slave = (Member(xapi, host) for host in xapi.hosts.all())
    assert master.call("session.login_with_password", ["root", "secret"])
    for name, params in (("session.login_with_password", ["root", "secret"]), ("no.such", [])):
        with pytest.raises(XapiError) as caught:
            slave.call(name, params)
        assert caught.value.description == ["HOST_IS_SLAVE", "127.0.0.1"]


def test_promotion(xapi: Xapi, call: Call, start: Callable[[], Xapi], machines: list[FakeMachine]) -> None:
    hosts = call("host.get_all")
    (pool,) = call("pool.get_all")
    assert call("pool.get_master", pool) == hosts[0]
    call("simulator.host_promote", hosts[0])  # it is the master already, and nothing happens
    call("simulator.host_promote", hosts[1])
    with pytest.raises(XapiError) as caught:
        call("host.get_all")
    assert caught.value.code == "SESSION_INVALID"
    session = xapi.call("session.login_with_password", ["root", "secret"])
    assert xapi.call("pool.get_master", [session, pool]) == hosts[1]
    assert [item["master"] for item in xapi.call("simulator.get_hosts", [session])] == [False, True]
    assert start().hosts.master.machine is machines[1], "the pool remembers its master"


def test_a_host_that_is_off(xapi: Xapi, call: Call) -> None:
    second = xapi.hosts.all()[1]
    call("simulator.host_power_off", second.ref)
    assert not Member(xapi, second).live
    with pytest.raises(XapiError) as caught:
        call("simulator.host_promote", second.ref)
    assert caught.value.code == "HOST_OFFLINE"
    call("simulator.host_power_on", second.ref)
    assert Member(xapi, second).live
