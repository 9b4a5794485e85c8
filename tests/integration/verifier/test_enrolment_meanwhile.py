"""Enrolment takes its time: what others do in it, and hosts that are in another pool afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.attest_cli import LIMIT_S, AttestCli
from support.pool import SimPool
from support.pool_relay import PoolRelay
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.errors import EnrolmentError, StoreError
from xentpm_lib.verifier.operations import policies
from xentpm_lib.verifier.operations.attesting import attest
from xentpm_lib.verifier.operations.enrolment import Enrolment, EnrolRequest, enrol
from xentpm_lib.verifier.operations.station_use import append
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.secret import Secret, SecretRef
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials
from xentpm_lib.verifier.xapi.pool import XapiOptions

IDENTITY = "tpm_get_attestation_identity"


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with Station.init(tmp_path / "station") as made:
        yield made


@pytest.fixture
def relay(tmp_path: Path, sim_pool: SimPool) -> Iterator[PoolRelay]:
    with PoolRelay(tmp_path, sim_pool, {}) as made:
        yield made


def take(station: Station, pool: SimPool, relay: PoolRelay, *hosts: str, again: bool = False) -> Enrolment:
    login = StoredCredentials(pool.username, Secret(pool.password))
    tls = TlsTrust(pins=(relay.pin,))
    return enrol(station, EnrolRequest(relay.url, tls, login, tuple(pool.ek_ca), hosts=hosts, replace=again))


def outcomes(done: Enrolment) -> list[str]:
    assert [str(one.error) for one in done.hosts if one.error] == []
    return [
        "updated" if one.host.updated else "replaced" if one.host.replaced else "new"
        for one in done.hosts
        if one.host
    ]


def meanwhile(relay: PoolRelay, act: Callable[[], None]) -> list[str]:
    """Act once, when the first host is asked for its identity."""
    seen: list[str] = []

    def before(method: str, params: tuple) -> None:
        if method == "host.call_plugin" and params[3] == IDENTITY and not seen:
            seen.append(method)
            act()

    relay.before = before
    return seen


def test_a_result_of_the_old_tpm_is_from_before(
    station: Station, sim_pool: SimPool, relay: PoolRelay
) -> None:
    """The TPM is exchanged while enrolment waits; the new one's certificate was issued this second."""
    take(station, sim_pool, relay)
    old = station.registry.host("host2")

    def exchange() -> None:
        with Station.open(station.home) as other:
            attest(other, [other.registry.host("host2")])
        sim_pool.replace_tpm("host2")

    seen = meanwhile(relay, exchange)
    assert outcomes(take(station, sim_pool, relay, "host2", again=True)) == ["replaced"] and seen
    new = station.registry.host("host2")
    assert new.ek != old.ek and new.ak != old.ak
    stored = station.store.latest(old.host_id)[old.host_id].result
    assert stored is not None and stored.appraised_at < new.enrolled_at


def test_what_others_change_meanwhile(station: Station, sim_pool: SimPool, relay: PoolRelay) -> None:
    take(station, sim_pool, relay)
    (pool,) = station.registry.pools()
    hosts, kept = station.registry.hosts(), StoredCredentials("somebody", SecretRef(env="ELSEWHERE"))
    station.store.put_credentials(pool.pool_id, kept)

    def other_policy() -> None:
        with Station.open(station.home) as other:
            policies.assign(other, "firmware", "default")

    seen = meanwhile(relay, other_policy)
    with pytest.raises(StoreError) as caught:
        take(station, sim_pool, relay, again=True)
    assert caught.value.code == "XENTPM_STORE_CHANGED" and caught.value.hint and seen

    def other_pool() -> None:
        with Station.open(station.home) as other:
            append(other, ledger_bodies.pool_changed(replace(pool, name="other")))

    seen = meanwhile(relay, other_pool)
    with pytest.raises(EnrolmentError) as refused:
        take(station, sim_pool, relay, again=True)
    assert refused.value.code == "XENTPM_POOL_CHANGED" and refused.value.hint and seen
    assert station.registry.hosts() == hosts
    assert station.store.get_credentials(pool.pool_id) == kept


def test_what_others_write_meanwhile(station: Station, sim_pool: SimPool, relay: PoolRelay) -> None:
    def note() -> None:
        with Station.open(station.home) as other:
            append(other, ledger_bodies.note("store", "somebody was here"))

    seen = meanwhile(relay, note)
    assert outcomes(take(station, sim_pool, relay)) == ["new", "new"] and seen


def test_hosts_that_have_moved_to_another_pool(
    station: Station, sim_pool: SimPool, relay: PoolRelay, tmp_path: Path, new_pool: Callable[..., SimPool]
) -> None:
    """With the same keys by themselves; with others where the host is named by its UUID, and --replace."""
    take(station, sim_pool, relay)
    (pool,) = station.registry.pools()
    words = {pool.pool_id: "11111111-1111-4111-8111-111111111111"}
    with PoolRelay(tmp_path, sim_pool, words) as other:
        assert outcomes(take(station, sim_pool, other, "host1")) == ["updated"]
    moved, left = station.registry.host("host1"), station.registry.host("host2")
    assert (moved.pool_id, left.pool_id) == (words[pool.pool_id], pool.pool_id)
    own = new_pool(1)
    with PoolRelay(tmp_path, own, {own.hosts[0].uuid: left.host_id}) as third:
        assert outcomes(take(station, own, third, left.host_id.upper(), again=True)) == ["replaced"]
    assert station.registry.host(left.host_id).pool_id not in (moved.pool_id, left.pool_id)


def test_ctrl_c_ends_the_calls(sim_pool: SimPool, relay: PoolRelay, tmp_path: Path) -> None:
    """The first one, though the pool answers none of them as long as the test runs."""
    asked, over = threading.Semaphore(0), threading.Event()

    def hang(method: str, _params: tuple) -> None:
        if method == "host.call_plugin":
            asked.release()
            over.wait()

    relay.before = hang
    cli = AttestCli(tmp_path / "station", sim_pool)
    cli.good("init")
    try:
        with cli.start(
            "enroll", relay.url, "--pin", relay.pin, *cli.ek_ca(), start_new_session=True
        ) as process:
            assert all(asked.acquire(timeout=LIMIT_S) for _host in sim_pool.hosts)
            process.send_signal(signal.SIGINT)
            _out, said = process.communicate(timeout=XapiOptions().call_s / 2)
        assert process.returncode == 130 and said.endswith("xentpm-attest: interrupted\n"), said
        assert cli.run("pool", "list").out == ""
    finally:
        over.set()
