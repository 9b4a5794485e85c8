"""Attacks by a server that says it is a pool that is enrolled already."""

from __future__ import annotations

import dataclasses
import ssl
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.hostile_server import Call, HostileServer
from support.pool import SimPool
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.ledger_bodies import pool_changed
from xentpm_lib.verifier.operations import known_pools
from xentpm_lib.verifier.operations.enrolment import EnrolRequest, enrol
from xentpm_lib.verifier.operations.station_use import append
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.secret import Secret
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials
from xentpm_lib.verifier.xapi.tls import fetch_certificate


def login(pool: SimPool) -> StoredCredentials:
    return StoredCredentials(pool.username, Secret(pool.password))


def kept_password(station: Station) -> str:
    (pool,) = station.registry.pools()
    kept = station.store.get_credentials(pool.pool_id)
    assert kept is not None
    return kept.password().reveal()


@pytest.fixture
def station(tmp_path: Path, sim_pool: SimPool) -> Iterator[Station]:
    with Station.init(tmp_path / "station") as made:
        tls = TlsTrust(sim_pool.certificates.read_text())
        enrol(made, EnrolRequest(sim_pool.url, tls, login(sim_pool), tuple(sim_pool.ek_ca)))
        yield made


@pytest.fixture
def posing(
    tmp_path: Path, station: Station, new_pool: Callable[..., SimPool]
) -> Iterator[tuple[SimPool, HostileServer]]:
    """A pool of the attacker's, with a genuine TPM, that shows the UUID of the enrolled pool."""
    own = new_pool(1)
    (enrolled,) = station.registry.pools()

    def relay(call: Call) -> None:
        fresh: Any = xmlrpc.client.ServerProxy(own.url, context=ssl._create_unverified_context())
        answer = getattr(fresh, call.method)(*call.params)
        if call.method == "pool.get_all_records" and answer["Status"] == "Success":
            for record in answer["Value"].values():
                record["uuid"] = enrolled.pool_id
        call.answer(xmlrpc.client.dumps((answer,), methodresponse=True, allow_none=True).encode())

    with HostileServer(tmp_path, relay) as made:
        yield own, made


def test_pool_that_poses_as_an_enrolled_one(
    station: Station, posing: tuple[SimPool, HostileServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attacker's server is enrolled in good faith, and takes over the record and the password."""
    own, server = posing
    (before,) = station.registry.pools()
    password = kept_password(station)
    tls = TlsTrust(pins=(fetch_certificate(server.url).pin,))
    for replace in (False, True):  # also on somebody's word: no enrolled host answers there
        request = EnrolRequest(server.url, tls, login(own), tuple(own.ek_ca), replace=replace)
        with pytest.raises(EnrolmentError) as caught:
            enrol(station, request)
        assert caught.value.code == "XENTPM_POOL_CHANGED" and "nothing was changed" in caught.value.message
        assert caught.value.hint
        assert station.registry.pools() == (before,) and kept_password(station) == password
        assert len(station.registry.hosts()) == 2
    monkeypatch.setattr(known_pools, "checked", lambda _station, found, *_anything: found)
    done = enrol(station, request)
    assert done.complete and len(done.pool_changes) == 2
    (after,) = station.registry.pools()
    assert after.addresses[0] == server.url and after.tls != before.tls
    assert kept_password(station) == own.password != password


def test_pool_that_poses_with_a_certificate_of_the_same_authority(
    station: Station, posing: tuple[SimPool, HostileServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever certified the enrolled pool's servers has certified the attacker's, under its own name."""
    own, server = posing
    (pool,) = station.registry.pools()
    tls = TlsTrust(pool.tls.ca_pem + server.pem)
    append(station, pool_changed(dataclasses.replace(pool, tls=tls)))
    password = kept_password(station)
    request = EnrolRequest(server.url, tls, login(own), tuple(own.ek_ca))
    with pytest.raises(EnrolmentError) as caught:
        enrol(station, request)
    assert caught.value.code == "XENTPM_POOL_CHANGED" and kept_password(station) == password
    monkeypatch.setattr(known_pools, "_answered", lambda *_anything: True)
    assert enrol(station, request).complete and kept_password(station) == own.password
