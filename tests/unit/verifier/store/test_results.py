"""Results: each attestation with its evidence, the newest of each host, and no content twice."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester
from support.stores import NOW, make_evidence, make_notification, make_result
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.boot_setup import BootSetup
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.findings import FINDING_KINDS, Severity, finding
from xentpm_lib.verifier.ledger_bodies import LedgerItem, StateChange, state_changed
from xentpm_lib.verifier.ledger_readers import read_state_change
from xentpm_lib.verifier.registry import Registry
from xentpm_lib.verifier.result import State, TpmClock
from xentpm_lib.verifier.store import Recorded

HOST = "6c1f7c0e-3f2b-4a3e-8f0f-3a2a6a1d4a11"


@pytest.mark.parametrize("state", ["trusted", "untrusted", "unreachable"])
def test_a_result_comes_back_as_it_was(station, state):
    store = station.open()
    result = make_result(HOST, state, host_name="wörld \u2603", appraised_at=NOW + 0.1)
    (number,) = store.record([Recorded(result)])
    latest = station.open().latest()
    assert latest[HOST].result == result
    assert not latest[HOST].altered
    assert latest[HOST].result_id == number
    assert store.evidence(number) is None


def test_every_finding_comes_back(station):
    texts = {"expected": "a\0b", "actual": "\ud800", "where": "x", "component": "ü", "detail": "\x1b[0m"}
    findings = tuple(finding(code, **texts) for code in FINDING_KINDS)
    softened = tuple(finding(code, Severity.INFO) for code, kind in FINDING_KINDS.items() if kind.adjustable)
    result = replace(make_result(HOST), findings=findings + softened)
    store = station.open()
    store.record([Recorded(result)])
    assert store.latest()[HOST].result == result


def test_names_that_a_database_refuses_are_cleaned(station):
    store = station.open()
    store.record([Recorded(make_result(HOST, host_name="a\0b\ud800"))])
    assert store.latest()[HOST].result.host_name == "a\ufffdb?"
    assert not store.latest()[HOST].altered


def test_evidence_comes_back_as_it_was(station):
    host = SoftwareAttester(tag=bytes(32))
    boot_log = (BootEvent(9, {"sha256": bytes(32)}, "xen.gz"),)
    _, whole = make_evidence(host)
    bare = whole._replace(asset_tag=None, untrusted_event_log=None)
    measured = whole._replace(untrusted_boot_log=boot_log)
    undone = measured._replace(untrusted_boot_setup=BootSetup("grub-tpm", "undone", "grubx64.efi"))
    store = station.open()
    numbers = store.record([Recorded(make_result(), each) for each in (whole, bare, measured, undone)])
    assert whole.asset_tag is not None
    assert whole.untrusted_event_log is not None
    assert [store.evidence(number) for number in numbers] == [whole, bare, measured, undone]
    assert store.evidence(99) is None


def test_unchanged_evidence_is_stored_once(station):
    """What changes in a quote is in the row; event log, PCRs and findings are there once."""
    store, host = station.open(), SoftwareAttester(tag=bytes(32))
    for start in range(0, 100, 20):
        nonces = [bytes([number]) * 32 for number in range(start, start + 20)]
        batch = [Recorded(make_result(HOST), make_evidence(host, nonce)[1]) for nonce in nonces]
        store.record(batch)
    assert station.by_hand("SELECT COUNT(*) FROM results") == [(100,)]
    assert station.by_hand("SELECT COUNT(*) FROM blobs") == [(3,)]
    sent = {store.evidence(number).attest for number in range(1, 101)}
    assert len(sent) == 100


def test_the_newest_of_each_host(station):
    store = station.open()
    for number in range(3):
        store.record([Recorded(make_result(host, appraised_at=NOW + number)) for host in ("a", "b")])
    store.record([Recorded(make_result("b", "untrusted")), Recorded(make_result("b", "unreachable"))])
    latest = store.latest()
    assert latest["a"].result.appraised_at == NOW + 2
    assert latest["b"].result.state is State.UNREACHABLE
    assert store.latest("a") == {"a": latest["a"]}
    assert store.latest("c") == {}


def test_the_clock_outlives_a_time_without_evidence(station):
    """Counters of a host that comes back are compared with those of before."""
    store = station.open()
    clock = TpmClock(999, 2**32 - 1, 0, False, 0)
    store.record([Recorded(make_result("a", clock=clock))])
    store.record([Recorded(make_result("a", "unreachable"))])
    found = station.open().latest()["a"]
    assert found.result.clock is None
    assert found.clock == clock


def test_history_newest_first(station):
    store = station.open()
    store.record([Recorded(make_result("a", appraised_at=NOW + number)) for number in range(7)])
    store.record([Recorded(make_result("b"))])
    found = store.history("a", limit=3)
    assert [one.result.appraised_at - NOW for one in found] == [6, 5, 4]
    older = store.history("a", limit=9, before=found[-1].result_id)
    assert [one.result.appraised_at - NOW for one in older] == [3, 2, 1, 0]
    assert store.history("c") == []


def test_a_change_of_state_names_its_result(station):
    store = station.open()
    change = StateChange("a", None, State.TRUSTED, NOW)
    store.record([Recorded(make_result("b"))])
    store.record([Recorded(make_result("a"), entries=(state_changed(change),))], who="watch")
    (entry,) = store.entries()
    assert entry.who == "watch"
    ((mac,),) = station.by_hand("SELECT mac FROM results WHERE id = 2")
    named = {"result_id": 2, "result_mac": bytes(mac).hex()}
    assert read_state_change("a", entry.body) == replace(change, **named)
    lapse = StateChange("a", State.TRUSTED, State.STALE, NOW + 900)
    store.append(*state_changed(lapse), who="watch")
    assert Registry.from_entries(store.entries()).state("a") == replace(lapse, **named)
    store.append(*state_changed(StateChange("c", None, State.STALE, NOW)), who="watch")
    assert Registry.from_entries(store.entries()).state("c").result_id is None
    assert store.latest()["a"].result.state is State.TRUSTED


def test_several_results_of_a_host_in_one_batch(station):
    store = station.open()
    first = StateChange("a", None, State.TRUSTED, NOW)
    second = StateChange("a", State.TRUSTED, State.UNTRUSTED_MEASUREMENT, NOW + 1)
    batch = [
        Recorded(make_result("a"), entries=(state_changed(first),)),
        Recorded(make_result("a")),
        Recorded(make_result("a", "untrusted"), entries=(state_changed(second),)),
        Recorded(make_result("b")),
        Recorded(make_result("a", "untrusted", appraised_at=NOW + 2)),
    ]
    store.record(batch)
    latest = store.latest()["a"]
    assert (latest.altered, latest.result.appraised_at) == (False, NOW + 2)
    assert store.check() == []


def test_numbers_are_not_given_twice(station):
    store = station.open()
    numbers = store.record([Recorded(make_result("a")) for _ in range(3)])
    assert numbers == [1, 2, 3]
    store.outbox_add([make_notification(), make_notification()])
    station.by_hand("DELETE FROM results", "DELETE FROM current", "DELETE FROM outbox")
    assert station.open().record([Recorded(make_result("a"))]) == [4]
    store.outbox_add([make_notification()])
    assert [one.sequence for one in store.outbox_due(NOW)] == [3]


@pytest.mark.parametrize("value", ["", "x", "-5", "\u00b2", "9" * 16, "9" * 400, "7.5"])
def test_what_is_no_number_in_their_place(station, value):
    store = station.open()
    store.record([Recorded(make_result("a"))])
    station.by_hand(("UPDATE meta SET value = ? WHERE name = 'last number in results'", value))
    assert store.record([Recorded(make_result("a"))]) == [2]


def test_a_batch_is_stored_whole_or_not_at_all(station):
    store = station.open()
    broken = LedgerItem("state_changed", "a", {"version": 1})
    batch = [
        Recorded(make_result("a"), notifications=(make_notification(),)),
        Recorded(make_result("b"), entries=(broken,)),
    ]
    with pytest.raises(StoreError):
        store.record(batch)
    assert store.latest() == {}
    assert store.outbox_due(NOW) == []
    assert list(store.entries()) == []
    assert store.record([]) == []


def test_contents_of_reference_values(station):
    store = station.open()
    digest = store.put_blob(b"event log")
    assert store.put_blob(b"event log") == digest
    assert station.open().get_blob(digest) == b"event log"
    assert store.get_blob("00" * 32) is None
    station.by_hand("UPDATE blobs SET data = ''")
    assert store.get_blob(digest) is None
    with pytest.raises(StoreError, match="at most"):
        store.put_blob(bytes(24 * 1024 * 1024 + 1))
