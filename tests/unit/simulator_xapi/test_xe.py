"""xe's output, character by character, and its exit status."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.fake_machine import FakeMachine, add_plugin, answering
from xentpm_lib.simulator import xe
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xe_output import Field, describe_error, escape_commas, format_record

Run = Callable[..., tuple[int, str, str]]


class Direct:
    """A client without a transport."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


@pytest.fixture
def run(call: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> Run:
    def begin(*arguments: str) -> tuple[int, str, str]:
        status = xe.run(list(arguments), Direct(call))  # type: ignore[arg-type]
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return begin


def test_host_list(run: Run, machines: list[FakeMachine]) -> None:
    record = (
        "uuid ( RO)                : {}\n"
        "          name-label ( RW): {}\n"
        "    name-description ( RW): Default install\n\n\n"
    )
    expected = "".join(record.format(machine.uuid, machine.name) for machine in machines)
    assert run("host-list") == (0, expected, "")
    assert run("host-list", "name-label=host2") == (0, record.format(machines[1].uuid, "host2"), "")
    assert run("host-list", "name-label=none") == (0, "", "")


def test_host_list_minimal_and_params(run: Run, machines: list[FakeMachine]) -> None:
    both = ",".join(machine.uuid for machine in machines)
    assert run("host-list", "--minimal") == (0, both + "\n", "")
    assert run("host-list", "name-label=none", "--minimal") == (0, "\n", "")
    assert run("host-list", "params=name-label", "--minimal") == (0, "host1,host2\n", "")
    _status, out, _err = run("host-list", "params=hostname,enabled", "hostname=host1")
    assert out == "enabled ( RO)     : true\n    hostname ( RO): host1\n\n\n"
    _status, out, _err = run("host-list", "params=all", "hostname=host1")
    assert "    software-version (MRO): product_version: 8.4.0; " in out
    assert "                tags (SRW): \n" in out


def test_host_param(run: Run, machines: list[FakeMachine]) -> None:
    uuid = f"uuid={machines[0].uuid}"
    assert run("host-param-get", uuid, "param-name=name-label") == (0, "host1\n", "")
    found = run("host-param-get", uuid, "param-name=software-version", "param-key=product_brand")
    assert found == (0, "XenServer\n", "")
    assert run("host-param-get", uuid, "param-name=x")[0] == 1
    assert run("host-param-get", uuid, "param-name=software-version", "param-key=x")[0] == 1
    assert run("host-param-list", uuid)[1].startswith("uuid ( RO)")


def test_call_plugin(run: Run, machines: list[FakeMachine]) -> None:
    for key in ("host-uuid", "uuid"):
        found = run("host-call-plugin", f"{key}={machines[0].uuid}", "plugin=tpm", "fn=f", "args:tag=a=b")
        assert found == (0, "I am host1\n", "")
    add_plugin(machines[0].root, "tpm", answering("a,b\\c"))
    found = run("host-call-plugin", f"uuid={machines[0].uuid}", "plugin=tpm", "fn=f", "--minimal")
    assert found == (0, "a\\,b\\\\c\n", "")


def test_args_reach_the_plugin(run: Run, machines: list[FakeMachine], tmp_path: Path) -> None:
    (tmp_path / "value").write_text("from\na file")
    keep = f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/seen\n'
    add_plugin(machines[0].root, "tpm", keep + answering("x")[10:])
    host = f"uuid={machines[0].uuid}"
    run("host-call-plugin", host, "plugin=tpm", "fn=f", "args:a=1=2", f"args:b:file={tmp_path}/value")
    seen = (tmp_path / "seen").read_text()
    assert "<member><name>a</name><value>1=2</value></member>" in seen
    assert "<member><name>b</name><value>from\na file</value></member>" in seen
    assert run("host-call-plugin", host, "plugin=tpm", "fn=f", "args:b:file=/none")[0] == 1


def test_failures(run: Run, machines: list[FakeMachine]) -> None:
    host = f"host-uuid={machines[0].uuid}"
    assert run("host-call-plugin", host, "plugin=none", "fn=f") == (
        1,
        "",
        "The requested plug-in could not be found.\nname: none\n",
    )
    add_plugin(machines[0].root, "bad", "#!/bin/sh\nprintf out; printf err >&2; exit 1\n")
    assert run("host-call-plugin", host, "plugin=bad", "fn=f") == (
        1,
        "",
        "There was a failure communicating with the plug-in.\n"
        "status: non-zero exit\nstdout: out\nstderr: err\n",
    )
    assert run("host-call-plugin", "uuid=x", "plugin=tpm", "fn=f")[2].endswith("type: host\nuuid: x\n")


def test_code_that_xapi_does_not_know() -> None:
    assert describe_error(XapiError("FOO", "a", "b"), {}) == ["Error code: FOO", "Error parameters: a, b"]


def test_parameters_and_labels_that_do_not_match() -> None:
    lines = describe_error(XapiError("XENAPI_MISSING_PLUGIN", "a", "b"), {})
    assert lines[1:] == ["name: a", "<extra>: b"]
    assert describe_error(XapiError("XENAPI_MISSING_PLUGIN"), {})[1:] == ["name: <unknown>"]


def test_references_are_names(run: Run, call: Callable[..., Any], machines: list[FakeMachine]) -> None:
    call("simulator.host_power_off", call("host.get_all")[0])
    _status, _out, err = run("host-call-plugin", f"uuid={machines[0].uuid}", "plugin=tpm", "fn=f")
    assert err.splitlines()[1] == f"host: {machines[0].uuid} (host1)"


@pytest.mark.parametrize(
    ("arguments", "first_line"),
    [
        ((), "Usage: xentpm-sim xe [--dir D] <command> [key=value ...] [--minimal]"),
        (("vm-start",), "Unknown command: vm-start"),
        (("host-list", "name"), "Syntax error: name"),
        (("host-list", "colour=red"), "Error: No matching field: colour"),
        (("host-call-plugin", "plugin=tpm", "fn=f"), "Required parameter not found: host-uuid"),
        (("host-call-plugin", "uuid=x", "fn=f"), "Required parameter not found: plugin"),
        (("host-disable",), "Required parameter not found: uuid"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], first_line: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out, err.splitlines()[0]) == (1, "", first_line)


def test_maintenance(run: Run, call: Callable[..., Any], machines: list[FakeMachine]) -> None:
    assert run("host-reboot", "host=host1")[0] == 1
    assert run("host-disable", "host=host1") == (0, "", "")
    assert run("host-reboot", f"uuid={machines[0].uuid}") == (0, "", "")
    assert run("host-enable", f"host={machines[1].uuid}") == (0, "", "")
    assert machines[0].done[-1] == "reboot"


def test_other_lists(run: Run, call: Callable[..., Any], machines: list[FakeMachine]) -> None:
    call("message.create", "NAME", "2", "Host", machines[0].uuid, "body")
    assert "         name ( RO): NAME\n" in run("message-list")[1]
    assert run("pool-list", "params=name-label", "--minimal") == (0, "Simulated pool\n", "")


def test_record_of_one_field() -> None:
    assert format_record([Field("uuid", "uuid")], {"uuid": "x"}) == "uuid ( RO)    : x\n"


def test_escape_commas() -> None:
    assert escape_commas("a,b\\,") == "a\\,b\\\\\\,"


def test_help_is_a_result(run: Run) -> None:
    status, out, err = run("help")
    assert (status, err) == (0, "") and "host-call-plugin" in out


@pytest.mark.parametrize("key", ["host-uuid", "uuid", "host"])
def test_an_empty_name_of_a_host(run: Run, key: str) -> None:
    _status, _out, err = run("host-call-plugin", f"{key}=", "uuid=x", "plugin=tpm", "fn=f")
    if key != "uuid":
        assert err.splitlines()[0] == f"Error: {key}= is empty"
    assert run("host-param-list", "uuid=")[2].splitlines()[0] == "Error: uuid= is empty"


def test_an_argument_without_args(run: Run, machines: list[FakeMachine]) -> None:
    host = f"uuid={machines[0].uuid}"
    status, out, err = run("host-call-plugin", host, "plugin=tpm", "fn=f", "tag=xyz")
    assert (status, out) == (1, "")
    assert err == "Error: host-call-plugin has no parameter tag\nHint: write args:tag=xyz\n"
    long = run("host-call-plugin", host, "plugin=tpm", "fn=f", "tag=" + "x" * 100)[2]
    assert long.endswith("Hint: write args:tag=...\n")


def test_a_file_that_is_no_text(run: Run, machines: list[FakeMachine], tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    host = f"uuid={machines[0].uuid}"
    err = run("host-call-plugin", host, "plugin=tpm", "fn=f", f"args:b:file={tmp_path}/binary")[2]
    assert err.startswith(f"Error: {tmp_path}/binary is not UTF-8 text") and "base64" in err
