"""What a host went through since it was last trusted: who was told of it hears the end, restarts or not."""

import json
from dataclasses import replace

import pytest

from support.dispatching import wait
from support.evidence_maker import SoftwareAttester
from support.stores import NOW, make_result
from xentpm_lib.verifier import ledger_bodies as bodies
from xentpm_lib.verifier.fleet.fleet import Fleet
from xentpm_lib.verifier.fleet.recording import Outline, Recording
from xentpm_lib.verifier.fleet.states import States
from xentpm_lib.verifier.ledger_bodies import StateChange, state_changed
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.result import ReferenceUsed, State
from xentpm_lib.verifier.station import Station

ATTESTERS = [SoftwareAttester(name=name) for name in ("one", "two")]
HOST, OTHER = [attester.record(enrolled_at=NOW - 10) for attester in ATTESTERS]
REFERENCE = ATTESTERS[0].reference(hosts=frozenset({HOST.host_id, OTHER.host_id}))
POLICY = shipped("firmware")
ENTRIES = [
    bodies.policy_assigned("default", POLICY.text),
    bodies.host_enrolled(HOST),
    bodies.host_enrolled(OTHER),
    bodies.reference_added(REFERENCE),
]
OUTLINE = Outline("one", HOST.pool_id, "pool", False)
CONFIG = """
version = 1
[[notify]]
name = "mail"
type = "apprise"
url_env = "MAIL"
states = ["untrusted-measurement"]
"""
AWAY, CHANGED = State.UNREACHABLE, State.UNTRUSTED_MEASUREMENT


def _result(state, at, host=HOST):
    """A result by what counts for the host."""
    return make_result(
        host.host_id,
        state,
        appraised_at=NOW + at,
        expires_at=NOW + at + 900,
        host_serial=2 if host is HOST else 3,
        policy=POLICY.used,
        references=(ReferenceUsed(REFERENCE.reference_id, REFERENCE.label, state == "trusted"),),
        ek_trust=host.ek_trust.value,
    )


def _put(fleet, state, at, host=HOST):
    fleet.recorder.put(Recording(_result(state, at, host), OUTLINE, None, host))


@pytest.fixture
def station(tmp_path):
    with Station.init(tmp_path / "station", CONFIG, clock=lambda: NOW) as made:
        made.store.append_all(ENTRIES, who="jo")
        yield made


def _attested(station, *states, start):
    """A process that stores results, one after the other."""
    station.refresh()
    fleet = Fleet(station, lambda *_: None, clock=lambda: NOW)
    fleet.recorder.start()
    for at, state in enumerate(states, start):
        _put(fleet, state, at)
    assert fleet.recorder.close(90)
    return [one["state"] for one in _told(station)]


def _told(station):
    """All that was ever put into the outbox, in its order."""
    return [json.loads(one.notification.body) for one in reversed(station.store.outbox_newest(100))]


def test_recovery_is_told_after_states_that_nobody_wanted_to_hear(station):
    told = _attested(station, "trusted", "untrusted", "unreachable", "trusted", "unreachable", start=0)
    assert told == [CHANGED.value, AWAY.value, "trusted"]


def test_a_restart_changes_nothing_of_that(station):
    _attested(station, "trusted", "untrusted", start=0)
    _attested(station, "unreachable", start=10)
    assert _attested(station, "trusted", start=20) == [CHANGED.value, AWAY.value, "trusted"]
    assert _attested(station, "unreachable", "trusted", start=30)[3:] == []


def test_what_another_process_told_counts(station):
    states = States()
    states.enrol(HOST)
    for number, state in enumerate((State.TRUSTED, CHANGED, AWAY)):
        states.told(HOST.host_id, state, NOW + number)
    (change,) = states.transitions([_result("trusted", 9)])
    assert change.passed == {CHANGED, AWAY}
    states.enrol(replace(HOST, enrolled_at=NOW + 5, serial=99))
    (change,) = states.transitions([_result("trusted", 9)])
    assert change.passed == {CHANGED, AWAY}, "enrolled anew: what was told is still told"


def test_the_registry_knows_it_until_the_host_is_forgotten(station):
    for number, new in enumerate((State.TRUSTED, CHANGED, AWAY)):
        change = StateChange(HOST.host_id, None, new, NOW + number)
        station.store.append(*state_changed(change), who="jo")
    station.refresh()
    assert station.registry.states_since_trust(HOST.host_id) == {CHANGED, AWAY}
    station.store.append(*bodies.host_removed(HOST.host_id), who="jo")
    station.refresh()
    assert station.registry.states_since_trust(HOST.host_id) == frozenset()


class TestRenewals:
    """Marks are renewed although another command writes at the same moment."""

    @pytest.fixture
    def station(self, tmp_path):
        marks = 'version = 1\n[[notify]]\nname = "marks"\ntype = "xapi_marks"\n'
        with Station.init(tmp_path / "marked", marks, clock=lambda: NOW) as made:
            made.store.append_all(ENTRIES, who="jo")
            yield made

    def test_a_renewal_is_made_again_with_its_batch(self, station, monkeypatch):
        station.refresh()
        fleet = Fleet(station, lambda *_: None, clock=lambda: NOW)
        fleet.recorder.start()
        _put(fleet, "trusted", 0)
        wait(lambda: len(_told(station)) == 1)
        record, busy = station.store.record, [True]

        def meanwhile(batch, **more):
            if busy and any(one.entries for one in batch):
                busy.clear()
                station.store.append(*bodies.note("store", "of somebody else"), who="jo")
            return record(batch, **more)

        monkeypatch.setattr(station.store, "record", meanwhile)
        _put(fleet, "trusted", 600)
        _put(fleet, "untrusted", 600, OTHER)
        assert fleet.recorder.close(90)
        assert not busy
        told = _told(station)
        assert [(one["host"]["uuid"], one["event"]) for one in told[1:]] == [
            (HOST.host_id, "renewed"),
            (OTHER.host_id, "state_changed"),
        ]
