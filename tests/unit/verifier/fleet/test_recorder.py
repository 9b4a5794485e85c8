"""The recorder on a real store: one transaction for all that belongs together, and stores that refuse."""

import io
import json
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester
from support.stores import NOW, make_evidence, make_result
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.fleet.recorder import BATCH, Recorder
from xentpm_lib.verifier.fleet.recording import Outline, Recording
from xentpm_lib.verifier.fleet.roster import Roster
from xentpm_lib.verifier.fleet.states import States, has_ended
from xentpm_lib.verifier.notify.change import Announcer
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.records import EkTrust
from xentpm_lib.verifier.result import ReferenceUsed, State
from xentpm_lib.verifier.station import Station

UNTRUSTED = "untrusted-measurement"
OUTLINE = Outline("host-1", "p-1", "pool", False)
ATTESTERS = [SoftwareAttester(name=f"host-{number}") for number in range(3)]
HOSTS = [attester.record(enrolled_at=NOW - 10) for attester in ATTESTERS]
REFERENCE = ATTESTERS[0].reference(hosts=frozenset(host.host_id for host in HOSTS))
POLICY = shipped("firmware")


class Bench:
    """A station with hosts, a recorder on it, and what it said."""

    def __init__(self, home, station=None):
        self.now = NOW
        self.home = home
        self.station = station or Station.init(home, "version = 1\n", clock=lambda: self.now)
        if station is None:
            items = [ledger_bodies.policy_assigned("default", POLICY.text)]
            items += [ledger_bodies.host_enrolled(host) for host in HOSTS]
            items += [ledger_bodies.reference_added(REFERENCE)]
            self.station.store.append_all(items, who="test")
        self.station.refresh()
        self.states = States()
        self.roster = Roster(self.station.registry, self.states)
        self.said, self.again = [], []
        self.recorder = Recorder(
            self.station.store,
            self.states,
            Announcer([ChannelConfig("hook", ChannelKind.WEBHOOK, url="https://x")]),
            self.roster,
            lambda result, change: self.said.append((result, change)),
            self.again.append,
            clock=lambda: self.now,
        )

    @contextmanager
    def recording(self):
        """It records until the end of the block."""
        self.recorder.start()
        yield self
        self.recorder.close(5)
        self.station.close()

    def result(self, number, state="trusted", **changes):
        """A result by what counts when the test begins."""
        changes.setdefault("appraised_at", self.now)
        changes.setdefault("expires_at", changes["appraised_at"] + 900)
        basis = {
            "host_serial": 2 + number,
            "policy": POLICY.used,
            "references": (ReferenceUsed(REFERENCE.reference_id, REFERENCE.label, state == "trusted"),),
            "ek_trust": HOSTS[number].ek_trust.value,
        }
        return make_result(HOSTS[number].host_id, state, **{**basis, **changes})

    def put(self, number, state="trusted", evidence=None, **changes):
        result = self.result(number, state, **changes)
        self.recorder.put(Recording(result, OUTLINE, evidence, HOSTS[number]))
        return result

    def until(self, true, limit_s=90):
        end = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < end and self.recorder.failure is None
            time.sleep(0.01)

    def told(self):
        """All that was put into the outbox, also what is not true any more."""
        file = io.StringIO()
        self.station.store.audit_export(file)
        lines = [json.loads(line) for line in file.getvalue().splitlines()]
        bodies = [json.loads(line["body"]) for line in lines if line["type"] == "notification"]
        return [(body["host"]["uuid"], body["previous_state"], body["state"]) for body in bodies]

    def changes(self):
        return [entry for entry in self.station.store.entries() if entry.kind == "state_changed"]

    @contextmanager
    def by_hand(self, *statements):
        """The database's own refusals, until the end of the block."""
        before, after = statements
        connection = sqlite3.connect(self.home / "store.sqlite", isolation_level=None, timeout=30)
        connection.execute(before)
        try:
            yield
        finally:
            connection.execute(after)
            connection.close()


@pytest.fixture
def bench(tmp_path):
    with Bench(tmp_path / "station").recording() as made:
        yield made


@pytest.fixture
def other(bench):
    """Another process on the same station."""
    with Bench(bench.home, Station.open(bench.home)).recording() as made:
        yield made


def test_result_change_and_notification_are_stored_together(bench):
    host, evidence = make_evidence()
    result = bench.put(0, evidence=evidence)
    bench.until(lambda: bench.said)
    stored = bench.station.store.latest()[HOSTS[0].host_id]
    assert stored.result == result
    assert bench.station.store.evidence(stored.result_id) == evidence
    (entry,) = bench.changes()
    assert (entry.subject, entry.body["old"], entry.body["new"]) == (HOSTS[0].host_id, None, "trusted")
    assert entry.body["result_id"] == stored.result_id
    assert bench.told() == [(HOSTS[0].host_id, None, "trusted")]
    ((_, change),) = bench.said
    assert change.new is State.TRUSTED


def test_only_changes_are_told(bench):
    for state in ("trusted", "trusted", "untrusted", "untrusted", "trusted"):
        bench.now += 1
        bench.put(0, state)
    bench.until(lambda: len(bench.said) == 5)
    assert [told[1:] for told in bench.told()] == [
        (None, "trusted"),
        ("trusted", "untrusted-measurement"),
        ("untrusted-measurement", "trusted"),
    ]
    assert bench.changes()[1].body["findings"] == ["PCR_CHANGED"]
    assert [change is None for _, change in bench.said] == [False, True, False, True, False]


def test_many_results_are_few_transactions(tmp_path, monkeypatch):
    bench, transactions = Bench(tmp_path / "station"), []
    for number in range(1000):
        bench.put(number % 3, appraised_at=NOW + number)
    store = bench.station.store
    record = store.record
    monkeypatch.setattr(
        store, "record", lambda batch, **more: transactions.append(batch) or record(batch, **more)
    )
    with bench.recording():
        bench.until(lambda: len(bench.said) == 1000)
        assert len(store.history(HOSTS[0].host_id, 1000)) == 334
    assert [len(batch) for batch in transactions] == [BATCH] * (1000 // BATCH)


def test_the_end_of_a_lease_is_told_once_with_its_recovery(bench):
    bench.put(0)
    bench.until(lambda: bench.said)
    bench.now += 901
    bench.until(lambda: len(bench.told()) == 2)
    time.sleep(1.5)
    assert bench.told()[1:] == [(HOSTS[0].host_id, "trusted", "stale")]
    bench.put(0)
    bench.until(lambda: len(bench.told()) == 3)
    assert bench.told()[2] == (HOSTS[0].host_id, "stale", "trusted")
    assert [entry.body["new"] for entry in bench.changes()] == ["trusted", "stale", "trusted"]


GONE = ("ALTER TABLE results RENAME TO away", "ALTER TABLE away RENAME TO results")


def test_a_store_that_cannot_be_used_gets_all_of_it_later(bench, caplog):
    with bench.by_hand(*GONE):
        bench.put(0)
        bench.put(1)
        bench.until(lambda: caplog.text.count("cannot be stored") >= 4)
        assert not bench.said
    bench.until(lambda: len(bench.said) == 2)
    assert len(bench.told()) == 2


def test_one_result_that_cannot_be_stored_holds_up_no_other_and_is_not_trusted(bench):
    bad = HOSTS[1].host_id
    trigger = (
        f"CREATE TRIGGER poison BEFORE INSERT ON results WHEN NEW.host_id = '{bad}'"
        " AND NEW.evidence_digest = 'poison' BEGIN SELECT RAISE(ABORT, 'poison'); END"
    )
    bench.put(1)
    bench.until(lambda: len(bench.said) == 1)
    with bench.by_hand(trigger, "DROP TRIGGER poison"):
        bench.put(0)
        bench.put(1, evidence_digest="poison")
        bench.put(2)
        bench.until(lambda: len(bench.said) == 4)
    latest = bench.station.store.latest()
    assert latest[HOSTS[0].host_id].result.state is State.TRUSTED
    assert latest[HOSTS[2].host_id].result.state is State.TRUSTED
    assert [one.code for one in latest[bad].result.findings] == ["INTERNAL_ERROR"]
    assert latest[bad].result.state is State.UNTRUSTED_EVIDENCE


def test_where_not_even_that_can_be_stored_the_others_are(bench, caplog):
    trigger = (
        f"CREATE TRIGGER poison BEFORE INSERT ON results WHEN NEW.host_id = '{HOSTS[1].host_id}'"
        " BEGIN SELECT RAISE(ABORT, 'poison'); END"
    )
    with bench.by_hand(trigger, "DROP TRIGGER poison"):
        bench.put(1)
        bench.put(0)
        bench.until(lambda: len(bench.said) == 1)
        bench.until(lambda: "has no result" in caplog.text)
        assert len(bench.recorder.lost) == 1


def test_an_end_of_the_ledger_that_cannot_be_noted_stores_nothing_twice(bench, caplog):
    """The disk that has the keys is full: a watch goes on, and says so."""
    bench.put(0)
    bench.until(lambda: len(bench.said) == 1)
    (bench.home / "keys" / "ledger.new").mkdir()
    bench.now += 1
    bench.put(0, "untrusted")
    bench.until(lambda: len(bench.said) == 2)
    bench.now += 1000
    bench.until(lambda: len(bench.changes()) == 3)
    bench.put(0, "untrusted")
    bench.until(lambda: len(bench.said) == 3)
    news = [entry.body["new"] for entry in bench.changes()]
    assert news == ["trusted", "untrusted-measurement", "stale", "untrusted-measurement"]
    assert "not protected yet" in caplog.text


def test_an_altered_ledger_ends_it(bench):
    with bench.by_hand("DROP TRIGGER ledger_no_update", "SELECT 1"):
        pass
    with bench.by_hand("UPDATE ledger SET who = 'eve' WHERE seq = 5", "SELECT 1"):
        bench.put(0)
        end = time.monotonic() + 90
        while bench.recorder.failure is None:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert isinstance(bench.recorder.failure, StoreError)
    assert bench.recorder.failure.code == "XENTPM_STORE_ALTERED"
    for number in range(3000):  # who hands in more does not wait for ever
        bench.put(0, appraised_at=NOW + number)
    assert not bench.said


def test_closing_stores_what_was_handed_in(tmp_path):
    bench = Bench(tmp_path / "station")
    bench.recorder.start()
    for number in range(300):
        bench.put(number % 3, appraised_at=NOW + number)
    assert bench.recorder.close(90)
    assert len(bench.said) == 300
    bench.station.close()


def test_closing_does_not_wait_for_a_store_that_is_gone(tmp_path):
    bench = Bench(tmp_path / "station")
    bench.recorder.start()
    with bench.by_hand(*GONE):
        bench.put(0)
        time.sleep(0.5)
        assert bench.recorder.close(90), "it would try for ever"
    assert not bench.said
    bench.station.close()


def test_a_text_that_cannot_be_told_leaves_the_result(bench, caplog):
    result = bench.result(0)
    bench.recorder.put(Recording(result, replace(OUTLINE, host_name=None), None, HOSTS[0]))
    bench.until(lambda: bench.said)
    assert "nobody can be told" in caplog.text
    assert bench.station.store.latest()[HOSTS[0].host_id].result == result


def test_two_processes_tell_a_change_once_and_know_of_each_other(bench, other):
    for one in (bench, other):
        one.put(0)
        one.until(lambda one=one: one.said)
    assert bench.told() == [(HOSTS[0].host_id, None, "trusted")]
    other.put(0, "untrusted", appraised_at=NOW + 1)
    other.until(lambda: len(other.said) == 2)
    bench.put(0, appraised_at=NOW + 2)
    bench.until(lambda: len(bench.said) == 2)
    changes = [(entry.body["old"], entry.body["new"]) for entry in bench.changes()]
    assert changes == [(None, "trusted"), ("trusted", UNTRUSTED), (UNTRUSTED, "trusted")]


def test_what_another_process_found_for_good_stays(bench, other):
    bench.put(0)
    bench.until(lambda: bench.said)
    lasting = (finding("UUID_CHANGED"),)
    other.put(0, "untrusted", appraised_at=NOW + 1, findings=lasting)
    other.until(lambda: other.said)
    bench.put(0, appraised_at=NOW + 2)
    bench.until(lambda: len(bench.said) == 2)
    result, change = bench.said[1]
    assert "UUID_CHANGED" in [one.code for one in result.findings] and change is None


def test_a_lease_that_another_process_renewed_has_not_ended(bench, other):
    bench.put(0)
    bench.until(lambda: bench.said)
    other.now = NOW + 600
    other.put(0)
    other.until(lambda: other.said)
    bench.now = NOW + 1000  # after this process's lease, within the other's
    bench.recorder.tell_restored = True
    time.sleep(2.5)
    assert len(bench.changes()) == 1
    bench.now = NOW + 1600
    bench.until(lambda: len(bench.changes()) == 2)


def test_a_result_of_an_enrolment_before_is_dropped_whatever_it_says(bench, other):
    """Also an untrusted one: the doubts of the old keys are not the new ones'."""
    again = replace(HOSTS[0], enrolled_at=NOW - 5)
    bench.station.store.append(*ledger_bodies.host_enrolled(again), who="jo")
    other.put(0, "untrusted", findings=(finding("UUID_CHANGED"),))
    other.put(0)
    other.until(lambda: other.again == [HOSTS[0].host_id] * 2)
    assert not other.said and not bench.station.store.latest()
    other.put(0, host_serial=6)
    other.until(lambda: other.said)
    assert other.said[0][0].state is State.TRUSTED


@pytest.mark.parametrize(
    "item",
    [
        ledger_bodies.reference_retired(REFERENCE.reference_id, NOW),
        ledger_bodies.reference_unassigned(REFERENCE.reference_id, [HOSTS[0].host_id]),
        ledger_bodies.policy_assigned("default", shipped("uefi-grub").text),
        ledger_bodies.host_group(HOSTS[0].host_id, "rack7"),
        ledger_bodies.asset_tag_expected(HOSTS[0].host_id, bytes(32)),
        ledger_bodies.host_updated(replace(HOSTS[0], ek_trust=EkTrust.CERTIFICATE)),
        ledger_bodies.host_removed(HOSTS[0].host_id),
    ],
    ids=lambda item: item.kind,
)
def test_trust_by_what_counts_no_more_is_dropped(bench, item):
    bench.station.store.append(*item, who="jo")
    bench.put(0)
    bench.until(lambda: bench.again == [HOSTS[0].host_id])
    assert not bench.said and not bench.station.store.latest()


def test_what_denies_trust_counts_by_a_policy_before_too(bench):
    bench.station.store.append(*ledger_bodies.policy_assigned("default", shipped("uefi-grub").text), who="jo")
    bench.put(0, "untrusted")
    bench.until(lambda: bench.said)
    assert not bench.again and bench.said[0][0].state.value == UNTRUSTED


def test_what_counts_never_is_untrusted_in_the_end(bench):
    bench.station.store.append(*ledger_bodies.reference_retired(REFERENCE.reference_id, NOW), who="jo")
    for number in range(6):
        bench.put(0)
        bench.until(lambda number=number: len(bench.again) == min(number + 1, 5))
    bench.until(lambda: bench.said)
    ((result, _),) = bench.said
    assert [one.code for one in result.findings] == ["INTERNAL_ERROR"]
    assert "retired" in result.findings[0].detail
    bench.put(0)
    bench.until(lambda: len(bench.again) == 6)


def test_an_older_result_does_not_replace_a_newer_one(bench, other):
    bench.now = other.now = NOW + 300
    other.put(0, "untrusted", appraised_at=NOW + 200)
    other.until(lambda: other.said)
    bench.put(0, appraised_at=NOW + 100)
    bench.until(lambda: bench.again)
    assert bench.station.store.latest()[HOSTS[0].host_id].result.state.value == UNTRUSTED
    assert len(bench.station.store.history(HOSTS[0].host_id)) == 1
    lasting = (finding("CLOCK_WENT_BACK"),)
    bench.put(0, "untrusted", appraised_at=NOW + 100, findings=lasting)  # lasts, and so is never late
    bench.until(lambda: bench.said)
    assert bench.station.store.latest()[HOSTS[0].host_id].result.findings == lasting


def test_a_newest_result_from_the_future_is_replaced(bench, other):
    bench.now = other.now = NOW + 3600
    other.put(0)
    other.until(lambda: other.said)
    bench.now = other.now = NOW + 60
    bench.put(0)
    bench.until(lambda: bench.said)
    assert bench.station.store.latest()[HOSTS[0].host_id].result.appraised_at == NOW + 60


def test_a_store_that_others_change_all_the_time(bench, other, monkeypatch):
    """Each time somebody is quicker: nothing is stored as trust on what may count no more."""
    store, record = bench.station.store, bench.station.store.record

    def overtaken(batch, **more):
        if batch:
            other.station.store.append(*ledger_bodies.note("store", "quicker"), who="jo")
        return record(batch, **more)

    monkeypatch.setattr(store, "record", overtaken)
    bench.put(0)
    bench.put(1, "untrusted")
    bench.until(lambda: bench.said and bench.again)
    assert bench.again == [HOSTS[0].host_id]
    assert list(store.latest()) == [HOSTS[1].host_id]


def test_a_lease_from_the_future_is_told_and_void_for_good(bench):
    bench.now = NOW + 3600
    bench.put(0)
    bench.until(lambda: bench.said)
    bench.now = NOW + 60
    bench.until(lambda: len(bench.changes()) == 2)
    time.sleep(2.5)
    assert [entry.body["new"] for entry in bench.changes()] == ["trusted", "stale"]
    stored = bench.station.store.latest()[HOSTS[0].host_id]
    assert has_ended(bench.station.registry.state(HOSTS[0].host_id), stored.result_id)
