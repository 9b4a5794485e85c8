"""The ledger: what is added stays as it is, in its order, with who and when."""

import os
import threading
from pathlib import Path

import pytest

from support.stores import NOW, make_notification, make_result
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import LedgerItem, StateChange, host_group, note, state_changed
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.store import ALTERED, Recorded
from xentpm_lib.verifier.store.head import HeadFile
from xentpm_lib.verifier.store.model import END_NOT_NOTED


def test_entries_come_back_as_they_were_added(station):
    store = station.open()
    first = store.append(*note("a", "first \0 \ud800 ü"), who="jo")
    station.now += 5
    second, third = store.append_all([note("b", "second"), host_group("h", "g")], who="Jürgen\x1b[0m")
    assert list(store.entries()) == [first, second, third]
    assert list(store.entries(after=1)) == [second, third]
    assert [one.seq for one in (first, second, third)] == [1, 2, 3]
    assert (first.at, second.at) == (NOW, NOW + 5)
    assert (first.who, second.who) == ("jo", "Jürgen?[0m")
    assert first.body["text"] == "first \0 \ud800 ü"
    assert third.body == {"version": 1, "group": "g"}


def test_another_process_sees_them(station):
    written = station.open().append(*note("a", "text"), who="jo")
    assert list(station.open().entries()) == [written]


def test_all_or_none(station):
    store = station.open()
    with pytest.raises(StoreError, match="cannot be read"):
        store.append_all([note("a", "good"), LedgerItem("host_group", "h", {"version": 1})], who="jo")
    with pytest.raises(StoreError, match="kind is unknown"):
        store.append("invented", "a", {"version": 1}, who="jo")
    with pytest.raises(StoreError, match="version 2"):
        store.append("note", "a", {"version": 2, "text": ""}, who="jo")
    assert list(store.entries()) == []


def test_notifications_belong_to_the_entries(station):
    store = station.open()
    store.append_all([note("a", "text")], who="jo", notifications=[make_notification()])
    assert len(store.outbox_due(NOW)) == 1
    with pytest.raises(StoreError):
        store.append_all([note("", "text")], who="jo", notifications=[make_notification()])
    assert len(store.outbox_due(NOW)) == 1


def test_a_decision_on_what_is_no_longer_so_is_refused(station):
    store = station.open()
    store.append(*note("a", "seen"), who="jo", after=0)
    station.open().append(*note("b", "meanwhile"), who="al")
    with pytest.raises(StoreError) as caught:
        store.append(*note("c", "late"), who="jo", after=1)
    assert caught.value.code == "XENTPM_STORE_CHANGED"
    store.append(*note("c", "late"), who="jo", after=2)
    assert [entry.subject for entry in store.entries()] == ["a", "b", "c"]


def test_writers_at_once_make_one_chain(station):
    stores = [station.open() for _ in range(4)]

    def write(store, name):
        for number in range(25):
            store.append(*note(name, str(number)), who=name)

    threads = [threading.Thread(target=write, args=(one, "w%d" % n)) for n, one in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = list(station.open().entries())
    assert [entry.seq for entry in entries] == list(range(1, 101))
    for name in ("w0", "w1", "w2", "w3"):
        assert [entry.body["text"] for entry in entries if entry.who == name] == [str(n) for n in range(25)]


def test_a_reader_follows_while_another_writes(station):
    reader, writer = station.open(), station.open()
    seen = []
    for number in range(5):
        writer.append(*note("a", str(number)), who="jo")
        seen += reader.entries(after=len(seen))
    assert [entry.body["text"] for entry in seen] == list("01234")


def test_many_entries_are_read_in_parts(station):
    store = station.open()
    store.append_all([note("a", str(number)) for number in range(2500)], who="jo")
    assert [int(entry.body["text"]) for entry in store.entries()] == list(range(2500))


def test_the_database_refuses_to_change_it(station):
    store = station.open()
    store.append(*note("a", "text"), who="jo")
    connection, _ = station._connect()
    for statement in ("UPDATE ledger SET who = 'x'", "DELETE FROM ledger"):
        with pytest.raises(Exception, match="append-only"):
            connection.cursor().execute(statement)
        connection.rollback()
    connection.close()
    assert len(list(store.entries())) == 1


class TestAnEndThatCannotBeNoted:
    """The disk that has the keys is full, or may not be written."""

    @pytest.fixture
    def store(self, station):
        store = station.open()
        store.append(*note("a", "text"), who="jo")
        return store

    @staticmethod
    def block(station):
        """Nothing can be written to the file that is to take the place of the old one; root's neither."""
        os.mkdir(Path(station.keys.directory) / "ledger.new")

    @staticmethod
    def free(station):
        os.rmdir(Path(station.keys.directory) / "ledger.new")

    def test_who_wanted_the_entry_is_told(self, station, store):
        self.block(station)
        with pytest.raises(StoreError, match="is written, but not protected yet") as caught:
            store.append(*note("b", "text"), who="jo")
        assert caught.value.code == END_NOT_NOTED
        assert "Do not repeat" in caught.value.hint and "ledger.head" in caught.value.hint
        assert [entry.subject for entry in store.entries()] == ["a", "b"]

    def test_the_check_finds_it_until_it_is_mended(self, station, store):
        self.block(station)
        assert store.check() == []  # nothing is missing from the file yet
        with pytest.raises(StoreError):
            store.append(*note("b", "text"), who="jo")
        for one in (store, station.open()):
            (problem,) = one.check()
            assert problem.table == "ledger" and "not protected yet" in problem.detail
        self.free(station)
        assert store.check() == []
        station.by_hand("DELETE FROM ledger WHERE seq = 2")
        with pytest.raises(StoreError) as caught:
            station.open()
        assert caught.value.code == ALTERED

    def test_results_are_stored_and_it_is_told_again_and_again(self, station, store, caplog):
        self.block(station)
        entry = state_changed(StateChange("h", None, State.TRUSTED, NOW))
        assert store.record([Recorded(make_result("h"), entries=(entry,))]) == [1]
        assert "not protected yet" in caplog.text
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                store.note_end()
            assert caught.value.code == END_NOT_NOTED
        self.free(station)
        store.note_end()
        assert HeadFile(station.keys).read().seq == 2
