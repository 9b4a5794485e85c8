"""What a plugin process finds, and what becomes of its outcome: the table of how XAPI runs plugins."""

import json
import os
import signal
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fake_machine import add_plugin, answering
from xentpm_lib.simulator.plugin_process import call_plugin, method_call
from xentpm_lib.simulator.watchdog import Watchdog
from xentpm_lib.simulator.xapi.errors import XapiError

# Prints what it finds as JSON, in a Success.
INSPECTOR = f"""#!{sys.executable} -I
import json, os, signal, sys
from xml.sax.saxutils import escape
try:
    os.read(0, 1)
    stdin = "readable"
except OSError as error:
    stdin = error.strerror
found = {{
    "argv": sys.argv,
    "environment": dict(os.environ),
    "stdin": stdin,
    "leader": os.getsid(0) == os.getpid(),
    "group": os.getpgid(0) == os.getpid(),
    "sigpipe": [l for l in open("/proc/self/status") if l.startswith("SigIgn")][0].split()[1],
    "cwd": os.getcwd(),
    "files": sorted(os.listdir("/proc/self/fd")),
    "stdout is a file": os.path.isfile("/proc/self/fd/1") or os.lseek(1, 0, 1) == 0,
}}
sys.stdout.write("<methodResponse><params><param><value><struct><member><name>Status</name>"
    "<value>Success</value></member><member><name>Value</name><value>"
    + escape(json.dumps(found)) + "</value></member></struct></value></param></params></methodResponse>")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "etc/xapi.d/plugins"


@pytest.fixture
def failure(tmp_path: Path, folder: Path) -> Callable[[str], list[str]]:
    """The API error that a plugin program ends in."""

    def run(program: str) -> list[str]:
        add_plugin(tmp_path, "tpm", program)
        with pytest.raises(XapiError) as caught:
            call_plugin(folder, "tpm", "f", "OpaqueRef:1", {})
        return caught.value.description

    return run


def test_what_the_plugin_finds(tmp_path: Path, folder: Path) -> None:
    path = add_plugin(tmp_path, "tpm", INSPECTOR)
    os.environ["XENTPM_TEST_ONLY"] = "1"
    found = json.loads(call_plugin(folder, "tpm", "fn", "OpaqueRef:1", {"key": "value", "empty": ""}))
    path_only = {"PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}
    assert {key: value for key, value in found["environment"].items() if key != "LC_CTYPE"} == path_only
    assert found["stdin"] == "Bad file descriptor"
    assert found["leader"] and found["group"]
    assert int(found["sigpipe"], 16) & (1 << (signal.SIGPIPE - 1))
    assert found["cwd"] == "/"
    assert found["stdout is a file"]
    assert len(found["files"]) <= 4  # 0, 1, 2 and the one that lists them
    name, xml = found["argv"]
    assert name == str(path)
    assert xml == (
        "<methodCall><methodName>fn</methodName><params><param><value>OpaqueRef:1</value></param><param>"
        "<value><struct><member><name>key</name><value>value</value></member><member><name>empty</name>"
        "<value/></member></struct></value></param></params></methodCall>"
    )


def test_python_reads_the_argument_back() -> None:
    args = {"a": '<&>" \té\n', "b": "", "control": "x\x00\x1b\x07y", "ключ": "значение"}
    params, name = xmlrpc.client.loads(method_call("f&", "OpaqueRef:1", args))
    assert name == "f&"
    assert params == ("OpaqueRef:1", {**args, "control": "xy"})


def test_no_args_are_an_empty_struct() -> None:
    assert b"<value><struct/></value>" in method_call("f", "s", {})


def test_success(tmp_path: Path, folder: Path) -> None:
    add_plugin(tmp_path, "tpm", "#!/bin/sh\necho chatter >&2\n" + answering("&lt;b&gt;\u00e9")[10:])
    assert call_plugin(folder, "tpm", "f", "s", {}) == "<b>é"


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("#!/bin/sh\necho out; echo err >&2; exit 3", ["non-zero exit", "out\n", "err\n"]),
        ("#!/bin/sh\necho out; kill -9 $$", ["signal: SIGKILL", "out\n", ""]),
        ("#!/bin/sh\nkill -40 $$", ["signal: unknown signal (40)", "", ""]),
        ("#!/bin/sh\necho '<a>'", None),
        ("#!/bin/sh\n", None),
        ("#!/no/such/interpreter\n", ["non-zero exit", "", ""]),
        ("no interpreter at all", ["non-zero exit", "", ""]),
        ("#!/bin/sh\necho '<methodResponse><params/></methodResponse>'", None),
    ],
)
def test_plugin_failures(
    failure: Callable[[str], list[str]], program: str, error: "list[str] | None"
) -> None:
    code, *params = failure(program)
    assert code == "XENAPI_PLUGIN_FAILURE"
    if error is not None:
        assert params == error


def test_unparseable_output(failure: Callable[[str], list[str]]) -> None:
    code, status, stdout, reason = failure("#!/bin/sh\nprintf 'Traceback\\n'")
    assert (code, status, stdout) == ("XENAPI_PLUGIN_FAILURE", "failed to parse plugin output", "Traceback\n")
    assert reason.endswith("line 1")


def test_output_that_is_not_utf_8(failure: Callable[[str], list[str]]) -> None:
    assert failure("#!/bin/sh\nprintf '\\377'")[1:3] == ["failed to parse plugin output", "\ufffd"]


def test_control_characters_are_unparseable(failure: Callable[[str], list[str]]) -> None:
    assert failure(answering("\x1b[0m"))[1] == "failed to parse plugin output"


def test_fault(failure: Callable[[str], list[str]]) -> None:
    fault = xmlrpc.client.dumps(xmlrpc.client.Fault(7, "broken"))
    assert failure(f"#!/bin/sh\ncat <<'END'\n{fault}END\n") == [
        "XENAPI_PLUGIN_FAILURE",
        "fault",
        "7",
        "broken",
    ]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"Status": "Failure", "ErrorDescription": ["XENTPM_BUSY", "a", ""]}, ["XENTPM_BUSY", "a", ""]),
        ({"Status": "Failure", "ErrorDescription": ["ONLY"]}, ["ONLY"]),
        ({"Status": "Failure", "ErrorDescription": ["X", 1]}, None),
        ({"Status": "Failure", "ErrorDescription": []}, None),
        ({"Status": "Success", "Value": 1}, None),
        ({"Status": "Success", "Value": ["a"]}, None),
        ({"Status": "Success"}, None),
        ({"Status": "Maybe", "Value": "a"}, None),
        ("a string", None),
    ],
)
def test_struct(failure: Callable[[str], list[str]], value: object, error: "list[str] | None") -> None:
    xml = xmlrpc.client.dumps((value,), methodresponse=True)
    found = failure(f"#!/bin/sh\ncat <<'END'\n{xml}END\n")
    assert found == error if error else found[0] == "INTERNAL_ERROR"


@pytest.mark.parametrize("name", ["other", "../tpm", "", ".", "tpm/", "TPM"])
def test_missing_plugin(tmp_path: Path, folder: Path, name: str) -> None:
    add_plugin(tmp_path, "tpm", answering("x"))
    with pytest.raises(XapiError) as caught:
        call_plugin(folder, name, "f", "s", {})
    assert caught.value.description == ["XENAPI_MISSING_PLUGIN", name]


def test_no_plugins_folder(tmp_path: Path) -> None:
    with pytest.raises(XapiError, match="XENAPI_MISSING_PLUGIN"):
        call_plugin(tmp_path / "none", "tpm", "f", "s", {})


def test_plugin_that_is_not_executable(tmp_path: Path, folder: Path) -> None:
    add_plugin(tmp_path, "tpm", answering("x")).chmod(0o644)
    with pytest.raises(XapiError) as caught:
        call_plugin(folder, "tpm", "f", "s", {})
    assert caught.value.description == ["XENAPI_PLUGIN_FAILURE", "non-zero exit", "", ""]


def test_the_longest_argument(tmp_path: Path, folder: Path) -> None:
    add_plugin(tmp_path, "tpm", answering("x"))
    room = 131_071 - len(method_call("f", "s", {"a": "b"})) + 1
    assert call_plugin(folder, "tpm", "f", "s", {"a": "b" * room}) == "x"
    with pytest.raises(XapiError) as caught:
        call_plugin(folder, "tpm", "f", "s", {"a": "b" * (room + 1)})
    assert caught.value.description == ["XENAPI_PLUGIN_FAILURE", "non-zero exit", "", ""]


def test_large_output(tmp_path: Path, folder: Path) -> None:
    add_plugin(tmp_path, "tpm", answering("A" * 1_000_000))
    assert len(call_plugin(folder, "tpm", "f", "s", {})) == 1_000_000


def test_calls_run_side_by_side(tmp_path: Path, folder: Path) -> None:
    """Each waits for a file that only the other one makes."""
    wait = "#!/bin/sh\ncase $1 in *one*) a=one b=two;; *) a=two b=one;; esac\n"
    wait += f"cd {tmp_path}; : > $a; while [ ! -e $b ]; do sleep 0.01; done\n"
    add_plugin(tmp_path, "tpm", wait + answering("x")[10:])
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda fn=fn: answers.append(call_plugin(folder, "tpm", fn, "s", {})))
        for fn in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == ["x", "x"]


def test_watchdog_removes_and_forgets(tmp_path: Path, folder: Path) -> None:
    add_plugin(tmp_path, "tpm", answering("x"))
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    watchdog = Watchdog()
    watchdog.remove(tree)
    assert call_plugin(folder, "tpm", "f", "s", {}, watchdog) == "x"
    watchdog.close()
    assert not tree.exists()
    watchdog.started(1)  # too late to matter, and no error


def test_watchdog_s_directories(tmp_path: Path) -> None:
    watchdog = Watchdog()
    made = Path(watchdog.make_directory("odd\n", str(tmp_path)))
    assert made.parent == tmp_path and made.stat().st_mode & 0o777 == 0o700
    (made / "file").touch()
    watchdog.close()
    assert not made.exists()


def test_a_watchdog_that_was_killed(tmp_path: Path) -> None:
    watchdog = Watchdog()
    made = Path(watchdog.make_directory("x", str(tmp_path)))
    watchdog._process.kill()
    watchdog._process.wait()
    watchdog.close()
    assert not made.exists()


def test_removing_is_tried_again(tmp_path: Path) -> None:
    """Somebody still writes while the tree is removed, for less long than removing is tried."""
    watchdog = Watchdog()
    made = Path(watchdog.make_directory("x", str(tmp_path)))

    def write() -> None:
        end = time.monotonic() + 1
        for number in range(2000):
            if time.monotonic() > end:
                return
            try:
                (made / f"{number}").mkdir()
            except FileNotFoundError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    watchdog.close()
    writer.join()
    assert not made.exists()
