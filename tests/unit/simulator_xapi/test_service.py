"""The methods of the API: right answers, and the error codes of XAPI for wrong questions."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.fake_machine import FakeMachine, add_plugin, answering
from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.service import Xapi
from xentpm_lib.simulator.xapi.sessions import MAX_SESSIONS

Call = Callable[..., Any]
LISTED = """
session.login_with_password session.logout session.get_this_host
host.get_all host.get_by_uuid host.get_by_name_label host.get_uuid host.get_record host.get_all_records
host.get_hostname host.get_name_label host.get_address host.get_software_version host.get_bios_strings
host.get_cpu_info host.get_server_certificate host.get_other_config host.add_to_other_config
host.remove_from_other_config host.get_tags host.add_tags host.remove_tags host.get_enabled host.disable
host.enable host.evacuate host.reboot host.call_plugin
pool.get_all pool.get_master pool.get_record pool.get_all_records
message.create message.get_all message.get_record message.get_all_records message.destroy
task.get_status task.get_result task.get_error_info task.destroy
""".split()


@pytest.fixture
def hosts(call: Call) -> list[str]:
    return list(call("host.get_all"))


def error_of(call: Call, name: str, *params: object) -> list[str]:
    with pytest.raises(XapiError) as caught:
        call(name, *params)
    return caught.value.description


def test_every_listed_method_is_there(xapi: Xapi) -> None:
    assert set(LISTED) <= set(xapi.method_names)


def test_login_and_logout(xapi: Xapi) -> None:
    session = xapi.call("session.login_with_password", ["root", "secret", "1.0", "tests"])
    other = xapi.call("session.login_with_password", ["root", "secret"])
    assert session != other
    assert xapi.call("session.logout", [session]) == ""
    assert error_of(lambda name, *p: xapi.call(name, list(p)), "host.get_all", session) == [
        "SESSION_INVALID",
        session,
    ]
    assert xapi.call("host.get_all", [other])


@pytest.mark.parametrize(
    "credentials", [["root", "wrong"], ["", ""], ["admin", "secret"], ["r\u00f6t", "\u00e9"]]
)
def test_wrong_credentials(xapi: Xapi, credentials: list[str]) -> None:
    with pytest.raises(XapiError) as caught:
        xapi.call("session.login_with_password", credentials)
    assert caught.value.description == [
        "SESSION_AUTHENTICATION_FAILED",
        credentials[0],
        "Authentication failure",
    ]


@pytest.mark.parametrize("session", ["", "OpaqueRef:NULL", "OpaqueRef:" + str(uuid.uuid4())])
def test_wrong_session(xapi: Xapi, session: str) -> None:
    with pytest.raises(XapiError) as caught:
        xapi.call("host.get_all", [session])
    assert caught.value.description == ["SESSION_INVALID", session]


def test_no_session_at_all(xapi: Xapi) -> None:
    for params in ([], [7], [None]):
        with pytest.raises(XapiError):
            xapi.call("host.get_all", params)


def test_the_session_unused_for_longest_goes(xapi: Xapi) -> None:
    first, second = (xapi.call("session.login_with_password", ["root", "secret"]) for _ in range(2))
    for _ in range(MAX_SESSIONS - 1):
        xapi.call("host.get_all", [first])
        xapi.call("session.login_with_password", ["root", "secret"])
    assert xapi.call("host.get_all", [first])
    with pytest.raises(XapiError, match="SESSION_INVALID"):
        xapi.call("host.get_all", [second])


@pytest.mark.parametrize("name", ["", "host", "host.get_nothing", "Async.host.get_all", "__class__"])
def test_unknown_method(call: Call, name: str) -> None:
    assert error_of(call, name) == ["MESSAGE_METHOD_UNKNOWN", name]


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("host.get_all", ["x"], "0"),
        ("host.get_record", [], "1"),
        ("host.call_plugin", ["a", "b", "c"], "4"),
        ("message.create", ["a", "3", "Host", "u", "b", "more"], "5"),
    ],
)
def test_wrong_number_of_parameters(call: Call, name: str, params: list[str], expected: str) -> None:
    found = error_of(call, name, *params)
    assert found == ["MESSAGE_PARAMETER_COUNT_MISMATCH", name, expected, str(len(params))]


@pytest.mark.parametrize(
    ("name", "params", "field"),
    [
        ("host.get_record", [1], "self"),
        ("host.call_plugin", ["r", "p", "f", "x"], "args"),
        ("host.call_plugin", ["r", "p", "f", {"k": 1}], "args"),
        ("host.disable", ["r", "yes"], "auto_enable"),
        ("message.create", ["a", "three", "Host", "u", "b"], "priority"),
        ("message.create", ["a", True, "Host", "u", "b"], "priority"),
        ("host.add_tags", ["r", None], "value"),
    ],
)
def test_wrong_types(call: Call, name: str, params: list[object], field: str) -> None:
    assert error_of(call, name, *params) == ["FIELD_TYPE_ERROR", field]


def test_text_that_is_no_unicode(call: Call, hosts: list[str]) -> None:
    assert error_of(call, "host.add_tags", hosts[0], "\ud800")[0] == "INVALID_VALUE"


@pytest.mark.parametrize("cls", ["host", "pool", "message", "task", "host_metrics"])
def test_wrong_handles(call: Call, cls: str) -> None:
    assert error_of(call, f"{cls}.get_record", "OpaqueRef:x") == ["HANDLE_INVALID", cls, "OpaqueRef:x"]
    assert error_of(call, f"{cls}.get_by_uuid", "u") == ["UUID_INVALID", cls, "u"]


def test_host_fields(call: Call, hosts: list[str], machines: list[FakeMachine]) -> None:
    record = call("host.get_record", hosts[1])
    for field, value in record.items():
        assert call(f"host.get_{field}", hosts[1]) == value
    assert record["uuid"] == machines[1].uuid
    assert (record["name_label"], record["hostname"], record["address"]) == ("host2", "host2", "127.0.0.2")
    assert record["software_version"]["product_brand"] == "XenServer"
    assert call("host.get_all_records")[hosts[1]] == record
    assert call("host.get_by_uuid", machines[1].uuid) == hosts[1]
    assert call("host.get_by_name_label", "host2") == [hosts[1]]
    assert call("host.get_by_name_label", "none") == []
    assert call("host.get_server_certificate", hosts[0]) == "certificate 1"


def test_cpu_flags_are_the_hosts_own(call: Call, hosts: list[str], machines: list[FakeMachine]) -> None:
    (machines[0].root / "proc").mkdir()
    (machines[0].root / "proc/cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu smx\n")
    assert call("host.get_cpu_info", hosts[0])["flags"] == "fpu smx"
    assert "aes" in call("host.get_cpu_info", hosts[1])["flags"]


def test_pool(call: Call, hosts: list[str], xapi: Xapi) -> None:
    (pool,) = call("pool.get_all")
    assert call("pool.get_master", pool) == hosts[0]
    assert call("pool.get_all_records") == {pool: call("pool.get_record", pool)}
    session = xapi.call("session.login_with_password", ["root", "secret"])
    assert xapi.call("session.get_this_host", [session, session]) == hosts[0]
    assert error_of(call, "session.get_this_host", "x") == ["HANDLE_INVALID", "session", "x"]


def test_other_config_and_tags(call: Call, hosts: list[str], start: Callable[[], Xapi]) -> None:
    call("host.add_to_other_config", hosts[0], "key", "value")
    found = error_of(call, "host.add_to_other_config", hosts[0], "key", "other")
    assert found == ["MAP_DUPLICATE_KEY", "host", "other_config", hosts[0], "key"]
    call("host.remove_from_other_config", hosts[0], "no such key")
    for tag in ("a", "b", "a"):
        call("host.add_tags", hosts[0], tag)
    call("host.remove_tags", hosts[0], "b")
    assert call("host.get_tags", hosts[0]) == ["a"]
    assert call("host.get_tags", hosts[1]) == []
    again = start()
    session = again.call("session.login_with_password", ["root", "secret"])
    assert again.call("host.get_tags", [session, hosts[0]]) == ["a"]
    assert again.call("host.get_other_config", [session, hosts[0]])["key"] == "value"
    call("host.remove_from_other_config", hosts[0], "key")
    assert "key" not in call("host.get_other_config", hosts[0])
    call("host.set_other_config", hosts[0], {"only": "this"})
    assert call("host.get_other_config", hosts[0]) == {"only": "this"}


def test_maintenance_and_reboot(call: Call, hosts: list[str], machines: list[FakeMachine]) -> None:
    assert error_of(call, "host.reboot", hosts[0]) == ["HOST_NOT_DISABLED"]
    call("host.disable", hosts[0], False)
    assert call("host.get_enabled", hosts[0]) is False
    call("host.evacuate", hosts[0])
    call("host.reboot", hosts[0])
    assert machines[0].done[-1] == "reboot"
    assert call("host.get_enabled", hosts[0]) is True
    call("host.disable", hosts[0])
    call("host.enable", hosts[0])
    assert call("host.get_enabled", hosts[0]) is True


def test_offline_host(call: Call, hosts: list[str]) -> None:
    call("simulator.host_power_off", hosts[0])
    metrics = call("host.get_metrics", hosts[0])
    assert call("host_metrics.get_live", metrics) is False
    assert call("host.get_hostname", hosts[0]) == "host1"
    for name, *params in (
        ("host.call_plugin", "tpm", "f", {}),
        ("host.disable",),
        ("host.enable",),
        ("host.evacuate",),
        ("host.reboot",),
        ("simulator.host_reboot",),
    ):
        assert error_of(call, name, hosts[0], *params) == ["HOST_OFFLINE", hosts[0]]
    assert call("host.call_plugin", hosts[1], "tpm", "f", {}) == "I am host2"
    call("simulator.host_power_on", hosts[0])
    assert call("host.call_plugin", hosts[0], "tpm", "f", {}) == "I am host1"


def test_a_rebooting_host_is_offline(call: Call, hosts: list[str], machines: list[FakeMachine]) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow_reboot() -> None:
        inside.set()
        go_on.wait(20)

    machines[0].reboot = slow_reboot  # type: ignore[method-assign]
    thread = threading.Thread(target=call, args=("simulator.host_reboot", hosts[0]))
    thread.start()
    assert inside.wait(20)
    assert error_of(call, "host.call_plugin", hosts[0], "tpm", "f", {}) == ["HOST_OFFLINE", hosts[0]]
    go_on.set()
    thread.join(20)
    assert call("host.call_plugin", hosts[0], "tpm", "f", {}) == "I am host1"


def test_plugin_gets_the_callers_session(xapi: Xapi, machines: list[FakeMachine]) -> None:
    add_plugin(
        machines[0].root,
        "seen",
        f'#!/bin/sh\nprintf %s "$1" > {machines[0].root}/seen\n' + (answering("ok")[10:]),
    )
    session = xapi.call("session.login_with_password", ["root", "secret"])
    host = xapi.call("host.get_all", [session])[0]  # type: ignore[index]
    xapi.call("host.call_plugin", [session, host, "seen", "f", {}])
    assert f"<value>{session}</value>" in (machines[0].root / "seen").read_text()


def wait_for(call: Call, task: str) -> str:
    deadline = time.monotonic() + 20
    while call("task.get_status", task) == "pending" and time.monotonic() < deadline:
        time.sleep(0.01)
    return str(call("task.get_status", task))


def test_async_success(call: Call, hosts: list[str]) -> None:
    task = call("Async.host.call_plugin", hosts[0], "tpm", "f", {})
    assert wait_for(call, task) == "success"
    assert call("task.get_result", task) == "<value>I am host1</value>"
    assert call("task.get_error_info", task) == []
    assert call("task.get_progress", task) == 1.0
    call("task.destroy", task)
    assert error_of(call, "task.get_status", task) == ["HANDLE_INVALID", "task", task]
    assert error_of(call, "task.destroy", task) == ["HANDLE_INVALID", "task", task]


def test_async_failure(call: Call, hosts: list[str]) -> None:
    task = call("Async.host.call_plugin", hosts[0], "none", "f", {})
    assert wait_for(call, task) == "failure"
    assert call("task.get_error_info", task) == ["XENAPI_MISSING_PLUGIN", "none"]
    assert call("task.get_result", task) == ""


def test_async_checks_at_once(call: Call) -> None:
    assert error_of(call, "Async.host.call_plugin", "x")[0] == "MESSAGE_PARAMETER_COUNT_MISMATCH"


def test_messages(call: Call, machines: list[FakeMachine], start: Callable[[], Xapi]) -> None:
    ref = call("message.create", "XENTPM_UNTRUSTED", "1", "Host", machines[0].uuid, "body & more")
    record = call("message.get_record", ref)
    assert (record["name"], record["priority"], record["cls"]) == ("XENTPM_UNTRUSTED", 1, "Host")
    assert (record["obj_uuid"], record["body"]) == (machines[0].uuid, "body & more")
    again = start()
    session = again.call("session.login_with_password", ["root", "secret"])
    assert again.call("message.get_all_records", [session]) == {ref: record}
    call("message.destroy", ref)
    assert call("message.get_all") == []
    assert error_of(call, "message.destroy", ref) == ["HANDLE_INVALID", "message", ref]


@pytest.mark.parametrize("cls", ["host", "", "Nothing"])
def test_message_of_unknown_class(call: Call, machines: list[FakeMachine], cls: str) -> None:
    found = error_of(call, "message.create", "n", "1", cls, machines[0].uuid, "b")
    assert found == ["INVALID_VALUE", "cls", cls]


def test_message_about_nothing(call: Call, machines: list[FakeMachine]) -> None:
    for cls, subject in (("Host", "x"), ("VM", machines[0].uuid), ("Pool", machines[0].uuid)):
        assert error_of(call, "message.create", "n", "1", cls, subject, "b") == ["UUID_INVALID", cls, subject]
    (pool,) = call("pool.get_all")
    assert call("message.create", "n", "1", "Pool", call("pool.get_uuid", pool), "b")


def test_hardware(call: Call, hosts: list[str], machines: list[FakeMachine]) -> None:
    first = call("simulator.get_hosts")[0]
    assert first == {
        "uuid": machines[0].uuid,
        "ref": hosts[0],
        "name": "host1",
        "dir": str(machines[0].directory),
        "tcti": machines[0].tcti,
        "live": True,
        "enabled": True,
        "master": True,
    }
    assert call("simulator.host_components", hosts[0]) == ["initrd", "kernel"]
    call("simulator.host_edit", hosts[0], "initrd")
    call("simulator.host_reboot", hosts[0])
    call("simulator.host_replace_tpm", hosts[0])
    call("simulator.host_power_on", hosts[0])
    assert machines[0].done == ["power_on", "edit initrd", "reboot", "replace_tpm"]


def test_errors_of_a_machine(call: Call, hosts: list[str], machines: list[FakeMachine]) -> None:
    def fails(*_arguments: object, **_named: object) -> None:
        raise UsageError("no such component", "the components are: initrd")

    machines[0].edit = machines[0].reboot = fails  # type: ignore[method-assign]
    found = error_of(call, "simulator.host_edit", hosts[0], "x")
    assert found == ["SIMULATOR_ERROR", "no such component", "the components are: initrd"]
    call("host.disable", hosts[0])
    assert error_of(call, "host.reboot", hosts[0]) == ["INTERNAL_ERROR", "no such component"]
    assert call("host.call_plugin", hosts[0], "tpm", "f", {}) == "I am host1"


def test_unexpected_errors_are_internal(call: Call, hosts: list[str], machines: list[FakeMachine]) -> None:
    machines[0].edit = lambda *_, **__: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    assert error_of(call, "simulator.host_edit", hosts[0], "x")[0] == "INTERNAL_ERROR"


def test_nothing_secret_is_logged(call: Call, hosts: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    call("host.call_plugin", hosts[0], "tpm", "f", {"nonce": "SECRET-VALUE"})
    error_of(call, "host.call_plugin", hosts[0], "tpm", "f", {"nonce": 7})
    text = caplog.text
    assert "host.call_plugin ok" in text and "host.call_plugin FIELD_TYPE_ERROR" in text
    assert "SECRET" not in text and "OpaqueRef" not in text


def test_database_that_is_none(tmp_path: Path, start: Callable[[], Xapi]) -> None:
    from xentpm_lib.errors import FormatError

    for text in ("", "[]", "{}", json.dumps({"pool_uuid": "x", "hosts": {"a": 1}, "messages": []})):
        (tmp_path / "database.json").write_text(text)
        with pytest.raises(FormatError, match="not a database"):
            start()
