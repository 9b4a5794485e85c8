"""Commands that look at a station or change it and ask no host, in one process."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester
from support.stores import make_notification, make_result
from xentpm_lib.verifier import ledger_bodies as bodies
from xentpm_lib.verifier.cli import command_line
from xentpm_lib.verifier.ledger_bodies import StateChange
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.records import PoolRecord, TlsTrust, UnenrolledHost
from xentpm_lib.verifier.result import ReferenceUsed, State
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store import Recorded

POOL = PoolRecord(
    "0ed0a2b6-0000-4000-8000-000000000001", "pool one", ("https://192.0.2.7",), TlsTrust("", ("ab" * 32,))
)
ONE, TWO = (
    SoftwareAttester(name="one", pool_id=POOL.pool_id),
    SoftwareAttester(name="two", pool_id=POOL.pool_id),
)
STRANGER = UnenrolledHost("7d1f7c0e-3f2b-4a3e-8f0f-3a2a6a1d4a22", POOL.pool_id, "three", 1.7e9)
POLICY = shipped("firmware")
GOOD, CHANGED = ONE.reference(label="installed"), ONE.reference(label="update")
CHANGED.pcrs["sha256"][0] = bytes(31) + b"\1"


class Desk:
    """A station with two enrolled hosts, one that is not, and two baselines of the first."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys, self.now = home, capsys, time.time()
        with Station.init(home, "version = 1\n") as station:
            enrolled = [bodies.host_enrolled(host.record(enrolled_at=self.now - 60)) for host in (ONE, TWO)]
            changes = [bodies.state_changed(StateChange(ONE.host_id, None, State.TRUSTED, self.now - 9))]
            baselines = [bodies.reference_added(one) for one in (GOOD, CHANGED)]
            first = [bodies.pool_added(POOL), bodies.policy_assigned("default", POLICY.text)]
            station.store.append_all([*first, *enrolled, *baselines, bodies.host_seen(STRANGER)], "jo")
            result = make_result(
                ONE.host_id,
                appraised_at=self.now - 9,
                expires_at=self.now + 900,
                host_serial=3,
                policy=POLICY.used,
                references=(ReferenceUsed(GOOD.reference_id, GOOD.label, True),),
            )
            body = json.dumps({"version": 1, "event": "state_changed", "state": "trusted"})
            told = make_notification("hook", ONE.host_id, body, created_at=self.now - 9)
            station.store.record([Recorded(result, None, (told,), tuple(changes))])

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        """The two outputs of a command that has to end with that status."""
        ended = command_line.run([*words, "--home", str(self.home)])
        said = self._capsys.readouterr()
        assert ended == status, said
        return said.out, said.err

    def json(self, *words: str, status: int = 0) -> Any:
        return json.loads(self.run(*words, "--json", status=status)[0])


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path / "station", capsys)


def test_hosts_with_those_that_nobody_enrolled(desk: Desk) -> None:
    out, _ = desk.run("hosts", status=3)
    assert [line.split()[0] for line in out.splitlines()] == ["HOST", "one", "two", "three"]
    assert "not-enrolled" in out and "nobody enrolled it" in out
    states = {one["host"]["name"]: one["state"] for one in desk.json("hosts", status=3)}
    assert states == {"one": "trusted", "two": "stale", "three": "not-enrolled"}
    assert len(desk.json("hosts", "--state", "not-enrolled", status=3)) == 1
    assert len(desk.json("hosts", "--state", "trusted")) == 1
    assert len(desk.json("hosts", "--group", "default", status=3)) == 2
    assert len(desk.json("hosts", "--pool", "pool one", status=3)) == 3
    assert "there is no pool" in desk.run("hosts", "--pool", "other", status=1)[1]


def test_a_host_that_nobody_enrolled(desk: Desk) -> None:
    for command in ("show", "explain"):
        out, _ = desk.run(command, "three", status=3)
        assert "three is not enrolled." in out and "enroll https://192.0.2.7 --host 7d1f7c0e" in out
        assert desk.json(command, "three", status=3)["state"] == "not-enrolled"
    assert "seen in its pool" in desk.run("history", "three")[0]
    assert "is not enrolled" in desk.run("attest", "three", status=1)[1]
    assert "not watched any more" in desk.run("forget", "three", "--yes")[0]
    assert {one["host"]["name"] for one in desk.json("hosts", status=3)} == {"one", "two"}


def test_one_host(desk: Desk) -> None:
    out, _ = desk.run("show", "one")
    assert " is trusted" in out and "Result holds for" in out and "installed, update" in out
    assert desk.json("show", "one")["baselines"] == ["installed", "update"]
    assert "Next: xentpm-attest attest two" in desk.run("show", "two", status=3)[1]
    assert desk.run("explain", "one")[0].partition("\n")[0].endswith(" is trusted.")
    assert "never attested" in desk.run("explain", "two", status=1)[1]
    with Station.open(desk.home) as station:
        late = make_result(ONE.host_id, appraised_at=desk.now - 5, expires_at=desk.now - 1, host_serial=3)
        station.store.record([Recorded(late)])
    assert "expired" in desk.run("show", "one", status=3)[0]


def test_history_of_all_kinds(desk: Desk) -> None:
    with Station.open(desk.home) as station:
        moved = replace(station.registry.host("one"), name="uno", pool_id="p-2")
        number = GOOD.reference_id
        items = [
            bodies.host_group(ONE.host_id, "lab"),
            bodies.policy_assigned("lab", POLICY.text),
            bodies.asset_tag_expected(ONE.host_id, bytes(20)),
            bodies.asset_tag_expected(ONE.host_id, None),
            bodies.reference_unassigned(number, hosts=[ONE.host_id]),
            bodies.reference_assigned(number, hosts=[ONE.host_id]),
            bodies.reference_retired(number, desk.now),
            bodies.host_updated(moved),
            bodies.host_enrolled(replace(moved, pool_id=POOL.pool_id)),
            bodies.host_removed(ONE.host_id),
        ]
        station.store.append_all(items, who="jo")
    told = [one["what"] for one in desk.json("history", ONE.host_id, "--results", "--notifications")]
    wanted = [
        "enrolled (EK",
        "baseline captured: installed",
        "new -> trusted",
        "put into the group lab",
        "policy assigned to its group lab",
        f"asset tag expected: {'00' * 20}",
        "asset tag expected: none",
        "baseline taken away: installed",
        "baseline assigned: installed",
        "baseline retired: installed",
        "enrolment updated: the same keys; pool p-2, name uno",
        "enrolled anew",
        "forgotten",
        "attested, trusted",
        "hook",
    ]
    assert [text for text in wanted if not any(text in one for one in told)] == []
    assert len(desk.run("history", ONE.host_id, "--limit", "2")[0].splitlines()) == 3
    assert "no enrolled host" in desk.run("history", "nobody", status=1)[1]


def test_baselines(desk: Desk, tmp_path: Path) -> None:
    assert {one["label"] for one in desk.json("baseline", "list")} == {"installed", "update"}
    assert "installed" in desk.run("baseline", "list", "--host", "one")[0]
    shown = desk.run("baseline", "show", "installed@one")[0]
    assert GOOD.pcrs["sha256"][0].hex() in shown
    assert desk.json("baseline", "show", GOOD.reference_id[:8])["label"] == "installed"
    differs, _ = desk.run("baseline", "diff", "installed", "update")
    assert "PCR 0 (sha256)" in differs and CHANGED.pcrs["sha256"][0].hex() in differs
    assert desk.json("baseline", "diff", "installed", "installed") == []
    desk.run("baseline", "assign", "installed", "--host", "two", "--group", "default")
    desk.run("baseline", "unassign", "installed", "--group", "default")
    file, key = tmp_path / "baselines.jws", tmp_path / "key.jwks"
    desk.run("baseline", "export", "installed", "--output", str(file))
    key.write_text(desk.run("keys", "jwks")[0])
    assert "here already" in desk.run("baseline", "import", str(file), "--key", str(key), status=1)[1]
    assert "No baseline counts" not in desk.run("baseline", "retire", "update")[1]
    bare = desk.run("baseline", "retire", "installed")[1]
    assert "No baseline counts any more for one, two" in bare
    assert "is retired" in desk.run("baseline", "retire", "installed", status=1)[1]
    assert "there are no reference values" in desk.run("baseline", "show", "nothing", status=1)[1]


def test_policies_groups_and_tags(desk: Desk, tmp_path: Path) -> None:
    assert "firmware" in desk.run("policy", "list")[0]
    assert desk.json("policy", "show", "txt")["name"] == "txt"
    assert "boot" in desk.run("policy", "show", "--group", "default")[0]
    assert "--group GROUP" in desk.run("policy", "show", "mine", status=1)[1]
    file = tmp_path / "mine.toml"
    file.write_text(POLICY.text + "surplus = 1\n")
    assert "there is no such key" in desk.run("policy", "check", str(file), status=1)[0]
    file.write_text(POLICY.text.replace("[timing]", '[timing]\nbackoff = "1s"'))
    assert "says something else" in desk.run("policy", "check", str(file))[1]
    file.write_text(file.read_text().replace('"firmware"', '"mine"', 1))
    desk.run("policy", "assign", str(file), "--group", "rack7")
    assert "two" in desk.run("group", "rack7", "two")[0]
    assert "has no policy" in desk.run("group", "nowhere", "two", status=1)[1]
    desk.run("asset-tag", "one", "ab" * 20)
    assert "ab" * 20 in desk.run("show", "one")[0]
    desk.run("asset-tag", "one", "--none")


def test_channels_and_upkeep(desk: Desk, tmp_path: Path) -> None:
    assert "hook" in desk.run("channels")[0]
    assert "hook" in {one["name"] for one in desk.json("channels")}
    assert "as it was written" in desk.run("store", "check")[0]
    exported = tmp_path / "audit.jsonl"
    desk.run("audit", "export", "--output", str(exported))
    kinds = {json.loads(line)["type"] for line in exported.read_text().splitlines()}
    assert kinds == {"ledger", "result", "notification"}
    assert exported.stat().st_mode & 0o777 == 0o600
    desk.run("store", "prune")
    assert "pool one" in desk.run("pool", "list")[0]
