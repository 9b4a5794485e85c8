"""``baseline`` and ``policy`` between files and stations: what is refused is told to the last mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.attest_cli import AttestCli
from support.http_receiver import Receiver
from support.pool import SimPool


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, sim_pool: SimPool) -> AttestCli:
    return AttestCli(tmp_path_factory.mktemp("home") / "station", sim_pool).ready()


def _files(station: AttestCli, place: Path, *baselines: str) -> tuple[str, str]:
    """A signed file and the key that it is signed with."""
    file, key = place / "baselines.jws", place / "station.jwks"
    station.good("baseline", "export", *baselines, "--output", str(file))
    key.write_text(station.good("keys", "jwks"))
    return str(file), str(key)


def test_from_one_station_to_another(station: AttestCli, sim_pool: SimPool, tmp_path: Path) -> None:
    file, key = _files(station, tmp_path, "installed@host1", "installed@host2")
    other = AttestCli(tmp_path / "other", sim_pool).ready(label="")
    assert other.run("attest").status == 3
    taken = other.json("baseline", "import", file, "--key", key)
    assert [one["label"] for one in taken] == ["installed", "installed"] and not taken[0]["hosts"]
    for one in taken:
        name = next(host.name for host in sim_pool.hosts if host.uuid == one["source_host"])
        other.good("baseline", "assign", one["id"], "--host", name)
    assert other.run("attest").status == 0
    again = other.run("baseline", "import", file, "--key", key)
    assert again.status == 1 and "here already" in again.err


def test_a_file_that_somebody_else_signed(station: AttestCli, sim_pool: SimPool, tmp_path: Path) -> None:
    file, _ = _files(station, tmp_path, "installed@host1")
    other = AttestCli(tmp_path / "other", sim_pool)
    other.good("init")
    own = tmp_path / "own.jwks"
    own.write_text(other.good("keys", "jwks"))
    ended = other.run("baseline", "import", file, "--key", str(own))
    assert ended.status == 1 and "no trusted key has signed this file" in ended.err
    ended = other.run("baseline", "import", "/nowhere", "--key", str(own))
    assert ended.status == 1 and "/nowhere" in ended.err
    ended = other.run("baseline", "import", file, "--key", file)
    assert ended.status == 1 and "hint: " in ended.err
    assert other.json("baseline", "list") == []


def test_retired_assigned_unassigned(station: AttestCli) -> None:
    station.good("baseline", "capture", "host1", "--label", "second")
    assert station.run("attest", "host1").status == 0
    station.good("baseline", "retire", "installed@host1")
    assert station.run("attest", "host1").status == 0
    station.good("baseline", "unassign", "second", "--host", "host1")
    assert station.json("attest", "host1", status=3)[0]["state"] == "pending-approval"
    assert "counts for host1" in station.good("baseline", "assign", "second", "--host", "host1")
    assert station.run("attest", "host1").status == 0
    ended = station.run("baseline", "retire", "installed@host1")
    assert ended.status == 1 and "is retired" in ended.err and "cannot come back" in ended.err
    ended = station.run("baseline", "retire", "installed")  # of the two the one that is not retired
    assert ended.status == 0 and "No baseline counts any more for host2" in ended.err
    station.good("baseline", "capture", "host2", "--label", "installed")
    ended = station.run("baseline", "assign", "second")
    assert ended.status == 1 and "--host HOST or --group GROUP" in ended.err
    labels = {one["label"]: one["retired_at"] for one in station.json("baseline", "list", "--retired")}
    assert labels["second"] is None


def test_what_counts_for_the_group_alone_is_approved_for_the_host(sim_pool: SimPool, tmp_path: Path) -> None:
    """The group's values fit, but the host has none of its own for what is per host."""
    station = AttestCli(tmp_path / "station", sim_pool).ready(label="")
    policy = tmp_path / "mine.toml"
    policy.write_text(
        'version = 1\nname = "mine"\ntitle = "x"\nboot = "firmware"\n'
        "[pcrs.sha256]\nshared = [0]\nper_host = [2]\n"
    )
    station.good("policy", "assign", str(policy))
    station.good("baseline", "capture", "host1", "--label", "group's", "--for-group")
    (result,) = station.json("attest", "host2", status=3)
    assert result["state"] == "pending-approval"
    shown = station.good("baseline", "approve", "host2", "--yes")
    assert "does not count for it by itself" in shown and "nothing to approve" not in shown
    assert station.run("attest", "host2").status == 0
    assert "nothing to approve" in station.good("baseline", "approve", "host2", "--yes")


def test_nobody_approves_what_was_not_shown(sim_pool: SimPool, tmp_path: Path) -> None:
    """With --json the differences are shown beside the question, which is asked on the terminal."""
    station = AttestCli(tmp_path / "station", sim_pool).ready()
    sim_pool.edit("host2", "initrd")
    sim_pool.reboot("host2")
    ended = station.typed(["baseline", "approve", "host2", "--json"], {"from now on": "no"})
    assert ended.status == 1 and "PCR 9 (sha256)" in ended.out and "nothing was approved" in ended.out
    assert station.run("attest", "host2").status == 3


def test_capture_says_whom(station: AttestCli) -> None:
    ended = station.run("baseline", "capture", "--label", "x")
    assert ended.status == 1 and "--all" in ended.err
    ended = station.run("baseline", "capture", "host1", "--all", "--label", "x")
    assert ended.status == 1


def test_another_tpm_cannot_be_captured_or_approved(sim_pool: SimPool, tmp_path: Path) -> None:
    station = AttestCli(tmp_path / "station", sim_pool).ready()
    sim_pool.replace_tpm("host2")
    (result,) = station.json("attest", "host2", status=3)
    assert result["state"] == "untrusted-key"
    for words in (["capture", "host2", "--label", "x"], ["approve", "host2", "--yes"]):
        ended = station.run("baseline", *words)
        assert ended.status == 1 and "cannot be made reference values" in ended.err, ended
        assert "enroll --replace --host host2 --ek-ca" in ended.err
    ended = station.run("enroll", *station.ek_ca())
    assert ended.status == 1 and "enroll --replace --host host2 --ek-ca" in ended.err
    done = station.json("enroll", "--replace", "--host", "host2", *station.ek_ca())
    assert [host["outcome"] for host in done["hosts"]] == ["replaced"]
    assert station.run("attest", "host2").status == 0


def test_a_host_that_is_off(station: AttestCli, sim_pool: SimPool, tmp_path: Path) -> None:
    quick = tmp_path / "quick.toml"
    text = station.good("policy", "show", "uefi-grub").replace("[timing]", '[timing]\nbackoff = "100ms"')
    quick.write_text(text)
    station.good("policy", "assign", str(quick))
    sim_pool.power_off("host2")
    try:
        ended = station.run("baseline", "capture", "host2", "--label", "x")
        assert ended.status == 1 and "hint: Look at the host's power" in ended.err
        (result,) = station.json("attest", "host2", status=3)
        assert result["state"] == "unreachable"
    finally:
        sim_pool.power_on("host2")


def test_every_mistake_in_a_policy(tmp_path: Path) -> None:
    station = AttestCli(tmp_path / "none")
    policy = tmp_path / "bad.toml"
    policy.write_text(
        'version = 1\nname = "x"\ntitle = "x"\nboot = "uefi"\ncolour = "red"\n'
        '[pcrs.sha1]\nshared = [0]\n[timing]\nperiod = "1x"\n[findings]\nSIGNATURE_INVALID = "warning"\n'
    )
    ended = station.run("policy", "check", str(policy))
    assert ended.status == 1 and ended.out.count("bad.toml: ") >= 5
    for path in ("boot", "colour", "pcrs.sha1", "timing.period", "findings.SIGNATURE_INVALID"):
        assert path in ended.out, path
    told = station.run("policy", "check", str(policy), "--json")
    assert told.status == 1 and len(json.loads(told.out)["mistakes"]) >= 5
    policy.write_text(station.good("policy", "show", "txt"))
    assert "good" in station.good("policy", "check", str(policy))
    assert "bad.toml" in station.run("policy", "check", "/nowhere/bad.toml").err
    ended = station.run("policy", "check", str(policy))
    assert "called txt" not in ended.err  # word for word the ready one
    policy.write_text(policy.read_text().replace("period", "# period"))
    ended = station.run("policy", "check", str(policy))
    assert ended.status == 0 and "A ready policy that says something else is called txt" in ended.err
    ended = station.run("policy", "show", "tx")
    assert ended.status == 1 and "uefi-grub, txt, firmware" in ended.err


def test_a_webhook(station: AttestCli, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + "QUJD" * 10)
    secret.chmod(0o600)
    with Receiver() as receiver, (station.home / "station.toml").open("a") as config:
        config.write('\n[[notify]]\nname = "hook"\ntype = "webhook"\n')
        config.write(f'url = "{receiver.url}"\nsecret_file = "{secret}"\n')
        config.flush()
        assert "delivered" in station.good("channels", "test", "hook")
        assert json.loads(receiver.got[-1].body)["event"] == "test"
        receiver.answers = [500]
        ended = station.run("channels", "test", "hook")
        assert ended.status == 1 and "500" in ended.err
    ended = station.run("channels", "test", "hok")
    assert ended.status == 1 and "there are: messages, marks, hook" in ended.err
    assert station.run("channels", "test", "marks").status == 1
    assert "--host HOST" in station.run("channels", "test", "messages").err
    station.good("channels", "test", "messages", "--host", "host1")
    names = [one["name"] for one in station.json("channels")]
    assert names == ["messages", "marks", "hook"]


def test_a_label_that_is_given_again_after_retiring(station: AttestCli) -> None:
    for _ in range(2):
        station.good("baseline", "capture", "host1", "--label", "again")
        station.good("baseline", "retire", "again@host1")
    ended = station.run("baseline", "retire", "again@host1")
    assert ended.status == 1 and "'again' is retired" in ended.err
    third = station.json("baseline", "capture", "host1", "--label", "again")[0]["baseline"]["id"]
    assert third[:8] in station.good("baseline", "retire", "again@host1")


def test_a_group_that_nobody_knows(station: AttestCli) -> None:
    baseline = station.json("baseline", "capture", "host1", "--label", "grouped")[0]["baseline"]["id"]
    ended = station.run("baseline", "assign", baseline, "--group", "rakc7")
    assert ended.status == 1 and "there is no group 'rakc7'" in ended.err and "default" in ended.err
    station.good("policy", "assign", "uefi-grub", "--group", "rack7")
    assert "group rack7" in station.good("baseline", "assign", baseline, "--group", "rack7")
