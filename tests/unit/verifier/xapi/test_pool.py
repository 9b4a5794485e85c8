"""What the client makes of a pool's answers: hosts, marks, messages, and errors as findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support.hostile_server import Call, HostileServer, failure, success
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.xapi.pool import PoolClient

Serve = Callable[..., HostileServer]
Connect = Callable[..., PoolClient]
HOST = "a6cc761c-d5d8-4725-8646-2071754ea0ef"
REF = "OpaqueRef:host-" + HOST


@pytest.mark.parametrize(
    ("description", "finding", "permanent"),
    [
        (("HOST_OFFLINE", REF), "HOST_OFFLINE", False),
        (("CANNOT_CONTACT_HOST", REF), "HOST_OFFLINE", False),
        (("XENAPI_MISSING_PLUGIN", "tpm"), "PLUGIN_MISSING", True),
        (("XENAPI_PLUGIN_FAILURE", "non-zero exit", "", "Traceback"), "PLUGIN_ERROR", False),
        (("UNKNOWN_XENAPI_PLUGIN_FUNCTION", "tpm_get_quote"), "PLUGIN_ERROR", False),
        (("XENTPM_NO_TPM", "no TPM", "enable it", "xentpm[1]"), "PLUGIN_ERROR", True),
        (("XENTPM_BUSY", "busy"), "PLUGIN_ERROR", False),
        (("XENTPM_X",), "PLUGIN_ERROR", True),
        (("RBAC_PERMISSION_DENIED", "x", "y"), "XAPI_AUTHENTICATION", True),
        (("UUID_INVALID", "host", HOST), "HOST_UNKNOWN", True),
        (("HANDLE_INVALID", "host", REF), "HOST_UNKNOWN", True),
        (("HANDLE_INVALID", "session", "OpaqueRef:x"), "XAPI_ERROR", False),
        (("INTERNAL_ERROR", "Not_found"), "XAPI_ERROR", False),
        (("",), "XAPI_ERROR", False),
    ],
)
def test_errors(serve: Serve, connect: Connect, description: Any, finding: str, permanent: bool) -> None:
    client = connect(serve(lambda call: call.answer(failure(*description))))
    with pytest.raises(CollectionError) as caught:
        client.call_plugin(HOST, "tpm_get_quote", {})
    error = caught.value
    assert (error.finding, error.permanent) == (finding, permanent)
    assert "OpaqueRef:host" not in error.message
    if finding == "PLUGIN_ERROR":
        assert description[0] in error.message


@pytest.mark.parametrize("description", [[], "HOST_OFFLINE", [1], {"a": "b"}, [["x"]]])
def test_errors_that_are_none(serve: Serve, connect: Connect, description: Any) -> None:
    from support.hostile_server import _body

    body = _body({"Status": "Failure", "ErrorDescription": description})
    with pytest.raises(CollectionError) as caught:
        connect(serve(lambda call: call.answer(body))).call_plugin(HOST, "f", {})
    assert caught.value.finding == "XAPI_ERROR"


@pytest.mark.parametrize("answer", [1, True, ["x"], {"a": "b"}, None])
def test_a_plugin_answers_with_text(serve: Serve, connect: Connect, answer: Any) -> None:
    with pytest.raises(CollectionError) as caught:
        connect(serve(lambda call: call.answer(success(answer)))).call_plugin(HOST, "f", {})
    assert caught.value.finding == "PLUGIN_ERROR"


def test_a_reference_that_changed_is_looked_up_again(serve: Serve, connect: Connect) -> None:
    stale = [False]

    def script(call: Call) -> None:
        if stale and stale.pop():
            call.answer(failure("HANDLE_INVALID", "host", call.params[1]))
        else:
            call.answer(success("evidence"))

    server = serve(script)
    client = connect(server)
    assert client.call_plugin(HOST, "f", {}) == "evidence"
    stale.append(True)
    assert client.call_plugin(HOST, "f", {}) == "evidence"
    assert server.methods.count("host.get_by_uuid") == 2


RECORD = {
    "uuid": HOST,
    "name_label": "host1\x1b",
    "address": "10.0.0.1",
    "enabled": True,
    "metrics": "OpaqueRef:m",
}


@pytest.mark.parametrize(
    ("records", "metrics"),
    [
        ([], {}),
        ({}, []),
        ({"r": "x"}, {}),
        ({"r": {}}, {}),
        ({"r": {**RECORD, "uuid": 1}}, {}),
        ({"r": {**RECORD, "metrics": []}}, {}),
        ({"r": RECORD}, {"OpaqueRef:m": "x"}),
    ],
)
def test_host_records_that_are_none(serve: Serve, connect: Connect, records: Any, metrics: Any) -> None:
    def script(call: Call) -> None:
        call.answer(success(records if call.method == "host.get_all_records" else metrics))

    with pytest.raises(CollectionError) as caught:
        connect(serve(script)).hosts()
    assert caught.value.finding == "XAPI_ERROR"


def test_a_host_without_metrics_is_not_live(serve: Serve, connect: Connect) -> None:
    records = {
        "r": {**RECORD, "name_label": "host1"},
        "OpaqueRef:master": {**RECORD, "uuid": "m", "name_label": "z"},
    }

    def script(call: Call) -> None:
        call.answer(success(records if call.method == "host.get_all_records" else {}))

    hosts = connect(serve(script)).hosts()
    assert [(host.name, host.live, host.master) for host in hosts] == [
        ("z", False, True),
        ("host1", False, False),
    ]


def test_older_pools_disable_with_one_parameter(serve: Serve, connect: Connect) -> None:
    def script(call: Call) -> None:
        if len(call.params) == 3:
            call.answer(failure("MESSAGE_PARAMETER_COUNT_MISMATCH", "host.disable", "1", "2"))
        else:
            call.answer(success(""))

    server = serve(script)
    connect(server).disable_host(HOST)
    disabled = [params[2:] for method, params in server.calls if method == "host.disable"]
    assert disabled == [(False,), ()]


def test_only_what_differs_is_changed(serve: Serve, connect: Connect) -> None:
    def script(call: Call) -> None:
        answers = {
            "host.get_tags": ["old", "same"],
            "host.get_other_config": {"k": "v", "gone": "x", "o": "w"},
        }
        call.answer(success(answers.get(call.method, "")))

    server = serve(script)
    connect(server).set_marks(
        HOST, ["same", "new"], ["old", "absent"], {"k": "v", "n": "1", "o": "2"}, ["gone", "no"]
    )
    changed = [
        (method, *params[2:]) for method, params in server.calls if "_tags" in method or "other_c" in method
    ]
    assert changed[2:] == [
        ("host.remove_tags", "old"),
        ("host.add_tags", "new"),
        ("host.remove_from_other_config", "gone"),
        ("host.remove_from_other_config", "n"),
        ("host.add_to_other_config", "n", "1"),
        ("host.remove_from_other_config", "o"),
        ("host.add_to_other_config", "o", "2"),
    ]


def test_text_that_xml_cannot_hold(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.answer(success("")))
    connect(server).create_message(HOST, "XENTPM", 2, "a\x00b\ud800c\x1b\n\tä")
    (params,) = [params for method, params in server.calls if method == "message.create"]
    assert params[1:] == ("XENTPM", "2", "Host", HOST, "ab?c\n\tä")
