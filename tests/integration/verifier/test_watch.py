"""``xentpm-attest watch`` as a process: pools of simulated hosts, and a webhook that counts what is told."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.http_receiver import Receiver
from support.pool import running_pool
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.station import Station

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = [sys.executable, "-m", "xentpm_lib.verifier.cli"]
LIMIT_S = 120
END_S = 20  # is enough for an end on any machine, and less than any call takes that hangs
PERIOD_S, ATTEMPTS, BACKOFF_S = 1.0, 3, 0.6
LEASE_S = 20.0  # a slow machine renews it in time, too
POLICY = f"""\
version = 1
name = "quick"
boot = "uefi-grub"
[pcrs.sha256]
shared = [0, 2, 3, 4, 7]
per_host = [1, 8, 9]
extended = [0, 4, 8, 9]
[keys]
ek = ["certificate"]
[timing]
period = "{PERIOD_S:g}s"
jitter = 0.1
lease = "{LEASE_S:g}s"
attempts = {ATTEMPTS}
backoff = "{1000 * BACKOFF_S:g}ms"
call_timeout = "30s"
"""
CONFIG = """\
version = 1
[[notify]]
name = "hook"
type = "webhook"
url = "{url}"
secret_file = "{secret}"
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Told:
    """What the webhook was told: a list of (host, state). What came twice, as it may, has the same id."""

    def __init__(self, receiver):
        self._receiver = receiver

    @property
    def states(self):
        requests = {request.headers["webhook-id"]: request for request in list(self._receiver.got)}
        bodies = [json.loads(request.body) for request in requests.values()]
        return [(body["host"]["name"], body["state"]) for body in bodies]


class Desk:
    """A station and its command line."""

    def __init__(self, home):
        self.home = home
        self.environment = dict(os.environ, XENTPM_ATTEST_HOME=str(home), PYTHONPATH=str(ROOT))

    def run(self, *words, password="", status=0):
        environment = dict(self.environment, XENTPM_PASSWORD=password)
        ended = subprocess.run(
            [*PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stdout

    def enrol(self, pool, *more):
        anchors = [word for path in pool.ek_ca for word in ("--ek-ca", str(path))]
        words = ["enroll", pool.url, "--ca", str(pool.certificate), "--username", pool.username]
        self.run(*words, *anchors, *more, password=pool.password)


class Watching:
    """A watch that runs; its results as it prints them."""

    def __init__(self, desk):
        self.results = []
        self.log = desk.home.parent / f"watch-{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*PROGRAM, "watch", "--json"],
                env=desk.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.results.append((time.monotonic(), json.loads(line)))

    def of(self, host, since=0.0):
        """The states of a host's results, in their order."""
        return [one["state"] for at, one in list(self.results) if one["host"]["name"] == host and at >= since]

    def until(self, true, limit_s=LIMIT_S):
        end = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            time.sleep(0.02)

    def wait_for(self, host, state, since=0.0):
        self.until(lambda: self.of(host, since)[-1:] == [state])

    def end(self):
        """SIGTERM; returns how long the end took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(LIMIT_S) == 0, self.log.read_text()[-3000:]
        return time.monotonic() - started


@contextmanager
def _stopped(*pools):
    """Pools that hang: they take connections and never answer."""
    for pool in pools:
        os.kill(pool.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pool in pools:
            os.kill(pool.process.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def prepared(sim_pool, tmp_path_factory):
    """A station that has enrolled the pool and captured its hosts. Not to be used: copy it."""
    place = tmp_path_factory.mktemp("prepared")
    desk = Desk(place / "station")
    desk.run("init")
    (place / "policy.toml").write_text(POLICY)
    desk.enrol(sim_pool, "--policy", str(place / "policy.toml"))
    desk.run("baseline", "capture", "--all", "--label", "installed")
    return place


@pytest.fixture
def desk(prepared, tmp_path):
    """A station of its own for a test, with a webhook."""
    home = tmp_path / "station"
    shutil.copytree(prepared / "station", home)
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    secret.chmod(0o600)
    desk = Desk(home)
    with Receiver() as receiver:
        (home / "station.toml").write_text(CONFIG.format(url=receiver.url, secret=secret))
        desk.told = Told(receiver)
        yield desk


@pytest.fixture
def watching(desk):
    """Starts a watch; ends what still runs at the end of the test."""
    with ExitStack() as stack:

        def start():
            running = Watching(desk)
            stack.callback(running.process.wait)
            stack.callback(running.process.kill)
            return running

        yield start


def test_a_host_that_is_switched_off_is_unreachable_after_all_tries_and_trusted_again_later(
    sim_pool, desk, watching
):
    watch = watching()
    watch.wait_for("host1", "trusted")
    watch.wait_for("host2", "trusted")
    off = time.monotonic()
    sim_pool.power_off("host2")
    try:
        watch.wait_for("host2", "unreachable")
        assert time.monotonic() - off > BACKOFF_S * (2 ** (ATTEMPTS - 1) - 1), "not all tries were made"
        watch.wait_for("host1", "trusted", since=off)
        found = [one for _, one in watch.results if one["host"]["name"] == "host2"][-1]["findings"]
        assert [one["code"] for one in found] == ["HOST_OFFLINE"]
        told = len(watch.of("host2"))
        watch.until(lambda: len(watch.of("host2")) > told)
    finally:
        sim_pool.power_on("host2")
    watch.wait_for("host2", "trusted", since=time.monotonic())
    watch.until(lambda: len(desk.told.states) >= 4)
    assert watch.end() < END_S
    assert sorted(desk.told.states[:2]) == [("host1", "trusted"), ("host2", "trusted")]
    assert desk.told.states[2:] == [("host2", "unreachable"), ("host2", "trusted")], "each change once"


def test_a_killed_watch_goes_on_where_it_was_and_tells_nothing_twice(sim_pool, desk, watching):
    first = watching()
    first.wait_for("host1", "trusted")
    first.wait_for("host2", "trusted")
    first.until(lambda: len(desk.told.states) == 2)
    first.process.kill()
    first.process.wait()
    second = watching()
    second.until(lambda: len(second.of("host1")) >= 2 and len(second.of("host2")) >= 2)
    assert second.end() < END_S
    assert sorted(desk.told.states) == [("host1", "trusted"), ("host2", "trusted")]


def test_a_watch_ends_in_time_while_its_pool_hangs_and_stores_nothing_false(sim_pool, desk, watching):
    watch = watching()
    watch.wait_for("host1", "trusted")
    with _stopped(sim_pool):
        time.sleep(2 * PERIOD_S)
        assert watch.end() < END_S
    assert set(watch.of("host1") + watch.of("host2")) == {"trusted"}


def test_a_second_watch_is_refused(desk, watching):
    watch = watching()
    watch.wait_for("host1", "trusted")
    second = subprocess.run(
        [*PROGRAM, "watch"], env=desk.environment, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert second.returncode == 1 and "another" in second.stderr
    assert watch.end() < END_S


def test_trust_runs_out_while_a_pool_hangs_and_another_pool_does_not_notice(sim_pool, desk, watching):
    with running_pool(1) as other:
        uuid = other.hosts[0].uuid
        watch = watching()
        watch.wait_for("host1", "trusted")
        desk.enrol(other)
        watch.until(lambda: _of_uuid(watch, uuid)[-1:] == ["pending-approval"])
        desk.run("baseline", "capture", uuid, "--label", "later")
        watch.until(lambda: _of_uuid(watch, uuid)[-1:] == ["trusted"])
        with _stopped(sim_pool):
            began, before = time.monotonic(), len(desk.told.states)
            watch.until(lambda: ("host2", "stale") in desk.told.states[before:])
            seen = [at for at, one in list(watch.results) if one["host"]["uuid"] == uuid and at > began]
        gaps = [after - before for before, after in zip(seen, seen[1:], strict=False)]
        assert len(seen) >= 3 and max(gaps) < LEASE_S / 2, "the hanging pool slows the other one"
        watch.until(lambda: dict(desk.told.states)["host2"] == "trusted")
        assert watch.end() < END_S


def _of_uuid(watch, uuid):
    return [one["state"] for _, one in list(watch.results) if one["host"]["uuid"] == uuid]


def test_a_host_that_joined_the_pool_is_noticed_and_told_of_once(sim_pool, desk, watching, tmp_path):
    """host2 is enrolled by nobody: it is in every list and exit status until somebody looks at it."""
    joined, place = sim_pool.host("host2"), tmp_path / "policy.toml"
    place.write_text(POLICY)
    fresh = Desk(tmp_path / "fresh")
    fresh.run("init")
    shutil.copy(desk.home / "station.toml", fresh.home / "station.toml")
    fresh.enrol(sim_pool, "--policy", str(place), "--host", "host1")
    fresh.run("baseline", "capture", "host1", "--label", "installed")
    with Station.open(fresh.home) as station:  # the pool did not have it when host1 was enrolled
        station.store.append(*ledger_bodies.host_gone(joined.uuid), who="jo")
    desk.home, desk.environment = fresh.home, fresh.environment
    watch = watching()
    watch.wait_for("host1", "trusted")
    watch.until(lambda: ("host2", "not-enrolled") in desk.told.states)
    assert watch.end() < END_S
    again = watching()
    again.wait_for("host1", "trusted")
    listed = json.loads(fresh.run("hosts", "--json", status=3))
    shown = {one["host"]["name"]: one["state"] for one in listed}
    assert shown == {"host1": "trusted", "host2": "not-enrolled"}
    assert "not-enrolled" in fresh.run("attest", status=3)
    assert fresh.run("attest", "host1").count("not-enrolled") == 0
    assert again.end() < END_S
    assert [one for one in desk.told.states if one[0] == "host2"] == [("host2", "not-enrolled")]
