"""scripts/setup.sh says in a sentence what went wrong, and never takes a failure for success.

Each test has a copy of what the script reads. Nothing is fetched: pip has no index, apt-get does nothing.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Makes "environments" whose pip fails when its arguments contain the word in the file `fails`.
FAKE_PYTHON = """#!/bin/bash
case "$1" in
-c) echo {version} ;;
-) cat >/dev/null ;;
-m) if [ "$2" = venv ]; then
        mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
    elif [[ "$*" == *"$(<fails)"* ]]; then
        cat pip-output >&2
        exit 1
    else
        printf '%s\\n' "$*" >>calls
    fi ;;
esac
"""
LIMIT_S = 600  # a real environment is some seconds of work, on a busy machine a minute
STEPS = {
    "-r requirements/build.txt": "requirements/build.txt",
    "-r requirements/dev.txt": "requirements/dev.txt",
    "--no-deps -e .": "xentpm itself",
}
IGNORED = (
    "ERROR: Ignored the following versions that require a different python version: 2.15 Requires-Python <3"
)
NO_VERSION = (
    "ERROR: Could not find a version that satisfies the requirement XenAPI==99.99 (from versions: none)"
)


@pytest.fixture
def checkout(tmp_path):
    """What setup.sh reads, in a folder of its own; its apt-get only says that it was called."""
    copy = tmp_path / "copy"
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.py", copy)
    program(tmp_path / "bin/apt-get", "#!/bin/sh\necho apt-get was called >&2\nexit 1\n")
    program(tmp_path / "bin/sleep", "#!/bin/sh\n")
    return copy


def program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def fake_python(checkout, fails, pip_output="", version="311"):
    program(checkout.parent / "python", FAKE_PYTHON.format(version=version))
    program(checkout.parent / "bin/pkg-config", "#!/bin/sh\n")
    (checkout / "fails").write_text(fails)
    (checkout / "pip-output").write_text(pip_output + "\n")
    return str(checkout.parent / "python")


def start(checkout, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment.update(
        PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, XDG_CACHE_HOME=str(checkout.parent / "cache")
    )
    environment["PATH"] = "{}:{}".format(checkout.parent / "bin", environment["PATH"])
    return subprocess.Popen(
        ["scripts/setup.sh", *arguments], cwd=checkout, env=environment, stderr=subprocess.PIPE, text=True
    )


def set_up(checkout, *arguments):
    """Exit status and the lines that were printed."""
    process = start(checkout, *arguments)
    printed = process.communicate(timeout=LIMIT_S)[1]
    return process.returncode, printed.splitlines()


def failed(checkout, *arguments):
    """The lines printed by a set-up that has to fail, install nothing and leave no environment."""
    status, lines = set_up(checkout, *arguments)
    assert status == 1
    assert "apt-get was called" not in lines
    assert not os.path.lexists(checkout / ".venv")
    assert list((checkout.parent / "cache").glob("xentpm/*/*")) == []
    return lines


@pytest.mark.timeout(LIMIT_S + 60)
def test_a_bad_pin_ends_the_set_up(checkout):
    (checkout / "requirements/build.txt").write_text("")
    (checkout / "requirements/dev.txt").write_text("XenAPI==99.99\n")
    lines = failed(checkout, ".venv", sys.executable)
    assert lines[0].startswith("setup: making .venv")
    assert lines[1] == "setup: " + NO_VERSION
    assert lines[2] == "setup: pip could not install requirements/dev.txt into .venv"
    assert "ERROR: No matching distribution found for XenAPI==99.99" in lines


@pytest.mark.parametrize("step", STEPS)
def test_every_step_of_pip_counts(checkout, step):
    output = IGNORED + "\n" + NO_VERSION
    lines = failed(checkout, ".venv", fake_python(checkout, fails=step, pip_output=output))
    assert lines[1] == "setup: " + NO_VERSION
    assert lines[2] == "setup: pip could not install {} into .venv".format(STEPS[step])


def test_a_good_set_up_is_done_once(checkout):
    python = fake_python(checkout, fails="nothing does")
    status, lines = set_up(checkout, ".venv", python)
    assert (status, len(lines)) == (0, 1)
    calls = (checkout / "calls").read_text()
    assert all(step in calls for step in STEPS)
    assert set_up(checkout, ".venv", python) == (0, [])
    assert (checkout / "calls").read_text() == calls


def test_a_missing_network_is_told(checkout):
    output = (
        "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'Error()'\n" + NO_VERSION
    )
    lines = failed(checkout, ".venv", fake_python(checkout, fails="build.txt", pip_output=output))
    again = "setup: the package index did not deliver; trying again in {} s"
    assert lines[1:4] == [again.format(pause) for pause in (5, 20, 60)]
    assert lines[4] == "setup: " + NO_VERSION
    assert lines[5].startswith("setup: pip cannot connect to the package index")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "output",
    [
        "WARNING: Retrying (Retry(total=4, read=None)) after connection broken by 'ReadTimeoutError()'",
        "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(port=443): Read timed out.",
        "pip._vendor.urllib3.exceptions.ProtocolError: ('Connection broken: IncompleteRead(9 bytes read)')",
        "ERROR: HTTP error 502 while getting https://index/a.whl",
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
        "ERROR: Wheel 'a' located at /tmp/pip-unpack-0/a-1.0-py3-none-any.whl is invalid.",
        "zipfile.BadZipFile: File is not a zip file",
    ],
)
def test_an_index_that_fails_once_is_asked_again(checkout, step, output):
    program(checkout.parent / "bin/sleep", "#!/bin/sh\necho nothing does >fails\n")
    status, lines = set_up(checkout, ".venv", fake_python(checkout, fails=step, pip_output=output))
    assert (status, lines[1:]) == (0, ["setup: the package index did not deliver; trying again in 5 s"])
    assert all(one in (checkout / "calls").read_text() for one in STEPS)


APT_GET = """#!/bin/sh
echo "$@" >>apt-calls
case "$*" in *" install "*) [ -e mended ] && printf '#!/bin/sh\\n' >"${0%/*}/pkg-config" ;; esac
"""


def without_system(checkout, sleep):
    """The system packages are missing; apt-get can install them as soon as the file `mended` is there."""
    python = fake_python(checkout, fails="nothing does")
    program(checkout.parent / "bin/pkg-config", "#!/bin/sh\nexit 1\n")
    program(checkout.parent / "bin/id", "#!/bin/sh\necho 0\n")
    program(checkout.parent / "bin/apt-get", APT_GET)
    program(checkout.parent / "bin/sleep", "#!/bin/sh\n" + sleep)
    return python


def test_a_mirror_that_fails_once_is_asked_again(checkout):
    python = without_system(checkout, sleep=": >mended\n")
    status, lines = set_up(checkout, ".venv", python)
    assert status == 0
    assert lines[1] == "setup: apt-get could not install everything; trying again in 5 s"
    assert lines[2].startswith("setup: making .venv")
    calls = (checkout / "apt-calls").read_text().splitlines()
    assert ["update" in call for call in calls] == [True, False, True, False]


def test_a_mirror_that_fails_for_good_ends_the_set_up(checkout):
    python = without_system(checkout, sleep="")
    lines = failed(checkout, ".venv", python)
    again = "setup: apt-get could not install everything; trying again in {} s"
    assert lines[1:4] == [again.format(pause) for pause in (5, 20, 60)]
    assert lines[4].startswith("setup: apt-get could not install: make swtpm ")


def test_a_python_that_is_missing_or_too_old_changes_nothing(checkout):
    program(checkout.parent / "bin/pkg-config", "#!/bin/sh\nexit 1\n")  # system packages are missing, too
    assert failed(checkout, ".venv", "/nope")[0].startswith(
        "setup: cannot run /nope; give another one: make PYTHON="
    )
    for version in ("207", "309"):
        python = fake_python(checkout, fails="", version=version)
        assert failed(checkout, ".venv", python)[0].startswith("setup: {} is older than 3.".format(python))


def test_missing_system_packages_are_one_line_to_paste(checkout):
    python = fake_python(checkout, fails="")
    program(checkout.parent / "bin/pkg-config", "#!/bin/sh\nexit 1\n")
    program(checkout.parent / "bin/id", "#!/bin/sh\necho 1000\n")
    lines = failed(checkout, ".venv", python)
    command = "sudo sh -c 'apt-get update && apt-get install -y "
    assert lines[0].startswith("setup: system packages are missing; install them with: " + command)
    assert lines[0].endswith("'")


def test_the_second_of_two_set_ups_says_that_it_waits(checkout):
    with open(checkout / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start(checkout, ".venv", "/nope")
        assert process.stderr.readline() == "setup: waiting for another set-up in this checkout\n"
        assert process.poll() is None
    assert "cannot run /nope" in process.communicate(timeout=LIMIT_S)[1]


def test_a_checkout_that_cannot_be_written_is_told_in_a_sentence(checkout):
    (checkout / ".setup.log").mkdir()  # cannot be written, not even by root
    lines = failed(checkout, ".venv", "/nope")
    assert len(lines) == 1
    assert lines[0].startswith("setup: cannot write {}/.setup.log: use a checkout".format(checkout))
    (checkout / ".venv.lock").unlink()
    (checkout / ".venv.lock").symlink_to("missing/lock")
    lines = failed(checkout, ".venv", "/nope")
    assert len(lines) == 1
    assert lines[0].startswith("setup: cannot write to {}: use a checkout".format(checkout))
