"""A policy that has untrusted hosts disabled: from a changed initrd to ``host.disable`` in XAPI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.attest_cli import AttestCli
from support.pool import SimPool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _enabled(pool: SimPool) -> dict[str, bool]:
    return {host.name: pool.record(host.name)["enabled"] for host in pool.hosts}


def _disabling(cli: AttestCli, path: Path) -> str:
    text = cli.good("policy", "show", "uefi-grub")
    before = "disable_host = false"
    path.write_text(text.replace(before, "disable_host = true") if before in text else text + _ACTIONS)
    return str(path)


_ACTIONS = "\n[actions]\ndisable_host = true\n"


def _told_to_disable(cli: AttestCli) -> list[str]:
    lines = [json.loads(line) for line in cli.good("audit", "export").splitlines()]
    told = [one for one in lines if one["type"] == "notification" and one["channel"] == "disable_host"]
    return [f"{one['host']} {one['state']}" for one in told]


def test_it_is_disabled_when_the_policy_says_so_and_never_again_for_the_same(
    sim_pool: SimPool, tmp_path: Path
) -> None:
    cli = AttestCli(tmp_path / "station", sim_pool).ready()
    cli.good("attest")
    sim_pool.edit("host1", "initrd")
    sim_pool.reboot("host1")
    assert cli.run("attest").status == 3
    assert _enabled(sim_pool) == {"host1": True, "host2": True}, "the policy does not say so yet"

    cli.good("policy", "assign", _disabling(cli, tmp_path / "strict.toml"))
    assert cli.run("attest").status == 3
    assert _enabled(sim_pool) == {"host1": False, "host2": True}
    api = sim_pool.session().xenapi
    api.host.enable(sim_pool.host("host1").ref)  # somebody looked, and wants it so
    assert cli.run("attest").status == 3
    assert _enabled(sim_pool) == {"host1": True, "host2": True}

    sim_pool.edit("host2", "initrd")
    sim_pool.reboot("host2")
    assert cli.run("attest").status == 3
    assert _enabled(sim_pool) == {"host1": True, "host2": False}
    uuids = [sim_pool.host(name).uuid for name in ("host1", "host2")]
    assert _told_to_disable(cli) == [f"{uuid} delivered" for uuid in uuids]

    cli.good("baseline", "approve", "host2", "--label", "new initrd", "--yes")
    cli.good("attest", "host2")
    assert _enabled(sim_pool)["host2"] is False, "only people enable a host"
    assert _told_to_disable(cli)[2:] == [f"{uuids[1]} superseded"]
