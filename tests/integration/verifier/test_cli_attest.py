"""From a baseline to a changed initrd and back, by ``xentpm-attest`` alone, as an administrator types it."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import jwt
import pytest

from support.attest_cli import PROGRAM, AttestCli
from support.pool import SimPool
from xentpm_lib.verifier.ledger_bodies import host_group
from xentpm_lib.verifier.station import Station


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, sim_pool: SimPool) -> AttestCli:
    return AttestCli(tmp_path_factory.mktemp("home") / "station", sim_pool).ready()


def test_trusted(station: AttestCli) -> None:
    ended = station.run("attest")
    assert ended.status == 0, ended
    head, *lines = ended.out.splitlines()
    assert head.split() == ["HOST", "POOL", "STATE", "WHY"]
    assert [line.split()[0] for line in lines] == ["host1", "host2"]
    assert all(line.split()[-1] == "trusted" for line in lines)
    for words in (["hosts"], ["show", "host1"], ["explain", "host1"], ["token", "host1"]):
        assert station.run(*words).status == 0


def test_a_changed_initrd_is_named_approved_and_on_record(station: AttestCli, sim_pool: SimPool) -> None:
    sim_pool.edit("host2", "initrd")
    sim_pool.reboot("host2")
    results = station.json("attest", status=3)
    assert [one["state"] for one in results] == ["trusted", "untrusted-measurement"]

    explained = station.run("explain", "host2")
    assert explained.status == 3 and "changed: /boot/initrd-4.19-xen.img" in explained.out
    for words in (
        ["hosts"],
        ["show", "host2"],
        ["token", "host2"],
        ["hosts", "--state", "untrusted-measurement"],
    ):
        assert station.run(*words).status == 3
    assert station.run("show", "host1").status == 0
    differences = station.json("baseline", "diff", "installed@host2", "host2")
    changed = [one for one in differences if one["pcr"] == 9]
    assert changed[0]["events"][0]["b"]["text"].startswith("/boot/initrd")

    question = "Is this what host2 should boot"
    refused = station.typed(["baseline", "approve", "host2"], {question: "no"})
    assert refused.status == 1 and "nothing was approved" in refused.out and "/boot/initrd" in refused.out
    assert station.run("attest", "host2").status == 3
    approved = station.typed(["baseline", "approve", "host2", "--label", "new initrd"], {question: "yes"})
    assert approved.status == 0 and "approved as new initrd" in approved.out
    assert station.run("attest", "host2").status == 0
    again = station.run("baseline", "approve", "host2", "--yes")
    assert again.status == 0 and "nothing to approve" in again.out

    told = [event["what"] for event in station.json("history", "host2")]
    assert told[-3:] == [
        "trusted -> untrusted-measurement (PCR_CHANGED)",
        "baseline approved: new initrd",
        "untrusted-measurement -> trusted",
    ]
    assert len(station.json("history", "host2", "--results", "--limit", "3")) == 3
    told = [one["what"] for one in station.json("history", "host2", "--notifications", "--limit", "500")]
    assert any(what.startswith("to marks: host2 is ") and "; delivered 2" in what for what in told)
    assert any(what.startswith("to messages: host2 is NOT trusted") for what in told), told
    assert "xentpm_host_untrusted" in {message["name"] for message in sim_pool.messages()}
    assert "xentpm:trusted" in sim_pool.record("host2")["tags"]


def test_a_token_is_checked_offline_by_a_plain_library(station: AttestCli, sim_pool: SimPool) -> None:
    station.good("attest", "host1")
    token = station.good("token", "host1").strip()
    keys = jwt.PyJWKSet.from_json(station.good("keys", "jwks"))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["ES256"], options={"require": ["exp", "iat", "sub"]})
    uuid = sim_pool.host("host1").uuid
    assert claims["sub"] == uuid and claims["submods"][uuid]["ear.status"] == "affirming"
    with pytest.raises(jwt.InvalidTokenError):
        jwt.decode(token[:-8] + "AAAAAAAA", key, algorithms=["ES256"])


def test_every_json_parses(station: AttestCli) -> None:
    for words in (
        ["hosts"],
        ["show", "host1"],
        ["attest", "host1"],
        ["explain", "host1"],
        ["history", "host1"],
        ["token", "host1"],
        ["group", "default"],
        ["asset-tag", "host1"],
        ["channels"],
        ["pool", "list"],
        ["policy", "list"],
        ["policy", "show", "txt"],
        ["baseline", "list", "--retired"],
        ["baseline", "show", "installed@host1"],
        ["keys", "jwks"],
        ["store", "check"],
        ["store", "prune"],
    ):
        assert station.json(*words) is not None, words
    lines = station.good("audit", "export").splitlines()
    assert {json.loads(line)["type"] for line in lines} >= {"ledger", "result"}


def test_names(station: AttestCli, sim_pool: SimPool) -> None:
    uuid = sim_pool.host("host1").uuid
    assert station.run("show", uuid).status == station.run("show", uuid[:8]).status == 0
    for words in (["show", "host3"], ["attest", "host1", "host3"], ["explain", "host3"]):
        ended = station.run(*words)
        assert ended.status == 1 and "there is no enrolled host 'host3'" in ended.err
    assert "there is no group 'x'; there are: default" in station.run("attest", "--group", "x").err
    assert "there is no pool 'x'" in station.run("attest", "--pool", "x").err
    ended = station.run("baseline", "show", "installed")
    assert ended.status == 1 and "installed@host1, installed@host2" in ended.err
    assert "there are no reference values 'x'" in station.run("baseline", "diff", "x", "host1").err


def test_an_expected_asset_tag(station: AttestCli, sim_pool: SimPool) -> None:
    station.good("asset-tag", "host1", "ab" * 20)
    (result,) = station.json("attest", "host1", status=3)
    assert {one["code"] for one in result["findings"] if one["severity"] == "failed"} == {"ASSET_TAG_MISSING"}
    assert "no asset tag is expected" in station.good("asset-tag", "host1", "--none")
    assert station.run("attest", "host1").status == 0


def test_a_group_with_its_own_policy(station: AttestCli, tmp_path: Path) -> None:
    policy = tmp_path / "own.toml"
    policy.write_text(station.good("policy", "show", "firmware").replace('"firmware"', '"own"', 1))
    refused = station.run("group", "rack7", "host1")
    assert refused.status == 1 and refused.out == "" and "counts from" not in refused.err
    assert "the group 'rack7' has no policy" in refused.err
    assert "policy assign POLICY --group rack7" in refused.err
    assert station.json("show", "host1")["host"]["group"] == "default"
    assert "no hosts" in station.good("group", "rack7")
    with Station.open(station.home) as opened:  # as a release did that let it pass
        uuid = opened.registry.host("host1").host_id
        opened.store.append(*host_group(uuid, "rack7"), who="before")
    ended = station.run("attest")
    assert ended.status == 3 and "host1 was not asked: the group 'rack7' has no policy" in ended.err
    ended = station.run("attest", "host1")
    assert ended.status == 1 and "policy assign POLICY --group rack7" in ended.err
    station.good("policy", "assign", str(policy), "--group", "rack7")
    assert "rack7: host1" in station.good("group", "rack7", "host1")
    assert station.run("attest", "host1").status in (0, 3)
    listed = {one["name"]: one["groups"] for one in station.json("policy", "list")}
    assert ["rack7"] in listed.values()
    station.good("group", "default", "host1")


def test_a_reader_that_goes_away(station: AttestCli) -> None:
    with station.start("audit", "export") as export:
        assert export.stdout is not None and export.stderr is not None
        export.stdout.read(1)
        export.stdout.close()
        said = export.stderr.read()
    assert export.returncode in (0, 1) and said == ""
    with open("/dev/full", "w") as full, station.start("hosts", stdout=full) as hosts:
        _, said = hosts.communicate()
    assert hosts.returncode == 1 and "cannot be written: No space left" in said


def test_a_bar_on_a_terminal(station: AttestCli) -> None:
    ended = station.typed(["attest"], {})
    assert ended.status == 0 and "asking hosts" in ended.out and "trusted" in ended.out


def test_no_bar_where_the_cursor_cannot_be_moved(station: AttestCli) -> None:
    ended = station.typed(["attest"], {}, term="dumb")
    assert ended.status == 0 and "asking hosts" not in ended.out and "trusted" in ended.out


def test_watch_attests_tells_and_ends_when_told(station: AttestCli, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stderr, station.start("watch", "--json", stderr=stderr) as watch:
        try:
            _wait_for("hosts watched: 2", log)
            station.good("asset-tag", "host2", "cd" * 20)  # a running watch takes it up
            assert watch.stdout is not None
            assert any("ASSET_TAG_MISSING" in line for line in iter(watch.stdout.readline, ""))
            second = station.run("watch")
            assert second.status == 1 and "watch" in second.err
            began = time.monotonic()
            watch.send_signal(signal.SIGTERM)
            watch.communicate(timeout=60)
        finally:
            watch.kill()
    assert watch.returncode == 0 and time.monotonic() - began < 20, log.read_text()
    assert "Traceback" not in log.read_text()
    station.good("asset-tag", "host2", "--none")
    station.good("attest", "host2")


def _wait_for(text: str, log: Path) -> None:
    end = time.monotonic() + 60
    while text not in log.read_text():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def test_an_altered_store_is_told(sim_pool: SimPool, tmp_path: Path) -> None:
    station = AttestCli(tmp_path / "station", sim_pool).ready(label="")
    assert "as it was written" in station.good("store", "check")
    with sqlite3.connect(station.home / "store.sqlite") as connection:
        triggers = connection.execute("select name from sqlite_master where type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"drop trigger {name}")
        connection.execute("update ledger set who = 'nobody' where seq = 1")
    ended = station.run("hosts")
    assert ended.status == 1 and "ledger" in ended.err and "hint: " in ended.err


def test_python_m(station: AttestCli) -> None:
    ended = subprocess.run(
        [*PROGRAM, "--help"],
        capture_output=True,
        text=True,
        env=station.env,
    )
    assert ended.returncode == 0 and "begin with:" in ended.stdout
