"""``store`` and ``audit`` at the command line, on a station without hosts."""

from __future__ import annotations

import json
import os
import sqlite3

import pytest

from xentpm_lib.verifier.cli import command_line


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "station"
    assert command_line.run(["init", "--home", str(home)]) == 0
    return home


@pytest.fixture
def run(home, capsys):
    """Run a command: exit status, standard output, standard error."""

    def run(*words):
        capsys.readouterr()
        status = command_line.run([*words, "--home", str(home)])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def test_a_decision_that_is_not_protected_yet_fails_the_command(home, run):
    """The disk that has the keys is full, or may not be written."""
    (home / "keys" / "ledger.new").mkdir()
    status, _, said = run("policy", "assign", "firmware", "--group", "default")
    assert status == 1 and "XENTPM_LEDGER_END" in said and "Do not repeat the command" in said
    status, told, _ = run("store", "check")
    assert status == 1 and "not protected yet" in told
    (home / "keys" / "ledger.new").rmdir()
    assert run("store", "check")[0] == 0
    assert "firmware" in run("policy", "list")[1]


def test_the_export_is_for_its_owner_and_whole(home, run, tmp_path):
    assert run("policy", "assign", "firmware", "--group", "default")[0] == 0
    file = tmp_path / "audit.jsonl"
    file.write_text("the last one")
    file.chmod(0o644)
    assert run("audit", "export", "--output", str(file))[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["kind"] for line in file.read_text().splitlines()] == ["policy_assigned"]
    kept = file.read_text()
    # A history that is cut off in the middle is not put in its place.
    with sqlite3.connect(home / "store.sqlite") as database:
        database.execute("DROP TRIGGER ledger_no_update")
        database.execute("UPDATE ledger SET who = 'x'")
    assert run("audit", "export", "--output", str(file))[0] == 1
    assert file.read_text() == kept
    assert sorted(os.listdir(tmp_path)) == ["audit.jsonl", "station"]


def test_the_export_into_what_is_no_file(home, run, tmp_path):
    assert run("policy", "assign", "firmware", "--group", "default")[0] == 0
    assert run("audit", "export", "--output", os.devnull)[0] == 0
    assert not os.path.isfile(os.devnull)
    assert run("audit", "export", "--output", str(tmp_path / "nowhere" / "x"))[0] == 1
