"""Channels that are taken out of station.toml: what waits for them ends, and their marks can be taken off."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from support.attest_cli import AttestCli
from support.pool import SimPool
from support.stores import make_notification
from xentpm_lib.verifier.station import Station

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _marks(pool: SimPool, name: str) -> list[str]:
    record = pool.record(name)
    return [word for word in (*record["tags"], *record["other_config"]) if word.startswith("xentpm")]


def test_marks_and_what_waits(sim_pool: SimPool, tmp_path: Path) -> None:
    cli = AttestCli(tmp_path / "station", sim_pool).ready()
    cli.good("attest")
    assert _marks(sim_pool, "host1") and _marks(sim_pool, "host2")
    cli.good("forget", "host2", "--yes")
    pool = sim_pool.session().xenapi
    pool.host.add_tags(sim_pool.host("host2").ref, "xentpm:trusted")  # as if that had failed
    assert cli.good("channels", "clean").startswith("host2 (")
    assert _marks(sim_pool, "host1") and not _marks(sim_pool, "host2")

    text = (cli.home / "station.toml").read_text().replace('"xapi_marks"', '"xapi_message"')
    (cli.home / "station.toml").write_text(text.replace('"marks"', '"renamed"'))
    with Station.open(cli.home) as station:
        now = time.time()
        station.store.outbox_add([make_notification("marks", created_at=now)])
        station.store.outbox_add([make_notification("marks", created_at=now - 4 * 86400.0)])
    said = cli.run("attest")
    assert "what station.toml does not have any more: marks." in said.err and "goes on" not in said.err
    (gone,) = [one for one in cli.json("channels") if one["state"] == "removed"]
    assert (gone["name"], gone["waiting"], gone["given_up"]) == ("marks", 1, 1)
    assert "not in station.toml any more" in cli.good("channels")

    done = cli.json("channels", "clean")
    assert done == {"hosts": [sim_pool.host("host1").uuid], "given_up": 1, "problems": []}
    assert not _marks(sim_pool, "host1")
    assert [one["state"] for one in cli.json("channels")] == ["ok", "ok"]
