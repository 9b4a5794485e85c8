"""The command line's grammar: every command has help with an example that it understands itself."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from xentpm_lib.verifier.cli import command_line
from xentpm_lib.verifier.cli.grammar import PROGRAM, Parser

ROOT = Path(__file__).resolve().parents[4]
PHRASE = re.compile(r"xentpm-attest ((?:[a-z][a-z-]+)(?: [a-z][a-z-]+)?)")
NO_COMMANDS = {"on", "uses", "and", "in", "is", "as", "itself", "runs", "for", "that", "only", "refuses"}


def _leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Parser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from _leaves(child, (*words, name))
    if parser.get_default("run") is not None:
        assert isinstance(parser, Parser)
        yield " ".join(words), parser


GRAMMAR = command_line.parser(list(command_line.COMMANDS))
LEAVES = dict(_leaves(GRAMMAR))


def _examples(parser: argparse.ArgumentParser) -> list[list[str]]:
    assert parser.epilog is not None
    head, _, text = parser.epilog.partition("\n")
    assert head == "example:"
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line.split(" > ")[0]) for line in lines]


def test_every_command_that_was_asked_for_is_there() -> None:
    wanted = """init|enroll|forget|hosts|show|attest|watch|explain|history|token|group|asset-tag|channels
        channels test|audit export|keys jwks|store prune|store check|pool list|pool pin|pool password
        policy check|policy list|policy show|policy assign|baseline capture|baseline list|baseline show
        baseline diff|baseline approve|baseline retire|baseline assign|baseline unassign|baseline export
        baseline import"""
    assert set(re.split(r"\||\s*\n\s*", wanted)) <= set(LEAVES)


@pytest.mark.parametrize("name", LEAVES)
def test_help_has_an_example_that_the_command_takes(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # argparse fills the terminal, however wide
    for example in _examples(LEAVES[name]):
        assert example[0] == PROGRAM
        arguments, unknown = GRAMMAR.parse_known_args(example[1:])
        assert not unknown and callable(arguments.run), example
    assert any(example[1 : 1 + len(name.split())] == name.split() for example in _examples(LEAVES[name]))
    with pytest.raises(SystemExit) as ended:
        command_line.run([*name.split(), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "example:" in shown and max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize("name", LEAVES)
def test_json_and_home_stand_anywhere(name: str) -> None:
    example = next(one for one in _examples(LEAVES[name]) if one[1 : 1 + len(name.split())] == name.split())
    before, _ = GRAMMAR.parse_known_args(["--json", "--home", "/x", *example[1:]])
    behind, _ = GRAMMAR.parse_known_args([*example[1:], "--json", "--home", "/x"])
    for arguments in (before, behind):
        assert (arguments.json, arguments.home) == (True, "/x")


def test_no_password_goes_on_the_command_line() -> None:
    for parser in LEAVES.values():
        for action in parser._actions:
            for option in action.option_strings:
                assert option in ("--password-file", "--keep-password") or "password" not in option


def _sources() -> list[Path]:
    files = [
        *(ROOT / "xentpm_lib" / "verifier").rglob("*.py"),
        *(ROOT / "xentpm_lib/simulator").rglob("*.py"),
    ]
    return sorted([*files, *(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


@pytest.mark.parametrize("path", _sources(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_that_is_named_anywhere_exists(path: Path) -> None:
    for phrase in PHRASE.findall(path.read_text("utf-8")):
        first, _, second = phrase.partition(" ")
        if first in NO_COMMANDS:
            continue
        assert first in command_line.COMMANDS, f"xentpm-attest {phrase}"
        groups = {name.split()[0] for name in LEAVES if " " in name}
        if first in groups and second:
            assert phrase in LEAVES or first in LEAVES, f"xentpm-attest {phrase}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hots"], "there is no command 'hots'; did you mean hosts?"),
        (["zzz"], "there is no command 'zzz'; there are: init"),
        (["baseline", "aprove", "h"], "there is no command 'aprove'; did you mean approve?"),
        (["hosts", "--state", "trustd"], "there is no state 'trustd'; did you mean trusted?"),
        (["hosts", "--jsn"], "there is no option or argument '--jsn' here"),
        (["hosts", "--home", ""], "wanted a directory, got nothing"),
        (["show"], "the following arguments are required: HOST"),
        (["show", "a", "b"], "there is no option or argument 'b' here"),
        (["baseline"], "a command is missing; there are: capture, approve, "),
        (["pool"], "a command is missing; there are: list, pin, password"),
        (["store"], "a command is missing; there are: "),
        (["keys"], "a command is missing; there are: jwks"),
        (["baseline", "capture", "h"], "the following arguments are required: --label"),
        (["baseline", "capture", "h", "--label", " "], "wanted 1 to 100 printable characters"),
        (["baseline", "capture", "h", "--label", "a\x1b[31m"], "wanted 1 to 100 printable characters"),
        (["history", "h", "--limit", "0"], "wanted a number from 1 to 100000, got '0'"),
        (["history", "h", "--limit", "\u0663"], "wanted a number"),
        (["asset-tag", "h", "12"], "wanted 40, 64 or 96 hex digits"),
        (["asset-tag", "h", "00" * 20, "--none"], "not allowed with argument"),
        (["enroll", "u", "--pin", "12:34"], "wanted a SHA-256 fingerprint, 64 hex digits"),
        (["enroll", "u", "--pin", "0" * 64, "--ca", "f"], "not allowed with argument"),
        (["enroll", "u", "--keep-password", "plain"], "there is no how 'plain'"),
        (["enroll", "u", "--password", "secret"], "there is no option or argument '--password' here"),
        (["policy", "show"], "one of the arguments NAME --group is required"),
        ([], "a command is missing; there are: init, enroll, forget, "),
    ],
)
def test_wrong_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.run(words)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and said in err and len(lines) == 2
    assert lines[0].startswith("xentpm-attest: ") and lines[1].startswith("hint: xentpm-attest")
    assert lines[1].endswith("--help has an example.")


def test_fingerprints_are_taken_as_openssl_and_browsers_write_them() -> None:
    plain = "0123456789abcdef" * 4
    colons = ":".join(plain[at : at + 2] for at in range(0, 64, 2)).upper()
    arguments = GRAMMAR.parse_args(["enroll", "u", "--pin", colons, "--pin", f"SHA256:{plain}"])
    assert arguments.pin == [plain, plain]


@pytest.mark.parametrize(
    ("words", "said"), [([], "enroll "), (["baseline"], "approve "), (["hosts"], "--state ")]
)
def test_help_is_a_command(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.run(["help", *words])
    assert ended.value.code == 0 and said in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.run(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"xentpm-attest \d+\.\d+\.\d+\n", capsys.readouterr().out)
