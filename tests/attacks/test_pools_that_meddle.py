"""Attacks by the master of a pool on what is known of the hosts of another: it says what they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.pool import SimPool
from support.pool_relay import PoolRelay
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli.command_line import run
from xentpm_lib.verifier.enrolment import discover
from xentpm_lib.verifier.enrolment import enrol as enrolment
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.operations import enrolment as operation
from xentpm_lib.verifier.operations import enrolment_entries, station_use
from xentpm_lib.verifier.operations.enrolment import Enrolment, EnrolRequest, enrol
from xentpm_lib.verifier.operations.hosts import forget
from xentpm_lib.verifier.operations.station_use import find_pool
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.secret import Secret
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials

POOL = "11111111-1111-4111-8111-111111111111"
HOST = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with Station.init(tmp_path / "station") as made:
        yield made


def take(
    station: Station, pool: SimPool, relay: PoolRelay | None = None, *hosts: str, replace: bool = False
) -> Enrolment:
    """Enrol a pool, or what a relay says of it."""
    login = StoredCredentials(pool.username, Secret(pool.password))
    tls = TlsTrust(pool.certificates.read_text()) if relay is None else TlsTrust(pins=(relay.pin,))
    url = pool.url if relay is None else relay.url
    return enrol(station, EnrolRequest(url, tls, login, tuple(pool.ek_ca), hosts=hosts, replace=replace))


def codes(done: Enrolment) -> list[str]:
    return [one.error.code if one.error else "" for one in done.hosts]


def test_pool_that_takes_over_a_host_of_another(
    tmp_path: Path,
    station: Station,
    sim_pool: SimPool,
    new_pool: Callable[..., SimPool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It shows the other pool's UUID of a host, and a genuine TPM; its own host is to be enrolled anew."""
    take(station, sim_pool)
    victim, own = station.registry.host("host1"), new_pool(1)
    words = {own.hosts[0].uuid: victim.host_id, "host1": "m1"}
    with PoolRelay(tmp_path, own, words) as relay:
        for hosts, replace in (((), False), ((), True), (("m1",), True), ((victim.host_id,), False)):
            assert codes(take(station, own, relay, *hosts, replace=replace)) == ["XENTPM_HOST_ELSEWHERE"]
        with pytest.raises(UsageError, match="has no host"):
            take(station, own, relay, victim.host_id[:8], replace=True)
        assert station.registry.find_host(victim.host_id) == victim and len(station.registry.pools()) == 1
        monkeypatch.setattr(enrolment, "_check_replaceable", lambda *_anything: None)
        assert codes(take(station, own, relay, "m1", replace=True)) == [""]
    taken = station.registry.host(victim.host_id)
    assert taken.pool_id != victim.pool_id and taken.ak != victim.ak


def test_pool_that_gives_its_host_the_name_of_another_s(
    tmp_path: Path,
    station: Station,
    sim_pool: SimPool,
    new_pool: Callable[..., SimPool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The administrator takes the host for the one that has long been watched under that name."""
    take(station, sim_pool)
    victim, own = station.registry.host("host1"), new_pool(1)
    with PoolRelay(tmp_path, own, {own.hosts[0].uuid: HOST}) as relay:
        for name in ("host1", victim.name):
            with pytest.raises(UsageError) as caught:
                take(station, own, relay, name, replace=True)
            assert victim.host_id in caught.value.message and f"--host {HOST}" in caught.value.hint
        assert {host.pool_id for host in station.registry.hosts()} == {victim.pool_id}
        monkeypatch.setattr(operation, "hosts_to_enrol", lambda _registry, found, _words: list(found.hosts))
        assert codes(take(station, own, relay, "host1", replace=True)) == [""]
    assert station.registry.host(HOST).name == "host1"


def test_one_tpm_in_two_enrolments_at_once(
    tmp_path: Path, station: Station, sim_pool: SimPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one administrator enrols a pool, another enrols one that shows the same machines as its own."""
    kept = station.home

    def meanwhile(method: str, params: tuple) -> None:
        if method == "host.call_plugin" and params[3] == "tpm_challenge" and not seen:
            seen.append(method)
            with Station.open(kept) as other:
                take(other, sim_pool)

    seen: list[str] = []
    session = sim_pool.session()
    ((_ref, record),) = session.xenapi.pool.get_all_records().items()
    session.xenapi.session.logout()
    pool_id, (one, two) = record["uuid"], sim_pool.hosts
    words = {pool_id: POOL, one.uuid: HOST, two.uuid: HOST.replace("2", "3")}
    with PoolRelay(tmp_path, sim_pool, words) as relay:
        relay.before = meanwhile
        assert codes(take(station, sim_pool, relay)) == ["XENTPM_KEY_IN_USE"] * 2 and seen
        assert {host.pool_id for host in station.registry.hosts()} == {pool_id}
        assert [pool.pool_id for pool in station.registry.pools()] == [pool_id]
        assert station.store.get_credentials(POOL) is None
        for host in station.registry.hosts():
            forget(station, host)
        seen.clear()
        monkeypatch.setattr(enrolment_entries, "still_good", lambda one, _rules: one)
        assert codes(take(station, sim_pool, relay)) == ["", ""] and seen
    shown = [host.ak.name() for host in station.registry.hosts()]
    assert len(shown) == 4 and len(set(shown)) == 2


def test_pool_that_calls_itself_like_another_s_address(
    tmp_path: Path, station: Station, sim_pool: SimPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password that is given for an address goes to a pool that is enrolled and has that for a name."""
    file = tmp_path / "password"
    file.write_text("of-the-other-pool\n")
    file.chmod(0o600)
    for meant in ("https://127.0.0.9:9", "127.0.0.9:9", "127.0.0.9", "pool.example", POOL):
        with PoolRelay(tmp_path, sim_pool, {"Simulated pool": meant}) as relay:
            take(station, sim_pool, relay)
            (named,) = station.registry.pools()
            assert named.name == meant and find_pool(station, relay.url) == named
            words = ["--home", str(station.home), "pool", "password", meant, "--password-file", str(file)]
            relay.calls.clear()
            assert run(words) == 1 and relay.calls == []
            with monkeypatch.context() as patch:
                patch.setattr(station_use, "_url", lambda _word: None)
                patch.setattr(station_use, "is_uuid", lambda _word: False)
                assert run(words) == 1
            sent = [params for method, params in relay.calls if method == "session.login_with_password"]
            assert {params[1] for params in sent} == {"of-the-other-pool"}
        for host in station.registry.hosts():
            forget(station, host)


def test_pool_that_claims_another_s_address(
    tmp_path: Path, station: Station, sim_pool: SimPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of its hosts is said to have the address of another pool's master."""
    with PoolRelay(tmp_path, sim_pool, {"127.0.0.2": "127.0.0.9"}) as relay:
        take(station, sim_pool, relay)
        (pool,) = station.registry.pools()
        claimed = pool.addresses[1]
        assert claimed == f"https://127.0.0.9:{relay.port}" and find_pool(station, relay.url) == pool
        assert find_pool(station, claimed) is None
        monkeypatch.setattr(station_use, "_is_at", lambda pool, url: url in pool.addresses)
        assert find_pool(station, claimed) == pool


def test_host_whose_uuid_is_another_s_name(
    tmp_path: Path,
    station: Station,
    sim_pool: SimPool,
    new_pool: Callable[..., SimPool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """UUIDs are looked for before names: who shows such a one is meant wherever the other is named."""
    take(station, sim_pool)
    own = new_pool(1)
    with PoolRelay(tmp_path, own, {own.hosts[0].uuid: "host2"}) as relay:
        with pytest.raises(CollectionError, match="UUIDs") as caught:
            take(station, own, relay)
        assert caught.value.finding == "XAPI_ERROR"
        victim = station.registry.host("host2")
        monkeypatch.setattr(discover, "is_uuid", lambda _text: True)
        assert codes(take(station, own, relay)) == [""]
    assert station.registry.host("host2").pool_id != victim.pool_id
