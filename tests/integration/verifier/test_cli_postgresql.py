"""A station whose store is a real PostgreSQL server, by the command line alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.attest_cli import AttestCli
from support.pool import SimPool
from support.postgresql import PASSWORD, PostgresServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    made = PostgresServer()
    yield made
    made.close()


def test_from_init_to_attest(server: PostgresServer, sim_pool: SimPool, tmp_path: Path) -> None:
    station = AttestCli(tmp_path / "station", sim_pool)
    station.good("init")
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    config = station.home / "station.toml"
    url = server.url(server.new_database()).replace(f":{PASSWORD}@", "@")
    config.write_text(f'{config.read_text()}\n[store]\nurl = "{url}"\npassword_file = "{secret}"\n')

    station.ready()
    assert station.run("attest").status == 0
    assert station.run("explain", "host1").status == 0
    assert "as it was written" in station.good("store", "check")
    assert len(station.json("history", "host1")) >= 3

    server.stop()
    try:
        ended = station.run("attest")
        assert ended.status == 1 and ended.out == "" and PASSWORD not in ended.err
    finally:
        server.start()
    assert station.run("attest").status == 0

    (station.home / "keys").rename(tmp_path / "backup")
    ended = station.run("init")
    assert ended.status == 1 and "XENTPM_KEYS" in ended.err and not (station.home / "keys").exists()
    (tmp_path / "backup").rename(station.home / "keys")
    assert station.run("init").status == 0
