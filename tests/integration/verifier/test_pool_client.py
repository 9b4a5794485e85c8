"""The client of a pool against simulated hosts: masters that change and die, sessions that end."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator

import pytest

from support.pool import SimPool, running_pool
from xentpm_lib.verifier.enrolment.discover import discover, find_master
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient, XapiOptions
from xentpm_lib.verifier.xapi.tls import fetch_certificate

NONCE = base64.b64encode(bytes(range(32))).decode()
Client = Callable[..., PoolClient]


@pytest.fixture(scope="module")
def pool() -> Iterator[SimPool]:
    """Three hosts, host1 the master."""
    with running_pool(3) as running:
        yield running


@pytest.fixture
def client(pool: SimPool) -> Iterator[PoolClient]:
    """A client as it is after discovery, and afterwards all hosts on and host1 the master again."""
    record = discover(pool.url, TlsTrust(pool.certificates.read_text()), credentials_of(pool)).pool
    with PoolClient(record, credentials_of(pool), XapiOptions(call_s=60)) as made:
        yield made
    for host in pool.hosts:
        pool.power_on(host.name)
    pool.promote("host1")


def credentials_of(pool: SimPool) -> Callable[[], Credentials]:
    return lambda: Credentials(pool.username, pool.password)


def quote(pool: SimPool, client: PoolClient, name: str = "host3") -> str:
    text = client.call_plugin(pool.host(name).uuid, "tpm_get_quote", {"nonce": NONCE})
    return str(json.loads(text)["host_uuid"])


def caught(pool: SimPool, client: PoolClient, name: str = "host3") -> CollectionError:
    with pytest.raises(CollectionError) as raised:
        quote(pool, client, name)
    return raised.value


def test_discovery_at_the_master(pool: SimPool) -> None:
    found = discover(pool.url, TlsTrust(pool.certificates.read_text()), credentials_of(pool))
    assert found.pool.name == "Simulated pool" and len(found.pool.pool_id) == 36
    assert found.pool.addresses == tuple(host.url for host in pool.hosts)
    assert [host.uuid for host in found.hosts] == [host.uuid for host in pool.hosts]
    assert [host.master for host in found.hosts] == [True, False, False]
    assert all(host.live and host.enabled for host in found.hosts)


def test_discovery_at_a_slave(pool: SimPool) -> None:
    trust = TlsTrust(pool.certificates.read_text())
    assert find_master(pool.host("host3").url, trust) == pool.url
    assert find_master(pool.url, trust) == pool.url
    at_slave = discover(pool.host("host3").url, trust, credentials_of(pool))
    assert at_slave == discover(pool.url, trust, credentials_of(pool))


def test_discovery_with_a_pin_collects_the_others(pool: SimPool) -> None:
    pin = fetch_certificate(pool.url).pin
    found = discover(pool.url, TlsTrust(pins=(pin,)), credentials_of(pool))
    assert found.pool.tls.pins == tuple(fetch_certificate(host.url).pin for host in pool.hosts)
    assert found.pool.tls.ca_pem == ""


def test_discovery_at_a_slave_needs_the_masters_pin(pool: SimPool) -> None:
    slave = pool.host("host2").url
    trust = TlsTrust(pins=(fetch_certificate(slave).pin,))
    assert find_master(slave, trust) == pool.url
    with pytest.raises(CollectionError) as caught_error:
        discover(slave, trust, credentials_of(pool))
    assert caught_error.value.finding == "TLS_CERTIFICATE"


def test_a_host_that_is_off(pool: SimPool, client: PoolClient) -> None:
    assert quote(pool, client) == pool.host("host3").uuid
    pool.power_off("host3")
    assert caught(pool, client).finding == "HOST_OFFLINE"
    assert quote(pool, client, "host2") == pool.host("host2").uuid
    assert [host.live for host in client.hosts()] == [True, True, False]
    pool.power_on("host3")
    assert quote(pool, client) == pool.host("host3").uuid


def test_a_session_that_ends(pool: SimPool, client: PoolClient) -> None:
    assert quote(pool, client)
    pool.promote("host2")  # ends all sessions
    pool.promote("host1")
    assert quote(pool, client) and client.master_url == pool.url


def test_another_master(pool: SimPool, client: PoolClient) -> None:
    assert quote(pool, client) and client.master_url == pool.url
    pool.promote("host2")
    assert quote(pool, client) and client.master_url == pool.host("host2").url


def test_a_master_that_dies(pool: SimPool, client: PoolClient) -> None:
    assert quote(pool, client)
    pool.power_off("host1")
    start = time.monotonic()
    assert caught(pool, client).finding == "POOL_UNREACHABLE"
    assert time.monotonic() - start < 30
    pool.promote("host3")
    assert quote(pool, client) == pool.host("host3").uuid
    assert client.master_url == pool.host("host3").url
    assert caught(pool, client, "host1").finding == "HOST_OFFLINE"
    pool.power_on("host1")
    assert quote(pool, client, "host1") == pool.host("host1").uuid


def test_a_new_master_when_only_a_pin_of_the_old_one_is_known(pool: SimPool) -> None:
    pin = fetch_certificate(pool.url).pin
    alone = PoolRecord("", "", (pool.url,), TlsTrust(pins=(pin,)))
    with PoolClient(alone, credentials_of(pool)) as lonely:
        assert quote(pool, lonely)
        pool.promote("host2")
        assert caught(pool, lonely).finding == "TLS_CERTIFICATE"
        pool.promote("host1")
        assert quote(pool, lonely)


def test_sessions_are_few_and_end(pool: SimPool, client: PoolClient) -> None:
    before = _logged(pool, "session.login_with_password ok")
    for _ in range(5):
        quote(pool, client)
    client.hosts()
    assert _logged(pool, "session.login_with_password ok") == before + 1
    ended = _logged(pool, "session.logout ok")
    client.close()
    assert _logged(pool, "session.logout ok") == ended + 1


def _logged(pool: SimPool, text: str) -> int:
    return (pool.directory / "simulator.log").read_text().count(text)


def test_marks_and_messages(pool: SimPool, client: PoolClient) -> None:
    host = pool.host("host2")
    for _ in range(2):
        client.set_marks(host.uuid, add_tags=["xentpm:trusted"], set_config={"xentpm_state": "trusted"})
    assert pool.record("host2")["tags"] == ["xentpm:trusted"]
    client.set_marks(
        host.uuid, ["xentpm:untrusted"], ["xentpm:trusted"], {"xentpm_state": "untrusted"}, ["xentpm_since"]
    )
    record = pool.record("host2")
    assert record["tags"] == ["xentpm:untrusted"]
    assert record["other_config"]["xentpm_state"] == "untrusted" and "boot_time" in record["other_config"]
    marks = client.marks(host.uuid)
    assert marks.tags == {"xentpm:untrusted"} and marks.other_config["xentpm_state"] == "untrusted"
    client.set_marks(host.uuid, remove_tags=["xentpm:untrusted"], remove_config=["xentpm_state"])
    assert pool.record("host2")["tags"] == []
    client.create_message(host.uuid, "XENTPM_UNTRUSTED", 2, "host2 is not trusted:\n<initrd> & more")
    (message,) = pool.messages()
    assert (message["cls"], message["obj_uuid"], message["priority"]) == ("Host", host.uuid, "2")
    assert message["body"] == "host2 is not trusted:\n<initrd> & more"


def test_disabling(pool: SimPool, client: PoolClient) -> None:
    client.disable_host(pool.host("host2").uuid)
    assert pool.record("host2")["enabled"] is False
    assert [host.enabled for host in client.hosts()] == [True, False, True]
    pool.reboot("host2")


def test_a_host_that_nobody_knows(pool: SimPool, client: PoolClient) -> None:
    with pytest.raises(CollectionError) as raised:
        client.call_plugin("00000000-0000-4000-8000-000000000000", "tpm_get_quote", {})
    assert raised.value.finding == "HOST_UNKNOWN"


def test_a_plugin_that_is_gone(pool: SimPool, client: PoolClient) -> None:
    plugin = pool.host("host2").dir / "root/etc/xapi.d/plugins/tpm"
    away = plugin.with_name("away")
    plugin.rename(away)
    try:
        assert caught(pool, client, "host2").finding == "PLUGIN_MISSING"
    finally:
        away.rename(plugin)
