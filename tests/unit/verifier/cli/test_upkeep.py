"""``store`` and ``audit`` at the command line, on a station without hosts."""

from __future__ import annotations

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
