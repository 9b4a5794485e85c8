"""Retention: what is old and tells nothing new goes; everything that changed anything stays."""

import io
import json

import pytest

from support.evidence_maker import SoftwareAttester
from support.stores import NOW, make_evidence, make_notification, make_result
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.ledger_bodies import StateChange, note, state_changed
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.store import Pruned, Recorded
from xentpm_lib.verifier.store.database import Database

DAY = 86400.0


def record(store, host, states, evidence=None, step=DAY):
    """One result a day, the last one today."""
    first = NOW - step * (len(states) - 1)
    batch = [
        Recorded(make_result(host, state, appraised_at=first + step * number), evidence)
        for number, state in enumerate(states)
    ]
    store.record(batch)


def left(store, host):
    return [round((NOW - one.result.appraised_at) / DAY) for one in store.history(host)]


def test_old_results_go_changes_and_the_newest_stay(station):
    store = station.open()
    record(store, "a", ["trusted"] * 4 + ["untrusted"] * 3 + ["trusted"] * 3 + ["unreachable"] * 4)
    #      days ago:  13,12,11,10      9,8,7               6,5,4             3,2,1,0
    assert store.prune(NOW, lambda host: 1.5 * DAY).results == 7
    # 13, 9, 6, 3: another state than before; 4: the newest trusted one, with the newest clock; 1, 0: young.
    assert left(store, "a") == [0, 1, 3, 4, 6, 9, 13]
    assert not any(one.altered for one in store.history("a"))
    assert store.latest()["a"].clock is not None
    assert store.prune(NOW, lambda host: 1.5 * DAY) == Pruned()
    assert store.check() == []


def test_what_current_names_stays_however_old(station):
    store = station.open()
    record(store, "a", ["trusted"] * 3 + ["untrusted"] * 3 + ["unreachable"] * 3)
    store.prune(NOW + 1000 * DAY, lambda host: 0)
    ((newest, clock, good),) = station.by_hand("SELECT result_id, clock_id, trusted_id FROM current")
    assert {newest, clock, good} <= {one.result_id for one in store.history("a")}
    assert (newest, clock, good) == (9, 6, 3)
    assert store.latest()["a"].clock is not None and store.last_trusted("a") is not None
    assert store.check() == []


def test_what_a_change_of_state_rests_on_stays(station):
    store = station.open()
    record(store, "a", ["trusted"] * 3)
    lapsed = StateChange("a", State.TRUSTED, State.STALE, NOW)
    store.append(*state_changed(lapsed), who="the watch")  # names the newest result
    back = StateChange("a", State.STALE, State.TRUSTED, NOW)
    store.record([Recorded(make_result("a"), entries=(state_changed(back),))])
    named = [entry.body["result_id"] for entry in store.entries()]
    record(store, "a", ["trusted"] * 5, step=0)
    store.prune(NOW + 1000 * DAY, lambda host: 0)
    kept = {one.result_id for one in store.history("a")}
    assert len(kept) == 4 and kept >= set(named)
    assert store.check() == []


def test_each_host_has_its_own_time(station):
    store = station.open()
    record(store, "a", ["trusted"] * 10)
    record(store, "b", ["trusted"] * 10)
    store.prune(NOW, lambda host: {"a": 2.5, "b": 5.5}[host] * DAY)
    assert left(store, "a") == [0, 1, 2, 9]
    assert left(store, "b") == [0, 1, 2, 3, 4, 5, 9]
    store.prune(NOW + 1000 * DAY, lambda host: 0)
    assert left(store, "a") == [0, 9]


def test_contents_go_with_their_last_result_but_not_pinned_ones(station):
    store, host = station.open(), SoftwareAttester()
    pinned = store.put_blob(b"the log of a reference")
    kept_log = store.put_blob(host.event_log())
    record(store, "a", ["trusted"] * 3, make_evidence(SoftwareAttester())[1])
    record(store, "a", ["trusted"] * 3, make_evidence(host)[1], step=0)
    before = station.by_hand("SELECT COUNT(*) FROM blobs")[0][0]
    pruned = store.prune(NOW, lambda host: 0.5 * DAY)
    # The oldest result stays with its evidence: it was a change.
    assert station.by_hand("SELECT COUNT(*) FROM blobs")[0][0] == before - pruned.blobs
    assert store.get_blob(pinned) == b"the log of a reference"
    assert store.get_blob(kept_log) == host.event_log()
    for one in store.history("a"):
        assert store.evidence(one.result_id) is not None


def test_unused_contents_go(station):
    store = station.open()
    record(store, "a", ["trusted"] * 2)
    record(store, "a", ["trusted"], make_evidence(SoftwareAttester())[1], step=0)
    record(store, "a", ["trusted"], step=0)
    assert station.by_hand("SELECT COUNT(*) FROM blobs")[0][0] == 3
    assert store.prune(NOW + DAY, lambda host: 0.5 * DAY).blobs == 2
    assert station.by_hand("SELECT COUNT(*) FROM blobs")[0][0] == 1


def test_finished_notifications_go_pending_ones_stay(station):
    store = station.open()
    store.outbox_add([make_notification() for _ in range(3)])
    first, second, third = store.outbox_due(NOW)
    store.outbox_done(first.sequence)
    store.outbox_give_up(second.sequence, "no")
    assert store.prune(NOW + 89 * DAY, lambda host: 0).notifications == 0
    assert store.prune(NOW + 91 * DAY, lambda host: 0).notifications == 2
    assert store.outbox_due(NOW) == [third]


def test_each_host_has_its_own_time_for_notifications(station):
    store = station.open()
    store.outbox_add([make_notification(host_id=host) for host in ("a", "b", "")])
    for pending in store.outbox_due(NOW):
        store.outbox_done(pending.sequence)
    keep = {"a": 2 * DAY, "b": 5 * DAY, "": 9 * DAY}
    for days, gone in ((1.5, 0), (2.5, 1), (5.5, 1), (8, 0), (10, 1)):
        assert store.prune(NOW + days * DAY, lambda host: 0, keep.__getitem__).notifications == gone


def test_renewals_that_were_delivered_go_after_a_day(station):
    store = station.open()
    bodies = [json.dumps({"version": 1, "event": event}) for event in ("renewed", "renewed", "state_changed")]
    store.outbox_add([make_notification(body=body) for body in bodies])
    first, second, third = store.outbox_due(NOW)
    store.outbox_done(first.sequence)
    store.outbox_give_up(second.sequence, "no")
    store.outbox_done(third.sequence)
    assert store.prune(NOW + 0.9 * DAY, lambda host: 0).notifications == 0
    assert store.prune(NOW + 1.1 * DAY, lambda host: 0).notifications == 1
    assert store.outbox_counts() == {"hook": {"delivered": 1, "failed": 1}}


@pytest.mark.slow
def test_many_hosts_with_many_results(station):
    """More than one page of each: hosts, results of a host, contents, notifications."""
    store = station.open()
    store.record([Recorded(make_result(f"h{number:04}", appraised_at=NOW - DAY)) for number in range(1100)])
    record(store, "h0007", ["trusted"] * 2500, step=1)
    many = [
        make_result("h0008", "untrusted", findings=(finding("PCR_CHANGED", actual=str(number)),))
        for number in range(1100)
    ]
    store.record([Recorded(one) for one in many])
    store.outbox_add([make_notification() for _ in range(1100)])
    for pending in store.outbox_due(NOW, limit=2000):
        store.outbox_done(pending.sequence)
    pruned = store.prune(NOW + 100 * DAY, lambda host: 10)
    assert pruned == Pruned(2500 - 1 + 1100 - 2, 1100, 1100 - 2)
    assert store.check() == []


def test_no_writer_waits_while_it_is_only_looked(station):
    store, other = station.open(), Database(station.url)
    record(store, "a", ["trusted"] * 50, make_evidence(SoftwareAttester())[1])
    store.outbox_add([make_notification()])
    store.outbox_done(store.outbox_due(NOW)[0].sequence)
    with other.write():  # else it would wait for this one
        assert store.prune(NOW, lambda host: 1000 * DAY) == Pruned()
    other.close()


@pytest.mark.parametrize("count", [5000])
def test_many(station, count):
    store = station.open()
    record(store, "a", ["trusted"] * count, step=1)
    assert store.prune(NOW + DAY, lambda host: 10).results == count - 2


def test_the_audit_export_has_all_of_it(station):
    store = station.open()
    store.append(*note("a", "text"), who="jo")
    batch = [Recorded(make_result("h"), make_evidence()[1], (make_notification(),))]
    store.record(batch, who="jo as root")
    store.outbox_done(store.outbox_due(NOW)[0].sequence)
    file = io.StringIO()
    assert store.audit_export(file) == 3
    entry, result, notification = map(json.loads, file.getvalue().splitlines())
    assert (entry["type"], entry["who"], entry["body"]["text"]) == ("ledger", "jo", "text")
    assert (result["type"], result["result"]["verdict"], result["altered"]) == ("result", "trusted", False)
    assert (notification["type"], notification["state"]) == ("notification", "delivered")
    assert notification["attempts"] == 0
    assert [one["who"] for one in (result, notification)] == ["jo as root", "xentpm-attest"]
    station.by_hand("UPDATE results SET expires_at = 9e9", "UPDATE outbox SET body = 'x'")
    file = io.StringIO()
    store.audit_export(file)
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line.get("altered") for line in lines] == [None, True, True]
