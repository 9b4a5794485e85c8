"""Many hosts at once: software attesters behind real XAPI endpoints, in a process of their own."""

import os
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from support.postgresql import PASSWORD, PostgresServer
from support.stores import make_result
from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet import attestation
from xentpm_lib.verifier.fleet.lock import WATCHED, WatchLock
from xentpm_lib.verifier.fleet.once import attest_once
from xentpm_lib.verifier.fleet.watch import Pace, Watch, watch
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store import database
from xentpm_lib.verifier.store.model import Recorded
from xentpm_lib.verifier.store.store import Store

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import fleet as benchmark  # noqa: E402

POOLS, POOL_SIZE = 3, benchmark.POOL_SIZE
END_S = 20  # is enough for an end on any machine, and less than any call takes that hangs

pytestmark = pytest.mark.timeout(400)


@contextmanager
def _fleet(home, hanging=0, period_s=1, store="", **timing):
    """A station that knows three pools of 64 hosts; the first ones may hang. store: of its configuration."""
    Station.init(home, f"version = 1\n{store}").close()
    setting = benchmark.Setting(POOLS * POOL_SIZE, period_s, 0, 0, hanging=hanging)
    with benchmark._attesters(setting) as served:
        benchmark._make_station(home, setting, served)
        with Station.open(home) as station:
            if timing:
                text = benchmark._POLICY.format(period=f"{period_s}s", replay="ignored")
                text += "".join(f"{name} = {value}\n" for name, value in timing.items())
                station.store.append(*ledger_bodies.policy_assigned("default", text), who="test")
                station.refresh()
            station.attesters = served["pid"]
            yield station


@contextmanager
def _watching(station, **more):
    """A watch in a thread; gives the results with their times, and the watch's end in seconds."""
    seen, stop = [], threading.Event()
    pace = Pace(**{"follow": 0.2, **more})
    watch = Watch(station, pace, lambda result, change: seen.append((time.monotonic(), result, change)))
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(END_S)
        assert not thread.is_alive()


def _until(true, limit_s=120):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def _logged(caplog):
    caplog.set_level("INFO", "xentpm_lib.verifier.fleet")


def test_every_host_is_attested_once_and_told_of_at_once(tmp_path):
    with _fleet(tmp_path / "station") as station:
        hosts, told = station.registry.hosts(), []
        results = attest_once(station, hosts, lambda result, change: told.append(result.host_id))
        assert [one.host_id for one in results] == [one.host_id for one in hosts]
        assert {one.state for one in results} == {State.TRUSTED}
        assert sorted(told) == sorted(one.host_id for one in hosts)
        assert len(station.store.latest()) == len(hosts)
        again = attest_once(station, hosts[:5])
        assert len(again) == 5
        changes = [entry for entry in station.store.entries() if entry.kind == "state_changed"]
        assert len(changes) == len(hosts), "the second time nothing changed"
        assert attest_once(station, []) == []


def test_attesting_once_can_be_stopped(tmp_path):
    with _fleet(tmp_path / "station", hanging=POOLS) as station:
        stop = threading.Event()
        threading.Timer(0.5, stop.set).start()
        began = time.monotonic()
        assert attest_once(station, station.registry.hosts(), stop=stop) == []
        assert time.monotonic() - began < END_S
        assert station.store.latest() == {}, "what was stopped is no finding"


@contextmanager
def _held_up(monkeypatch, meanwhile):
    """The first answer that is judged waits until ``meanwhile`` is done, by another process's store."""
    real, done = attestation.appraise, []

    def appraise(*given):
        result = real(*given)
        if not done:
            done.append(given[2].host_id)
            meanwhile(given[2].host_id)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(attestation, "appraise", appraise)
        yield done


def test_a_baseline_that_is_retired_while_its_host_is_attested(tmp_path, monkeypatch):
    """What was trusted a moment ago, by what counts no more, is not stored; the host is asked again."""
    with _fleet(tmp_path / "station") as station, Station.open(tmp_path / "station") as other:

        def retire(host_id):
            for one in other.registry.references_for(other.registry.host(host_id)):
                other.store.append(*ledger_bodies.reference_retired(one.reference_id, time.time()), who="jo")
            other.refresh()
            (found,) = attest_once(other, [other.registry.host(host_id)])
            assert found.state is State.PENDING_APPROVAL

        with _held_up(monkeypatch, retire):
            (result,) = attest_once(station, station.registry.hosts()[:1])
        assert result.state is State.PENDING_APPROVAL
        history = station.store.history(result.host_id)
        assert {one.result.state for one in history} == {State.PENDING_APPROVAL}


def test_a_host_that_is_forgotten_while_it_is_attested(tmp_path, monkeypatch):
    with _fleet(tmp_path / "station") as station, Station.open(tmp_path / "station") as other:

        def forget(host_id):
            other.store.append(*ledger_bodies.host_removed(host_id), who="jo")

        with _held_up(monkeypatch, forget) as done:
            results = attest_once(station, station.registry.hosts()[:3])
        assert len(results) == 2 and done[0] not in {one.host_id for one in results}
        assert done[0] not in station.store.latest()


def test_a_host_whose_group_has_no_policy_cannot_be_asked(tmp_path):
    with _fleet(tmp_path / "station") as station:
        host = station.registry.hosts()[0]
        station.store.append(*ledger_bodies.host_group(host.host_id, "rack7"), who="test")
        station.refresh()
        with pytest.raises(PolicyError):
            attest_once(station, station.registry.hosts())


def test_a_pool_whose_hosts_all_hang_does_not_slow_the_others(tmp_path):
    """All of its threads hang in calls; before one of these ends, the others' hosts have many turns each."""
    timing = {"call_timeout": '"5m"', "attempts": 1}
    with _fleet(tmp_path / "station", hanging=1, **timing) as station:
        with _watching(station) as seen:
            good = (POOLS - 1) * POOL_SIZE
            _until(lambda: len(_turns(seen)) == good and min(_turns(seen).values()) >= 8)
        assert len(_turns(seen)) == good
        assert {result.state for _, result, _ in seen} == {State.TRUSTED}


def _turns(seen):
    """How many results there are of each host that has one."""
    return Counter(result.host_id for _, result, _ in list(seen))


def test_a_master_that_hangs_counts_for_all_hosts_of_its_pool(tmp_path):
    """The process is stopped: connections are taken and nothing is answered, not even by the masters."""
    timing = {"call_timeout": '"5s"', "attempts": 2, "backoff": '"100ms"'}
    with _fleet(tmp_path / "station", period_s=2, **timing) as station:
        with _watching(station) as seen:
            _until(lambda: len({result.host_id for _, result, _ in seen}) == POOLS * POOL_SIZE)
            os.kill(station.attesters, signal.SIGSTOP)
            try:
                _until(lambda: _unreachable(seen) == POOLS * POOL_SIZE, 200)
            finally:
                os.kill(station.attesters, signal.SIGCONT)
            _until(lambda: _unreachable(seen) == 0)
        changes = [change.new for _, _, change in seen if change is not None]
        assert changes.count(State.UNREACHABLE) == POOLS * POOL_SIZE, "each was told once"
        codes = {
            one.code for _, result, _ in seen if result.state is State.UNREACHABLE for one in result.findings
        }
        assert codes <= {"POOL_UNREACHABLE", "COLLECTION_TIMEOUT"}


def _unreachable(seen):
    last = {result.host_id: result.state for _, result, _ in list(seen)}
    return sum(state is State.UNREACHABLE for state in last.values())


def test_what_other_commands_change_is_taken_up(tmp_path):
    with _fleet(tmp_path / "station", period_s=1800) as station, Station.open(station.home) as desk:
        host, other = station.registry.hosts()[:2]
        with _watching(station) as seen:
            _until(lambda: len(seen) == POOLS * POOL_SIZE)

            def new(since, host_id):
                return [result.state for _, result, _ in list(seen)[since:] if result.host_id == host_id]

            count = len(seen)
            desk.store.append(*ledger_bodies.reference_retired(host.host_id, time.time()), who="test")
            _until(lambda: new(count, host.host_id) == [State.PENDING_APPROVAL])
            desk.store.append(*ledger_bodies.host_removed(other.host_id), who="test")
            policy = benchmark._POLICY.format(period="1s", replay="ignored")
            desk.store.append(*ledger_bodies.policy_assigned("default", policy), who="test")
            _until(lambda: len(new(count, host.host_id)) >= 3)
            assert new(count, other.host_id) == []


def test_a_database_server_that_is_restarted_is_waited_for(tmp_path):
    """Nothing is lost meanwhile, and nothing is told twice."""
    server = PostgresServer()
    try:
        secret = tmp_path / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        url = server.url(server.new_database()).replace(f":{PASSWORD}@", "@")
        store = f'[store]\nurl = "{url}"\npassword_file = "{secret}"\n'
        with _fleet(tmp_path / "station", period_s=2, store=store) as station:
            with _watching(station) as seen:
                _until(lambda: len({result.host_id for _, result, _ in seen}) == POOLS * POOL_SIZE)
                server.stop()
                time.sleep(3)
                count = len(seen)
                server.start()
                _until(lambda: len({one.host_id for _, one, _ in seen[count:]}) == POOLS * POOL_SIZE)
            changes = [change for _, _, change in seen if change is not None]
            assert len(changes) == POOLS * POOL_SIZE
            assert {change.new for change in changes} == {State.TRUSTED}
            with station.store.watch_lock():
                pass  # it was let go of
    finally:
        server.close()


def test_another_process_that_took_the_lock_meanwhile_ends_it(tmp_path):
    server = PostgresServer()
    try:
        keys = StationKeys.open(tmp_path / "keys", create=True)
        url = server.url(server.new_database())
        with Store.open(url, keys) as one, Store.open(url, keys) as other:
            with WatchLock(one) as lock:
                assert lock.held()
                with pytest.raises(StoreError, match="another"), WatchLock(other, wait_s=0.0):
                    pass
                server.stop()
                assert not lock.held()
                server.start()
                with WatchLock(other), pytest.raises(StoreError) as raised:
                    lock.held()
                assert raised.value.code == WATCHED
                assert lock.held(), "once the other one has ended"
    finally:
        server.close()


def test_a_lock_whose_holder_has_gone_just_now(tmp_path, monkeypatch):
    """PostgreSQL ends the process of a connection that was closed in its own time, and with it the lock."""
    monkeypatch.setattr(database, "_RELEASE_S", END_S)
    server = PostgresServer()
    try:
        url = server.url(server.new_database())
        with Store.open(url, StationKeys.open(tmp_path / "keys", create=True)) as store:
            holder, told = store.watch_lock(), threading.Event()
            holder.__enter__()
            threading.Timer(0.5, lambda: (told.set(), holder.__exit__(None, None, None))).start()
            with store.watch_lock() as held:
                assert told.is_set() and held()
    finally:
        server.close()


def _last(seen):
    return {result.host_id: result.state for _, result, _ in list(seen)}


def test_groups_without_a_policy_are_left_out_until_they_have_one(tmp_path, caplog):
    with _fleet(tmp_path / "station", period_s=1800) as station, Station.open(station.home) as desk:
        host = station.registry.hosts()[0]
        with _watching(station, status=0.2, grace=0.0) as seen:
            _until(lambda: len(seen) == POOLS * POOL_SIZE)
            count = len(seen)
            desk.store.append(*ledger_bodies.host_group(host.host_id, "rack7"), who="test")
            time.sleep(1)
            assert len(seen) == count
            policy = benchmark._POLICY.format(period="1s", replay="ignored")
            desk.store.append(*ledger_bodies.policy_assigned("rack7", policy), who="test")
            _until(lambda: len(seen) >= count + 2)
            assert {result.host_id for _, result, _ in seen[count:]} == {host.host_id}
            desk.store.append(
                *ledger_bodies.host_enrolled(replace(host, enrolled_at=time.time())), who="test"
            )
            _until(lambda: f"host {host.name} is watched" in caplog.text)
    assert "192 hosts: 192 trusted" in caplog.text


def test_a_pool_that_moves_is_found_at_its_new_address(tmp_path):
    with _fleet(tmp_path / "station", period_s=2) as station, Station.open(station.home) as desk:
        pool = station.registry.pools()[0]
        mine = {host.host_id for host in station.registry.hosts() if host.pool_id == pool.pool_id}
        nowhere = replace(pool, addresses=("https://127.0.0.1:9",))
        with _watching(station) as seen:
            _until(lambda: len(_last(seen)) == POOLS * POOL_SIZE)
            desk.store.append(*ledger_bodies.pool_changed(nowhere), who="test")
            _until(lambda: {_last(seen)[host] for host in mine} == {State.UNREACHABLE})
            desk.store.append(*ledger_bodies.pool_changed(pool), who="test")
            _until(lambda: set(_last(seen).values()) == {State.TRUSTED})
        changes = [change for _, _, change in seen if change is not None and change.host_id in mine]
        assert len(changes) == 3 * POOL_SIZE


def test_old_results_are_removed_and_altered_ones_told(tmp_path, caplog):
    with _fleet(tmp_path / "station", period_s=1800) as station:
        first, second = station.registry.hosts()[:2]
        past = time.time() - 100 * 86400
        old = [
            make_result(first.host_id, appraised_at=past + at, expires_at=past + at + 9) for at in range(9)
        ]
        station.store.record([Recorded(one) for one in old])
        attest_once(station, [second])
        with sqlite3.connect(station.home / "store.sqlite") as connection:
            connection.execute("UPDATE results SET expires_at = 9e9 WHERE host_id = ?", (second.host_id,))
        connection.close()
        with _watching(station, upkeep=0.3) as seen:
            _until(lambda: len(_last(seen)) == POOLS * POOL_SIZE)
            _until(lambda: len(station.store.history(first.host_id)) < 9)
        assert {host for host, state in _last(seen).items() if state is not State.TRUSTED} == {second.host_id}
        assert _last(seen)[second.host_id] is State.UNTRUSTED_KEY
    assert f"the stored result of host {second.host_id} was altered" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(tmp_path, number):
    with _fleet(tmp_path / "station") as station:
        before, told = signal.getsignal(number), []

        def stored(_result, _change):
            if not told:  # by now the handlers are there
                os.kill(os.getpid(), number)
            told.append(time.monotonic())

        watch(station, stored=stored)
        assert time.monotonic() - told[0] < END_S
        assert signal.getsignal(number) is before
        assert station.store.latest()


def test_a_pool_without_a_password_is_out_of_reach(tmp_path):
    with _fleet(tmp_path / "station") as station:
        host = station.registry.hosts()[0]
        station.store.drop_credentials(host.pool_id)
        (result,) = attest_once(station, [host])
        assert [one.code for one in result.findings] == ["XAPI_AUTHENTICATION"]
        assert result.state is State.UNREACHABLE


def test_a_host_of_a_pool_that_is_gone_is_out_of_reach(tmp_path):
    with _fleet(tmp_path / "station") as station:
        host = station.registry.hosts()[0]
        station.store.append(*ledger_bodies.pool_removed(host.pool_id), who="test")
        (result,) = attest_once(station, [host])
        assert [(one.code, one.detail) for one in result.findings] == [
            ("POOL_UNREACHABLE", "the pool is not known")
        ]
