"""SIGKILL in the middle of writes, and several processes at once: nothing half recorded."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.stores import NOW
from xentpm_lib.verifier.ledger_bodies import note
from xentpm_lib.verifier.registry import Registry
from xentpm_lib.verifier.result import State, Verdict

pytestmark = pytest.mark.timeout(600)  # many processes, one after the other
TESTS = Path(__file__).resolve().parents[3]

# Writes like the watch does, and says so only after it was stored.
WRITER = """
import sys
sys.path.insert(0, {tests!r})
from support.stores import NOW, make_evidence, make_notification, make_result
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.ledger_bodies import StateChange, note, state_changed
from xentpm_lib.verifier.store import Recorded, Store

url, keys, name, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
_, evidence = make_evidence()
print("ready", flush=True)
with Store.open(url, StationKeys.open(keys)) as store:
    for number in range(count):
        batch = []
        for host in range(3):
            result = make_result("%s-%d" % (name, host), "trusted" if number % 2 else "untrusted")
            entry = state_changed(StateChange(result.host_id, None, result.state, NOW + number))
            told = make_notification(host_id=result.host_id, body=str(number))
            batch.append(Recorded(result, evidence, (told,), (entry,)))
        numbers = store.record(batch, who=name)
        store.append(*note(name, str(number)), who=name)
        print(number, *numbers, flush=True)
""".format(tests=str(TESTS))


def start(station, name, count=10**6):
    command = [sys.executable, "-c", WRITER, station.url, station.keys.directory, name, str(count)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline() == "ready\n"
    return writer


def told(printed):
    """What the writer was told to be stored: (round, numbers of results). The last line may be cut."""
    lines = [line.split() for line in printed.splitlines(keepends=True) if line.endswith("\n")]
    return [(int(line[0]), [int(each) for each in line[1:]]) for line in lines]


def check_whole(station, names):
    """Everything of the store fits together, and belongs together."""
    store = station.open()
    with store._database.write():
        pass  # a server may still be at the last words of a client that was killed
    assert store.check() == []
    entries = list(store.entries())
    registry = Registry.from_entries(entries)
    latest = store.latest()
    pending = store.outbox_due(NOW + 1e9, limit=10**6)
    for name in names:
        for host in ("{}-{}".format(name, number) for number in range(3)):
            history = store.history(host, limit=10**6)
            changes = [one for one in entries if one.kind == "state_changed" and one.subject == host]
            assert [one.body["result_id"] for one in changes] == [one.result_id for one in history][::-1]
            assert len([one for one in pending if one.notification.host_id == host]) == len(history)
            if history:
                assert registry.state(host).new is latest[host].result.state
                assert store.evidence(history[0].result_id) is not None
    store.append(*note("after", "all goes on"), who="test")
    return store, entries


@pytest.mark.parametrize("round_", range(3))
def test_a_killed_writer_leaves_nothing_half_done(station, round_):
    lines = []
    for kill in range(4):
        writer = start(station, "w")
        first = "" if kill else writer.stdout.readline()  # one of them writes something on any machine
        time.sleep(random.Random(100 * round_ + kill).uniform(0.3, 1.2))
        writer.send_signal(signal.SIGKILL)
        lines += told(first + writer.communicate()[0])
    store, entries = check_whole(station, ["w"])
    notes = [one for one in entries if one.kind == "note"]
    assert lines
    assert len(notes) >= len(lines)
    stored = {one.result_id for host in range(3) for one in store.history("w-%d" % host, limit=10**6)}
    assert {number for _, numbers in lines for number in numbers} <= stored


def test_watch_and_commands_at_once(station):
    """Three processes write, one is killed; each of the others gets all of its own in its own order."""
    writers = {name: start(station, name, 25) for name in ("watch", "cli")}
    victim = start(station, "victim")
    time.sleep(1.0)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    for name, writer in writers.items():
        # Without a time limit: with one it forgets what readline has read ahead.
        assert len(told(writer.communicate()[0])) == 25, name
    store, entries = check_whole(station, [*writers, "victim"])
    for name in writers:
        assert [int(one.body["text"]) for one in entries if one.kind == "note" and one.who == name] == list(
            range(25)
        )
    assert store.latest()["watch-0"].result.verdict is Verdict.UNTRUSTED
    assert store.latest()["watch-0"].result.state is State.UNTRUSTED_MEASUREMENT


def test_a_kill_between_the_commit_and_the_head(station):
    """The one moment when the file is behind the ledger: the next opening catches up."""
    store = station.open()
    store.append(*note("a", "first"), who="jo")
    path = Path(station.keys.directory) / "ledger.head"
    before = path.read_bytes()
    store.append(*note("b", "second"), who="jo")
    path.write_bytes(before)
    again = station.open()
    assert path.read_bytes() != before
    assert len(list(again.entries())) == 2
    path.write_bytes(before)
    again.append(*note("c", "third"), who="jo")
    assert len(list(station.open().entries())) == 3


def test_a_kill_while_a_new_store_is_made(station):
    """Whenever it comes, the next opening makes or finds a whole store."""
    for delay in (0.0, 0.15, 0.25, 0.3, 0.35, 0.4, 0.5):
        writer = start(station, "w")
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    check_whole(station, ["w"])
