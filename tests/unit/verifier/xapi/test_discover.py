"""First contact with pools whose records make no sense, or whose slaves tell nonsense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.hostile_server import Call, HostileServer, failure, success
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.enrolment.discover import Discovered, discover, find_master
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.xapi.pool import Credentials, XapiOptions
from xentpm_lib.verifier.xapi.tls import fingerprint

Serve = Callable[..., HostileServer]
PASSWORD = "correct-horse"
U1, U2, U3 = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))


def host(uuid: str, name: str, address: str) -> dict[str, Any]:
    return {"uuid": uuid, "name_label": name, "address": address, "enabled": True, "metrics": "m"}


HOSTS = {
    "OpaqueRef:master": host(U1, "host1", "127.0.0.1"),
    "OpaqueRef:2": host(U2, "host2\u202e", "127.0.0.2"),
    "OpaqueRef:3": host(U3, "host3", ""),
}


def script(hosts: Any = None, certificates: Any = None) -> Callable[[Call], None]:
    """What a pool answers of its hosts."""

    def answer(call: Call) -> None:
        if call.method == "host.get_all_records":
            call.answer(success(HOSTS if hosts is None else hosts))
        elif call.method == "host_metrics.get_all_records":
            call.answer(success({"m": {"live": True}}))
        elif call.method == "host.get_server_certificate" and certificates:
            call.answer(success(certificates.get(call.params[1], "no certificate")))
        else:
            call.answer(failure("HOST_OFFLINE", "x"))

    return answer


def look(server: HostileServer, tls: TlsTrust | None = None) -> Discovered:
    trust = tls or TlsTrust(server.pem)
    return discover(server.url, trust, lambda: Credentials("root", PASSWORD), XapiOptions(60, 30, 10))


def test_what_is_found(serve: Serve) -> None:
    server = serve(script())
    found = look(server)
    assert [one.uuid for one in found.hosts] == [U1, U2, U3]
    assert found.pool.addresses == (server.url, f"https://127.0.0.2:{server.port}"), "host3 has no address"
    assert found.pool.tls == TlsTrust(server.pem)
    assert found.pool.name == "pool" and server.methods[-1] == "session.logout"


def test_pins_of_those_hosts_that_tell_a_certificate(serve: Serve) -> None:
    other = serve(lambda call: None, names="127.0.0.2")
    server = serve(script(certificates={"OpaqueRef:2": other.pem}))
    pin = fingerprint(server.pem)
    assert look(server, TlsTrust(pins=(pin.upper(),))).pool.tls.pins == (pin, fingerprint(other.pem))


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        "x",
        {"a": 1},
        {"a": {}},
        {"a": host(U1, "a", "x"), "b": host(U1, "b", "y")},
        {"a": host("host1", "a", "x")},
        {"a": host("", "a", "x")},
        {"a": host(U1 + "\n", "a", "x")},
    ],
)
def test_records_that_make_no_sense(serve: Serve, hosts: Any) -> None:
    with pytest.raises(CollectionError) as caught:
        look(serve(script(hosts)))
    assert caught.value.finding == "XAPI_ERROR"


@pytest.mark.parametrize("told", [[], [""], ["a b"], ["http://x"], ["127.0.0.1:1@y"]])
def test_a_slave_that_tells_nonsense(serve: Serve, told: list[str]) -> None:
    server = serve(lambda call: call.answer(failure("HOST_IS_SLAVE", *told)), raw=True)
    with pytest.raises(CollectionError) as caught:
        find_master(server.url, TlsTrust(server.pem))
    assert caught.value.finding == "XAPI_ERROR"
    with pytest.raises(CollectionError):
        look(server)
    assert "session.login_with_password" not in server.methods


def test_no_password_is_sent_to_find_the_master(serve: Serve) -> None:
    server = serve(script())
    assert find_master(server.url, TlsTrust(server.pem)) == server.url
    assert server.calls == [("pool.get_all_records", ("OpaqueRef:NULL",))]


def test_addresses_that_are_none() -> None:
    for url in ("http://pool", "https://a/b", ""):
        with pytest.raises(UsageError):
            discover(url, TlsTrust("x"), lambda: Credentials("root", PASSWORD))
        with pytest.raises(UsageError):
            find_master(url, TlsTrust("x"))
