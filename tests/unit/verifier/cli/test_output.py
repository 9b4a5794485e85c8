"""Output: nothing of a host reaches a terminal as a control character; errors are told in words."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester
from xentpm_lib.errors import PolicyError, UsageError
from xentpm_lib.verifier.cli import command_line, output, prompts
from xentpm_lib.verifier.cli.output import Output, clean, clean_lines, tell
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.ledger_bodies import host_enrolled, note, pool_added
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, ReferenceUsed, TpmClock
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredResult
from xentpm_lib.verifier.store.store import Store

EVIL = "host\x1b]0;pwned\x07\x1b[2J\r\u202e\u200bx"


def test_clean() -> None:
    shown = clean(EVIL)
    assert shown.isprintable() and "host" in shown and "\\x1b" in shown
    assert clean("a\nb") == "a\\nb"
    assert clean_lines("a\nb\x1b") == "a\nb\\x1b"
    assert clean("naïve – ok") == "naïve – ok"


def test_nothing_reaches_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    out.text(EVIL)
    out.note(EVIL)
    out.table(["HOST", "[red]"], [[EVIL, "[bold]x[/bold]"], ["y", ":smile:"]])
    said = "".join(capsys.readouterr())
    assert all(char.isprintable() or char == "\n" for char in said)
    assert "[bold]x[/bold]" in said and ":smile:" in said and "[red]" in said


def test_a_table_in_a_pipe_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(["A", "B"], [["a" * 90, "b" * 90]])
    assert "a" * 90 + "  " + "b" * 90 in capsys.readouterr().out


@pytest.mark.parametrize("columns", [50, 60, 80, 120])
def test_a_narrow_terminal_breaks_no_word(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    uuid, state, why = (
        "eb1efe05-d02d-4f37-b7dc-0123456789ab",
        "untrusted-measurement",
        "boot configuration " * 9,
    )
    names = ["HOST", "POOL", "STATE", "ATTESTED", "WHY"]
    monkeypatch.setenv("COLUMNS", str(columns))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    row = ["host1", "the pool of rack 7", state, "5 min ago", why]
    Output().table(names, [row], drop=["POOL", "ATTESTED"], cut=True)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", sys.stdout.getvalue()).splitlines()
    assert len(shown) == 2 and max(map(len, shown)) <= columns and shown[1].endswith("...")
    assert state in shown[1] and ("the pool of rack 7" in shown[1]) is (columns >= 80)
    Output().table(["HOST", "UUID", "OUTCOME", "KEY"], [["host1", uuid, "enrolled", why]])
    assert uuid in sys.stdout.getvalue()


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).document({"name": EVIL})
    text = capsys.readouterr().out
    assert text.isascii() and "\x1b" not in text and json.loads(text) == {"name": EVIL}
    with pytest.raises(ValueError):
        Output().document(float("nan"))


def test_a_terminal_that_does_not_know_the_character(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    Output().text("pöol")
    assert raw.getvalue() == b"p\\xf6ol\n"


def test_no_room_for_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(UsageError, match="cannot be written: No space left") as error:
            Output().text("x")
    assert error.value.code == "XENTPM_IO"


def test_no_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    tell("x")
    with Output().progress("work", 3) as progress:
        progress.expect(4)
        progress.advance("one")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UsageError("what", "do"), "xentpm-attest: what (XENTPM_BAD_ARGUMENT)\nhint: do\n"),
        (PolicyError("what"), "xentpm-attest: what (XENTPM_POLICY)\n"),
        (
            CollectionError("HOST_OFFLINE", "off"),
            "xentpm-attest: off (XENTPM_COLLECTION)\nhint: Look at the host's power and network.\n",
        ),
        (
            FileNotFoundError(2, "No such file", "/x"),
            "xentpm-attest: /x: No such file (XENTPM_IO)\nhint: Look at the path",
        ),
        (BrokenPipeError(), ""),
        (
            ZeroDivisionError("oops"),
            "xentpm-attest: this is a defect of xentpm: ZeroDivisionError: oops (XENTPM_INTERNAL)\nhint",
        ),
    ],
)
def test_errors_are_told_in_words(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_words: object) -> int:
        raise error

    monkeypatch.setattr(command_line, "_run", fails)
    monkeypatch.setattr(command_line, "discard_stdout", lambda: None)
    assert command_line.run(["hosts"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(said) and "Traceback" not in err


def test_errors_have_codes_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(tmp_path / "none")
    assert command_line.run(["hosts", "--json", "--home", home]) == 1
    said = capsys.readouterr()
    assert said.out.count("\n") == 1 and said.err.startswith("xentpm-attest: there is no station in ")
    assert json.loads(said.out) == {
        "error": {
            "code": "XENTPM_BAD_ARGUMENT",
            "message": f"there is no station in {home}",
            "hint": "Make one: xentpm-attest init",
        }
    }
    assert command_line.run(["hosts", "--home", home]) == 1
    assert capsys.readouterr().out == ""
    assert command_line.run(["policy", "check", str(tmp_path / "x.toml"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "XENTPM_IO"


def test_a_result_that_a_watch_stores_meanwhile_is_not_from_the_future(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is as of when the results were read, not of when the command began."""
    host = SoftwareAttester(pool_id="p-1")
    pool = PoolRecord("p-1", "pool", ("https://a",), TlsTrust(pins=("ab" * 32,)))
    with Station.init(tmp_path / "s") as station:
        station.store.append_all([pool_added(pool), host_enrolled(host.record())], who="jo")

    def latest(_store: Store) -> dict[str, Any]:
        trusted = (ReferenceUsed("r", "as installed", True),), TpmClock(1, 1, 1, True, 1)
        now = time.time()
        names = (host.host_id, host.name, host.pool_id)
        found = AttestationResult(*names, (), now, now + 900, PolicyUsed("a", "b"), *trusted)
        return {host.host_id: StoredResult(1, found)}

    monkeypatch.setattr(Store, "latest", latest)
    for words in (["hosts"], ["show", "host1"]):
        assert command_line.run([*words, "--json", "--home", str(tmp_path / "s")]) == 0
        assert '"state": "trusted"' in capsys.readouterr().out


def test_a_store_that_needs_no_restore_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["store", "restored", "--yes", "--home", str(tmp_path / "s")]
    with Station.init(tmp_path / "s") as station:
        station.store.append_all([note("store", text) for text in "ab"], who="jo")
    before = (tmp_path / "s/keys/ledger.head").read_bytes()
    assert command_line.run(words) == 0
    assert "Nothing was changed" in capsys.readouterr().out
    assert command_line.run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"entries": 2, "restored": False}
    assert (tmp_path / "s/keys/ledger.head").read_bytes() == before
    (tmp_path / "s/keys/ledger.head").unlink()
    assert command_line.run(["hosts", "--home", str(tmp_path / "s")]) == 1
    assert command_line.run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"entries": 3, "restored": True}


@pytest.mark.parametrize("words", [["hosts", "--wrong"], ["show"], ["nothing"], ["hosts", "--state", "x"]])
def test_wrong_usage_has_a_code_for_programs(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.run(["--json", *words])
    assert ended.value.code == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "XENTPM_BAD_ARGUMENT" and error["message"] and "--help" in error["hint"]


def test_an_error_that_stdout_does_not_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert command_line.run(["hosts", "--json", "--home", str(tmp_path)]) == 1
    assert "there is no station" in capsys.readouterr().err


def test_a_broken_pipe_is_not_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(BrokenPipeError):
            Output().text("x" * 100_000)
        pipe.write("more")  # goes nowhere, and does not fail


def test_the_password_s_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("from file\n")
    file.chmod(0o600)
    monkeypatch.setenv(prompts.PASSWORD_VARIABLE, "from environment")
    assert prompts.password("root", str(file)) == "from file"
    assert prompts.password("root", None) == "from environment"
    monkeypatch.delenv(prompts.PASSWORD_VARIABLE)
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed\n"))
    with pytest.raises(UsageError, match="no terminal") as error:
        prompts.password("root at pool", None)
    assert "--password-file" in error.value.hint
    with pytest.raises(UsageError, match="nothing was done"):
        prompts.confirm("Sure?", "nothing was done", "--yes")


def test_a_password_file_that_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o644)
    with pytest.raises(UsageError) as error:
        prompts.password_of_file(str(file))
    assert "secret\n" not in error.value.message and "0644" in error.value.message


def test_main_answers_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    from xentpm_lib.verifier import cli

    def interrupted(_words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "run", interrupted)
    assert cli.main(["hosts"]) == 130
    assert output.__all__
