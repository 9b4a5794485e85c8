"""Attacks by hosts and masters that take their time: results that are stored when they count no more.

Two fleets use one store, as `watch` and `attest` do; what each of them stores was appraised, with a quote
behind it. Who can hold up an answer, be it the host's or the pool's, can hold up a result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester
from xentpm_lib.verifier import ledger_bodies as bodies
from xentpm_lib.verifier.fleet import states
from xentpm_lib.verifier.fleet.fleet import Fleet
from xentpm_lib.verifier.fleet.recording import Outline, Recording
from xentpm_lib.verifier.fleet.roster import Roster
from xentpm_lib.verifier.operations import hosts
from xentpm_lib.verifier.policy.loader import load_policy
from xentpm_lib.verifier.records import HostRecord, PoolRecord, TlsTrust
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store import store as stores

_LIMIT_S = 90
POLICY = """\
version = 1
name = "test"
boot = "uefi-grub"
[pcrs.sha256]
shared = [0, 2, 3, 4, 7]
per_host = [1, 8, 9]
extended = [0, 4, 8, 9]
[keys]
ek = ["pinned"]
"""


class Fleets:
    """A station with the desk's host, and two fleets on it: one that is quick, one that is held up."""

    def __init__(self, home: Path, desk: Any) -> None:
        self.now = time.time()
        self.desk = desk
        desk.policy = load_policy(POLICY)
        pool = PoolRecord(desk.record.pool_id, "pool", ("https://x",), TlsTrust(pins=("ab" * 32,)))
        Station.init(home, "version = 1\n").close()
        self.stations = [Station.open(home, self.clock) for _ in range(3)]
        self.append(
            bodies.pool_added(pool),
            bodies.policy_assigned("default", desk.policy.text),
            bodies.host_enrolled(replace(desk.record, enrolled_at=self.now - 60)),
            bodies.reference_added(desk.references[0]),
        )
        for station in self.stations:
            station.refresh()
        self.desk.record = self.registered
        self.said: list[AttestationResult] = []
        self.quick, self.slow = (Fleet(one, self._stored, clock=self.clock) for one in self.stations[1:])
        for fleet in (self.quick, self.slow):
            fleet.start()

    def clock(self) -> float:
        """The station's clock, which the test sets."""
        return self.now

    @property
    def registered(self) -> HostRecord:
        """The host's record as it is now."""
        self.stations[0].refresh()
        return self.stations[0].registry.host(self.desk.record.host_id)

    @property
    def state(self) -> State:
        """What people and orchestrators are told."""
        host = self.registered
        stored = self.stations[0].store.latest().get(host.host_id)
        result = None if stored is None else stored.result
        return states.state_at(host, result, self.now, hosts.ended(self.stations[0], host, stored))

    @property
    def told(self) -> State | None:
        """What the ledger says last of the host's state."""
        change = self.stations[0].registry.state(self.registered.host_id)
        return None if change is None else change.new

    def append(self, *items: bodies.LedgerItem) -> None:
        """What an administrator does meanwhile."""
        self.stations[0].store.append_all(items, who="jo")

    def appraised(self) -> Recording:
        """The host, attested: what its fleet is about to store."""
        self.desk.now = self.now
        result = self.desk.ask().result
        outline = Outline(result.host_name, result.pool_id, "pool", False)
        return Recording(result, outline, host=self.desk.record)

    def put(self, fleet: Fleet, recording: Recording) -> None:
        """Hand a result to a fleet and wait until it is stored or dropped."""
        before, dropped = len(self.said), dict(fleet.recorder._dropped)
        fleet.recorder.put(recording)
        end = time.monotonic() + _LIMIT_S
        while len(self.said) == before and fleet.recorder._dropped == dropped:
            assert time.monotonic() < end and fleet.recorder.failure is None
            time.sleep(0.02)

    def close(self) -> None:
        for fleet in (self.quick, self.slow):
            fleet.close()
        for station in self.stations:
            station.close()

    def _stored(self, result: AttestationResult, _change: object) -> None:
        self.said.append(result)


@pytest.fixture
def fleets(tmp_path: Path, desk: Any) -> Iterator[Fleets]:
    made = Fleets(tmp_path / "station", desk)
    yield made
    made.close()


@pytest.fixture
def anything_counts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Removes the look at what a result rests on."""
    return lambda: monkeypatch.setattr(Roster, "outdated", lambda roster, recording: "")


def test_result_of_the_old_tpm_for_a_new_enrolment(
    fleets: Fleets, anything_counts: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old TPM answers while the host is enrolled anew with another one, which never signs a quote."""
    late = fleets.appraised()
    other = SoftwareAttester(host_id=fleets.desk.record.host_id)
    fleets.append(bodies.host_enrolled(other.record(enrolled_at=fleets.now - 30)))
    fleets.put(fleets.slow, late)
    assert fleets.said == [] and fleets.state is State.STALE
    anything_counts()
    fleets.put(fleets.slow, late)
    assert fleets.state is State.STALE, "it is not of this enrolment"
    monkeypatch.setattr(states, "is_of", lambda host, result: host.enrolled_at <= result.appraised_at)
    assert fleets.state is State.TRUSTED
    assert fleets.registered.ak == other.ak


def test_trust_by_a_baseline_that_was_retired(fleets: Fleets, anything_counts: Callable[[], None]) -> None:
    """The host boots what is known to be bad since today, and its last good result is on its way."""
    late = fleets.appraised()
    fleets.append(bodies.reference_retired(fleets.desk.references[0].reference_id, fleets.now))
    fleets.put(fleets.slow, late)
    assert fleets.said == [] and fleets.state is State.STALE
    anything_counts()
    fleets.put(fleets.slow, late)
    assert fleets.state is State.TRUSTED


def test_trust_by_a_policy_that_was_replaced(fleets: Fleets, anything_counts: Callable[[], None]) -> None:
    """What the administrators demand from today on is not what the result was judged by."""
    late = fleets.appraised()
    fleets.append(bodies.policy_assigned("default", POLICY.replace("per_host = [1,", "per_host = [1, 14,")))
    fleets.put(fleets.slow, late)
    assert fleets.said == [] and fleets.state is State.STALE
    anything_counts()
    fleets.put(fleets.slow, late)
    assert fleets.state is State.TRUSTED


def test_good_result_that_is_held_up_until_the_bad_one_is_stored(
    fleets: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The master takes its time with the identity of a host that another process attests meanwhile."""
    late = fleets.appraised()
    fleets.now += 100
    fleets.desk.attester.send_log = False
    fleets.desk.attester.extend(9, b"what was loaded since")
    fleets.put(fleets.quick, fleets.appraised())
    assert fleets.state is State.UNTRUSTED_MEASUREMENT
    fleets.put(fleets.slow, late)
    assert len(fleets.said) == 1 and fleets.state is State.UNTRUSTED_MEASUREMENT
    monkeypatch.setattr(stores, "check_lateness", lambda *given: None)
    fleets.put(fleets.slow, late)
    assert fleets.state is State.TRUSTED


def test_result_of_a_clock_that_was_ahead(fleets: Fleets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attested while the clock was an hour ahead, changed since, and trusted again when the hour is over."""
    right = fleets.now
    fleets.now = right + 3600
    fleets.put(fleets.quick, fleets.appraised())
    fleets.now = right + 60
    assert fleets.state is State.STALE
    end = time.monotonic() + _LIMIT_S
    while fleets.told is not State.STALE:
        assert time.monotonic() < end
        time.sleep(0.1)
    fleets.now = right + 3700
    assert fleets.state is State.STALE
    monkeypatch.setattr(hosts, "has_ended", lambda change, number: False)
    assert fleets.state is State.TRUSTED
