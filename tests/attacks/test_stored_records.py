"""Attacks by somebody who can write to the database, and has neither the station's keys nor its directory."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester
from support.measured_boot import BOOT
from support.stores import NOW, Station, make_notification, make_result
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import (
    StateChange,
    asset_tag_expected,
    host_enrolled,
    reference_added,
    reference_assigned,
    reference_retired,
    state_changed,
)
from xentpm_lib.verifier.registry import Registry
from xentpm_lib.verifier.result import State, Verdict
from xentpm_lib.verifier.store import ALTERED, Recorded, timely
from xentpm_lib.verifier.store.ledger import Ledger
from xentpm_lib.verifier.store.results import Results
from xentpm_lib.verifier.store.seal import Seals
from xentpm_lib.verifier.store.shown import Shown

CHANGED = (*BOOT, (9, 0x0D, b"/boot/a-module-of-the-attacker"))


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Any]:
    made: Any = Station(tmp_path, f"sqlite:///{tmp_path}/store.sqlite")
    yield made
    made.close()


@pytest.fixture
def store(station: Any, desk: Any) -> Any:
    """A store with the desk's host and its reference values."""
    store, reference = station.open(), desk.references[0]
    items = [
        host_enrolled(desk.record),
        asset_tag_expected(desk.record.host_id, desk.record.asset_tag),
        reference_added(reference),
        reference_assigned(reference.reference_id, hosts=[desk.record.host_id]),
    ]
    store.append_all(items, who="admin")
    return store


def read(desk: Any, store: Any) -> Any:
    """The desk, with what it knows of the host read from the store."""
    known = Registry()
    for entry in store.entries():
        known.apply(entry)
    desk.record = known.host(desk.record.host_id)
    desk.references = list(known.references_for(desk.record))
    return desk


def refused(action: Callable[[], object]) -> None:
    with pytest.raises(StoreError) as caught:
        action()
    assert caught.value.code == ALTERED


def believe_all_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seals, "holds", lambda *_anything: True)


def edit(station: Any, kind: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the body of the ledger's entry of a kind, by hand."""
    ((text,),) = station.by_hand(("SELECT body FROM ledger WHERE kind = ?", kind))
    body = json.loads(text)
    change(body)
    station.by_hand(("UPDATE ledger SET body = ? WHERE kind = ?", json.dumps(body), kind))


def test_database_row_edited_by_hand_the_key(
    station: Any, store: Any, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attestation key in a host's record becomes one that the attacker has in a file."""
    desk.believed(read(desk, store).ask())
    forger = SoftwareAttester(host_id=desk.record.host_id, tag=desk.record.asset_tag)
    forger.system_uuid = desk.attester.system_uuid
    forger.measure()
    attackers = host_enrolled(replace(desk.record, ak=forger.ak)).body
    edit(station, "host_enrolled", lambda body: body.update(attackers))
    refused(lambda: read(desk, store))
    believe_all_seals(monkeypatch)
    desk.attester = forger
    desk.believed(read(desk, store).ask())


def test_database_row_edited_by_hand_the_reference(
    station: Any, store: Any, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference values become those of the boot that the attacker has changed."""
    desk.attester.reboot(boot=CHANGED)
    desk.caught(read(desk, store).ask(), "PCR_CHANGED")
    attackers = reference_added(replace(desk.references[0], pcrs=desk.attester.pcrs)).body
    edit(station, "reference_added", lambda body: body.update(attackers))
    refused(lambda: read(desk, store))
    believe_all_seals(monkeypatch)
    desk.believed(read(desk, store).ask())


def test_database_row_edited_by_hand_the_result(
    station: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of an untrusted host gets the findings of a trusted one."""
    good, bad = make_result(), make_result(state="untrusted")
    store.record([Recorded(good), Recorded(bad)])
    assert store.latest()[bad.host_id].result.state is State.UNTRUSTED_MEASUREMENT
    facts = "(SELECT findings FROM results WHERE host_id = ?)"
    statement = f"UPDATE results SET state = 'trusted', findings = {facts} WHERE host_id = ?"
    station.by_hand((statement, good.host_id, bad.host_id))
    shown = store.latest()[bad.host_id]
    assert shown.altered and shown.result.verdict is Verdict.UNTRUSTED
    assert [one.code for one in shown.result.findings] == ["RECORD_ALTERED"]
    believe_all_seals(monkeypatch)
    assert store.latest()[bad.host_id].result.verdict is Verdict.TRUSTED


def test_database_row_edited_by_hand_taken_out(
    station: Any, store: Any, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest entry, by which reference values were retired, is deleted: no seal tells of that."""
    store.append(*reference_retired(desk.references[0].reference_id, desk.now), who="admin")
    desk.caught(read(desk, store).ask(), "NO_REFERENCE_VALUES")
    station.by_hand("DELETE FROM ledger WHERE kind = 'reference_retired'")
    refused(lambda: read(desk, store))
    # The end of the ledger is noted in a file beside the keys. As if it were not:
    monkeypatch.setattr(Ledger, "check_head", lambda ledger, connection, _head: ledger.last(connection))
    desk.believed(read(desk, store).ask())


def test_database_that_is_an_old_copy(
    station: Any, store: Any, desk: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole database is set back to a copy from before the reference values were retired."""
    with sqlite3.connect(tmp_path / "store.sqlite") as one, sqlite3.connect(tmp_path / "copy") as other:
        one.backup(other)
    store.append(*reference_retired(desk.references[0].reference_id, desk.now), who="admin")
    store.close()
    with sqlite3.connect(tmp_path / "copy") as one, sqlite3.connect(tmp_path / "store.sqlite") as other:
        one.backup(other)
    refused(station.open)
    monkeypatch.setattr(Ledger, "check_head", lambda ledger, connection, _head: ledger.last(connection))
    desk.believed(read(desk, station.open()).ask())


STATES = {"trusted": State.TRUSTED, "untrusted": State.UNTRUSTED_MEASUREMENT}


def attested(store: Any, host: str, state: str, old: State | None, at: float) -> int:
    """Record a result, with its ledger entry where it changes the state; the result's number."""
    new = STATES[state]
    entry = state_changed(StateChange(host, old, new, at))
    result = make_result(host, state, appraised_at=at, expires_at=at + 900)
    (number,) = store.record([Recorded(result, entries=() if old is new else (entry,))])
    return int(number)


def copied(station: Any, table: str, where: str) -> list[Any]:
    """The statements that put rows of a table back as they are now."""
    rows = station.by_hand(f"SELECT * FROM {table} WHERE {where}")
    marks = ", ".join("?" * len(rows[0]))
    return [(f"INSERT INTO {table} VALUES ({marks})", *row) for row in rows]


@pytest.mark.parametrize("more", [0, 2])
def test_result_whose_number_was_given_twice(
    station: Any, store: Any, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """Results by which the host was trusted are taken out, and put back once their numbers are in use again.

    They changed nothing, so the ledger does not name them. The first has the number of the untrusted one
    then, the others have higher ones.
    """
    host = make_result().host_id
    first = attested(store, host, "trusted", None, NOW)
    old_pointer = copied(station, "current", "1 = 1")
    for number in range(1 + more):
        attested(store, host, "trusted", State.TRUSTED, NOW + 1 + number)
    pointer, trusted = copied(station, "current", "1 = 1"), copied(station, "results", f"id > {first}")
    take_out = (f"DELETE FROM results WHERE id > {first}", "DELETE FROM meta WHERE name LIKE 'last number%'")
    station.by_hand(*take_out, "DELETE FROM current", *old_pointer)
    bad = attested(store, host, "untrusted", State.TRUSTED, NOW + 10)
    assert bad == first + 1
    assert store.latest()[host].result.state is State.UNTRUSTED_MEASUREMENT
    taken = "id = 0" if more else f"id = {bad}"
    kept = [one for one in trusted if not more or one[1] != bad]
    station.by_hand(f"DELETE FROM results WHERE {taken}", *kept, "DELETE FROM current", *pointer)
    shown = store.latest()[host]
    assert shown.altered and shown.result.verdict is Verdict.UNTRUSTED
    assert "current" in {problem.table for problem in store.check()}
    monkeypatch.setattr(Shown, "allows", lambda *_anything: True)
    assert store.latest()[host].result.verdict is Verdict.TRUSTED


@pytest.mark.parametrize("how", ["UPDATE results SET clock = NULL", "DELETE FROM results"])
def test_stored_clock_that_is_taken_away(
    station: Any, store: Any, desk: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A TPM is set back to a copy of its good state, and the result with its last clock goes from the store.

    The host is out of reach meanwhile, so that its newest result has no clock.
    """
    host, copied = desk.record.host_id, copy.deepcopy(desk.attester)
    desk.attester.reboot(boot=CHANGED)
    changed = state_changed(StateChange(host, None, State.UNTRUSTED_MEASUREMENT, NOW))
    store.record([Recorded(desk.ask().result, entries=(changed,))])
    gone = state_changed(StateChange(host, State.UNTRUSTED_MEASUREMENT, State.UNREACHABLE, NOW))
    (number,) = store.record([Recorded(make_result(host, "unreachable"), entries=(gone,))])
    desk.previous, desk.attester = store.latest()[host].clock, copied
    desk.caught(desk.ask(), "CLOCK_WENT_BACK")
    station.by_hand(f"{how} WHERE id < {number}")
    shown = store.latest()[host]
    assert shown.altered and [one.code for one in shown.result.findings] == ["RECORD_ALTERED"]
    assert "current" in {problem.table for problem in store.check()}
    monkeypatch.setattr(Results, "_lost_clock", lambda *_anything: False)
    desk.previous = store.latest()[host].clock
    assert not store.latest()[host].altered
    desk.believed(desk.ask())


@pytest.mark.parametrize("how", ["flipped", "put back"])
def test_old_notification_that_is_made_new(
    station: Any, store: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The station is to call a host trusted once more, with a fresh signature, by a message of its own."""
    host = make_result().host_id
    body = json.dumps({"version": 1, "event": "state_changed", "state": "trusted"})
    attested(store, host, "trusted", None, NOW)
    store.outbox_add([make_notification("marks", host, body, created_at=NOW)])
    row = copied(station, "outbox", "1 = 1")
    (pending,) = store.outbox_due(NOW)
    store.outbox_done(pending.sequence)
    attested(store, host, "untrusted", State.TRUSTED, NOW + 1)

    def attack() -> Any:
        if how == "flipped":
            station.by_hand("UPDATE outbox SET state = 'pending', next_at = 0, finished_at = NULL")
        else:
            station.by_hand("DELETE FROM outbox", *row)
        return store.outbox_due(NOW + 2)

    assert attack() == []
    assert store.outbox_counts() == {"marks": {"outdated": 1}}
    monkeypatch.setattr(timely, "_fate", lambda *_anything: timely.Fate.TOLD)
    assert [one.notification.body for one in attack()] == [body]
