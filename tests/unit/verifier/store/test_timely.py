"""That a host is trusted is told only as long as it is true; anything else is told, however late."""

import json

import pytest

from support.evidence_maker import SoftwareAttester
from support.stores import NOW, make_notification, make_result
from xentpm_lib.verifier.ledger_bodies import (
    StateChange,
    host_enrolled,
    host_removed,
    host_seen,
    state_changed,
)
from xentpm_lib.verifier.records import UnenrolledHost
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.store import Recorded

HOST = "6c1f7c0e-3f2b-4a3e-8f0f-3a2a6a1d4a11"
T, U, AWAY, STALE = State.TRUSTED, State.UNTRUSTED_MEASUREMENT, State.UNREACHABLE, State.STALE
RESULTS = {T: "trusted", U: "untrusted", AWAY: "unreachable"}


def notice(state, at, channel="hook", event="state_changed"):
    body = json.dumps({"version": 1, "event": event, "state": state.value})
    return make_notification(channel, HOST, body, created_at=at)


def becomes(store, old, new, at, channels=("hook",)):
    """The host changes its state; its entry, its result and its notifications are stored together."""
    entry = state_changed(StateChange(HOST, old, new, at))
    told = tuple(notice(new, at, channel) for channel in channels)
    if new in RESULTS:
        result = make_result(HOST, RESULTS[new], appraised_at=at, expires_at=at + 900)
        store.record([Recorded(result, None, told, (entry,))])
    else:
        store.append_all([entry], "watch", told)


def told(store, **options):
    due = store.outbox_due(NOW + 1e9, **options)
    return [json.loads(pending.notification.body)["state"] for pending in due]


def counts(store, channel="hook"):
    return store.outbox_counts().get(channel, {})


def test_a_change_is_told_while_it_is_true(station):
    store = station.open()
    for old, new, at in ((None, T, NOW), (T, U, NOW + 1), (U, T, NOW + 2)):
        station.now = at
        becomes(store, old, new, at)
        (pending,) = store.outbox_due(NOW)
        assert json.loads(pending.notification.body)["state"] == new.value
        store.outbox_done(pending.sequence)
    assert counts(store) == {"delivered": 3}


def test_a_backlog_is_told_in_its_order_without_the_trust_that_is_over(station):
    store = station.open()
    states = [None, U, AWAY, T, U, AWAY, STALE]
    for number, (old, new) in enumerate(zip(states, states[1:], strict=False)):
        becomes(store, old, new, NOW + number)
    station.now = NOW + 10
    said = [one.value for one in (U, AWAY, U, AWAY, STALE)]
    assert told(station.open()) == said
    assert counts(store) == {"pending": 5, "outdated": 1}
    assert told(store, limit=2) == said[:2]


def test_the_end_of_a_backlog_can_be_trust(station):
    store = station.open()
    for old, new, at in ((None, T, NOW), (T, U, NOW + 1), (U, T, NOW + 2)):
        becomes(store, old, new, at)
    station.now = NOW + 3
    assert told(store) == [U.value, T.value]


def test_a_bad_state_is_told_whatever_came_after_it(station):
    """The channel does not want to hear of what came next, or was told of it already."""
    store = station.open()
    becomes(store, None, U, NOW)
    becomes(store, U, AWAY, NOW + 1, channels=())
    station.now = NOW + 2
    assert told(store) == [U.value]


def test_a_host_is_disabled_for_what_it_is_and_not_for_what_it_was(station):
    """Its successor was delivered long ago, so it is an old row that somebody put back."""
    store = station.open()
    becomes(store, None, U, NOW, channels=("disable_host",))
    becomes(store, U, T, NOW + 1, channels=("disable_host",))
    station.now = NOW + 2
    first, second = store.outbox_due(NOW)
    store.outbox_done(second.sequence)
    assert told(store) == []
    assert counts(store, "disable_host") == {"delivered": 1, "outdated": 1}


def test_trust_waits_while_the_lease_is_over(station):
    """The verifier did not run; when it does again, and the host is as before, there is no other change."""
    store = station.open()
    becomes(store, None, T, NOW)
    later = make_notification()
    store.outbox_add([later])
    station.now = NOW + 1000
    (pending,) = store.outbox_due(NOW)
    assert pending.notification == later
    assert counts(store) == {"pending": 2}
    result = make_result(HOST, appraised_at=NOW + 1000, expires_at=NOW + 1900)
    store.record([Recorded(result)])
    assert store.outbox_due(NOW, after=pending.sequence) == []  # it was looked at just now
    station.now = NOW + 1040
    assert told(store, after=pending.sequence) == [T.value]


def test_trust_by_a_result_that_was_altered_is_not_told(station):
    store = station.open()
    becomes(store, None, T, NOW)
    station.by_hand("UPDATE results SET expires_at = expires_at + 1")
    assert told(store) == []
    assert counts(store) == {"pending": 1}


def test_trust_of_before_an_enrolment_is_not_told(station):
    store, host = station.open(), SoftwareAttester(host_id=HOST)
    store.append(*host_enrolled(host.record(enrolled_at=NOW - 9)), who="jo")
    becomes(store, None, T, NOW)
    station.now = NOW + 1
    assert told(store) == [T.value]
    store.append(*host_enrolled(host.record(enrolled_at=NOW + 1)), who="jo")
    assert told(store) == []


def test_hosts_that_are_not_enrolled(station):
    store = station.open()
    seen = host_seen(UnenrolledHost(HOST, "p-1", "host", NOW))
    store.append_all([seen], "watch", [notice(State.NOT_ENROLLED, NOW)])
    assert told(store) == [State.NOT_ENROLLED.value]
    becomes(store, None, T, NOW + 1)
    station.now = NOW + 2
    assert told(store) == [State.NOT_ENROLLED.value, T.value]
    store.append_all([host_removed(HOST)], "jo", [notice(State.NOT_ENROLLED, NOW + 2)])
    assert told(store) == [State.NOT_ENROLLED.value] * 2


def test_renewals(station):
    store = station.open()
    becomes(store, None, T, NOW, channels=())
    store.outbox_add([notice(T, NOW + 5, "marks", "renewed"), notice(T, NOW - 5, "marks", "renewed")])
    station.now = NOW + 6
    assert [one.notification.created_at for one in store.outbox_due(NOW)] == [NOW + 5]


@pytest.mark.slow
def test_many_that_are_held_back_hide_nothing(station):
    store = station.open()
    becomes(store, None, T, NOW, channels=())
    store.outbox_add([notice(T, NOW + number) for number in range(1200)])
    free = make_notification()
    store.outbox_add([free])
    station.now = NOW + 1000
    for _ in range(2):
        assert [one.notification for one in store.outbox_due(NOW, limit=1)] == [free]
    assert counts(store) == {"pending": 1201}
