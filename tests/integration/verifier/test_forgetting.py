"""Forgetting the last host of a pool: marks, pool and password go, whatever happens in between."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.attest_cli import AttestCli
from support.pool import SimPool
from xentpm_lib.verifier.station import Station

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LIMIT_S = 120


@pytest.fixture
def desk(tmp_path: Path, sim_pool: SimPool) -> AttestCli:
    """A station that has enrolled and attested host1, the only one that it knows."""
    cli = AttestCli(tmp_path / "station", sim_pool)
    cli.good("init")
    cli.good("enroll", sim_pool.url, *cli.trust(), "--host", "host1")
    cli.good("baseline", "capture", "host1", "--label", "installed")
    cli.good("attest", "host1")
    assert _marks(sim_pool) == ["xentpm:trusted"]
    return cli


@contextmanager
def _hanging(pool: SimPool) -> Iterator[None]:
    """The pool takes connections and never answers."""
    os.kill(pool.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pool.process.pid, signal.SIGCONT)


def _marks(pool: SimPool) -> list[str]:
    return [tag for tag in pool.record("host1")["tags"] if tag.startswith("xentpm:")]


def _known(cli: AttestCli, pool: SimPool) -> tuple[int, bool]:
    """How many pools the station knows, and whether it has a password for this one."""
    with Station.open(cli.home) as station:
        pool_id = pool.session().xenapi.pool.get_all_records().popitem()[1]["uuid"]
        return len(station.registry.pools()), station.store.get_credentials(pool_id) is not None


def _until(true: object, limit_s: float = LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)


def test_a_watch_takes_the_marks_off_before_the_pool_is_forgotten(desk: AttestCli, sim_pool: SimPool) -> None:
    log = desk.home.parent / "watch.log"
    with log.open("w") as file, desk.start("watch", stdout=file, stderr=file) as watch:
        try:
            _until(lambda: "hosts watched: 1" in log.read_text())
            assert desk.run("forget", "host1", "--yes").status == 0
            _until(lambda: _known(desk, sim_pool) == (0, False))
            assert _marks(sim_pool) == []
            assert "is not known" not in log.read_text()
        finally:
            watch.send_signal(signal.SIGTERM)
            watch.communicate(timeout=LIMIT_S)


def test_what_a_kill_cut_short_is_finished_by_the_same_command(desk: AttestCli, sim_pool: SimPool) -> None:
    uuid = sim_pool.host("host1").uuid
    with _hanging(sim_pool):
        with desk.start("forget", "host1", "--yes") as forgetting:
            _until(lambda: not _enrolled(desk))
            time.sleep(0.2)
            forgetting.kill()
            forgetting.communicate(timeout=LIMIT_S)
    assert _known(desk, sim_pool) == (1, True)
    said = desk.run("forget", uuid, "--yes")
    assert said.status == 0 and "stay" not in said.err
    assert (_known(desk, sim_pool), _marks(sim_pool)) == ((0, False), [])
    assert desk.run("forget", uuid, "--yes").status == 1  # nothing is left of it


def test_a_pool_that_does_not_answer_stays_until_it_does_or_nobody_waits(
    desk: AttestCli, sim_pool: SimPool
) -> None:
    uuid = sim_pool.host("host1").uuid
    with _hanging(sim_pool):
        said = desk.run("forget", "host1", "--yes")
        assert said.status == 0 and "and its password stay until the marks are taken off" in said.err
        assert desk.run("forget", uuid, "--now").status == 0
    assert _known(desk, sim_pool) == (0, False)
    assert _marks(sim_pool) == ["xentpm:trusted"]  # as --now says
    assert [one["waiting"] for one in desk.json("channels")] == [0, 0]


def _enrolled(cli: AttestCli) -> bool:
    with Station.open(cli.home) as station:
        return bool(station.registry.hosts())
