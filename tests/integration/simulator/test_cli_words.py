"""What ``xentpm-sim`` says and takes: hints, wrong words, odd terminals, a shell in dom0."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import fake_machine
from xentpm_lib import __version__

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, fake_machine.__file__]
TYPED = f"{sys.executable} {fake_machine.__file__}"
Sim = Callable[..., "subprocess.CompletedProcess[bytes]"]
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pool")


@pytest.fixture(scope="module")
def sim(place: Path) -> Sim:
    def run(*arguments: "str | bytes", **more: str) -> "subprocess.CompletedProcess[bytes]":
        variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(place), **more}
        variables["COLUMNS"] = "80"
        return subprocess.run([*PROGRAM, *arguments], capture_output=True, env=variables, timeout=100)

    return run


@pytest.fixture(scope="module")
def pool(place: Path) -> Iterator[Path]:
    """A pool in a directory with a name that has to be quoted and no ASCII; ends with its stdin."""
    directory = place / "my pöol"
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(place)}
    with subprocess.Popen(
        [*PROGRAM, "up", "--hosts", "2", "--until-eof", "--dir", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**variables, "PYTHONIOENCODING": "ascii"},
    ) as process:
        assert process.stdout is not None
        text = b""
        while b"Ctrl-C ends it" not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        (directory / "said").write_bytes(text)
        yield directory
        process.communicate()


def test_one_host_one_tpm(sim: Sim, tmp_path: Path) -> None:
    ended = subprocess.run(
        [*PROGRAM, "up", "--until-eof"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(tmp_path)},
        input="",
    )
    assert ended.returncode == 0 and "each" not in ended.stderr


def test_what_to_try_names_the_directory(pool: Path) -> None:
    said = (pool / "said").read_bytes().decode("ascii")
    escaped = str(pool).encode("ascii", "backslashreplace").decode()
    assert f"  {TYPED} xe --dir '{escaped}' host-list\n" in said
    assert f"  {TYPED} host run --dir '{escaped}' host1 xentpm --status\n" in said


def test_found_whatever_the_environment_says(sim: Sim, pool: Path, tmp_path: Path) -> None:
    assert sim("host", "list", XDG_RUNTIME_DIR=str(tmp_path)).stdout.count(b"\n") == 2


def test_directory_after_the_xe_command(sim: Sim, pool: Path) -> None:
    for words in (["--dir", str(pool)], [f"--dir={pool}"]):
        assert b"host1" in sim("xe", "host-list", *words, "params=name-label", "--minimal").stdout
    ended = sim("xe", "host-list", "--dir")
    assert ended.returncode == 2 and b"argument --dir" in ended.stderr


def test_host_run(sim: Sim, pool: Path) -> None:
    hosts = json.loads(sim("host", "list", "--json").stdout)
    where = sim("host", "run", "host1", "sh", "-c", "command -v xentpm; echo $TPM2TOOLS_TCTI").stdout
    assert where.decode().splitlines() == [f"{hosts[0]['dir']}/bin/xentpm", hosts[0]["tcti"]]
    boot_tool = sim(
        "host", "run", "host1", "sh", "-c", "command -v xentpm-boot; xentpm-boot probe"
    ).stdout.decode()
    assert (
        boot_tool.startswith(f"{hosts[0]['dir']}/bin/xentpm-boot\n") and "Measured in this boot" in boot_tool
    )
    assert sim("host", "run", "host2", "sh", "-c", "exit 7").returncode == 7
    assert sim("host", "run", "host2", "--dir", str(pool), "sh", "-c", "kill -TERM $$").returncode == -15
    assert sim("host", "run", "host2", "--", "echo", "--dir").stdout == b"--dir\n"
    missing = sim("host", "run", "host2", "no-such-command")
    assert missing.returncode == 127
    assert missing.stderr == b"xentpm-sim: no-such-command: command not found\n"
    assert sim("host", "run", "host2", "/etc/passwd").returncode == 126
    assert sim("host", "run", "host2").returncode == 2


def test_a_host_that_is_off(sim: Sim, pool: Path) -> None:
    assert sim("host", "power-off", "host2").returncode == 0
    for words in (["run", "host2", "true"], ["reboot", "host2"]):
        ended = sim("host", words[0], "--dir", str(pool), *words[1:])
        assert ended.returncode == 1
        hint = f"switch it on: {TYPED} host power-on --dir '{pool}' host2"
        assert ended.stderr.decode() == f"xentpm-sim: host2 is off\nhint: {hint}\n"
    assert sim("host", "power-on", "host2").returncode == 0


@pytest.mark.parametrize("option", ["--append", "--content"])
@pytest.mark.parametrize("text", [b"\xff", b"a\x01"])
def test_text_that_cannot_be_sent(sim: Sim, pool: Path, option: str, text: bytes) -> None:
    ended = sim("host", "edit", "host1", "kernel", option, text)
    assert ended.returncode == 2 and f"argument {option}".encode() in ended.stderr
    host = "uuid=" + json.loads(sim("host", "list", "--json").stdout)[0]["uuid"]
    plugin = sim("xe", "host-call-plugin", host, "plugin=tpm", "fn=f", b"args:x=" + text)
    assert plugin.returncode == 1 and b"hint: encode it" in plugin.stderr


def test_text_that_is_too_long(sim: Sim, pool: Path) -> None:
    ended = sim("host", "edit", "host1", "kernel", "--append", "<" * 100000)
    assert ended.returncode == 1 and b"too long" in ended.stderr


def test_help(sim: Sim) -> None:
    assert sim("--version").stdout == f"xentpm-sim {__version__}\n".encode()
    listed = sim("host", "--help").stdout
    for words in (b"reset button", b"switch a host off", b"switch a host on", b"other keys", b"dom0"):
        assert words in listed
    asked = sim("xe", "help")
    assert asked.returncode == 0 and asked.stdout.strip() in sim("xe", "--help").stdout
    assert sim("xe").returncode == 1


def test_wrong_words_show_their_own_usage(sim: Sim) -> None:
    ended = sim("up", "--bogus")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"usage: xentpm-sim up ") and b"--bogus" in ended.stderr


@pytest.mark.parametrize("given", ["", b"/tmp/\xff", "/tmp/a\nb"])
def test_what_is_no_directory_at_all(sim: Sim, given: "str | bytes") -> None:
    for command in (["up"], ["host", "list"]):
        ended = sim(*command, "--dir", given)
        assert ended.returncode == 2 and b"cannot be a directory" in ended.stderr


def test_a_file_for_a_directory(sim: Sim, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for given in (tmp_path / "file", tmp_path / "file" / "below"):
        ended = sim("up", "--dir", str(given))
        assert ended.returncode == 1 and b"is not a directory\nhint: choose another" in ended.stderr


def test_several_running(sim: Sim, pool: Path, place: Path) -> None:
    variables = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(place)}
    with subprocess.Popen(
        [*PROGRAM, "up", "--json", "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=variables,
    ) as other:
        assert other.stdout is not None and other.stdout.readline()
        ended = sim("xe", "host-list")
        assert ended.returncode == 1
        hint = ended.stderr.decode().splitlines()[1]
        assert hint.startswith(f"hint: choose one, as in: {TYPED} host list --dir ")
        other.communicate()
