"""The two languages: shapes of answers, and bodies that are no calls."""

import json
import xmlrpc.client
from typing import Any

import pytest

from xentpm_lib.errors import FormatError
from xentpm_lib.simulator.rpc import json_rpc, xml_rpc
from xentpm_lib.simulator.xapi.service import Xapi


def by_xml(xapi: Xapi, name: str, *params: object) -> Any:
    body = xmlrpc.client.dumps(params, name, allow_none=True).encode()
    return xmlrpc.client.loads(xml_rpc(xapi, body))[0][0]


def by_json(xapi: Xapi, name: str, *params: object) -> Any:
    body = {"jsonrpc": "2.0", "method": name, "params": params, "id": 7}
    answer = json.loads(json_rpc(xapi, json.dumps(body).encode()))
    assert (answer.pop("jsonrpc"), answer.pop("id")) == ("2.0", 7)
    return answer


def test_success(xapi: Xapi) -> None:
    session = by_xml(xapi, "session.login_with_password", "root", "secret")["Value"]
    hosts = by_xml(xapi, "host.get_all", session)
    assert hosts["Status"] == "Success" and len(hosts["Value"]) == 2
    assert by_json(xapi, "host.get_all", session) == {"result": hosts["Value"]}
    assert by_json(xapi, "session.logout", session) == {"result": ""}


def test_failure(xapi: Xapi) -> None:
    expected = ["SESSION_INVALID", "OpaqueRef:x"]
    assert by_xml(xapi, "host.get_all", "OpaqueRef:x") == {"Status": "Failure", "ErrorDescription": expected}
    assert by_json(xapi, "host.get_all", "OpaqueRef:x") == {
        "error": {"code": 1, "message": "SESSION_INVALID", "data": ["OpaqueRef:x"]}
    }


def test_types(xapi: Xapi) -> None:
    """64-bit integers are strings, truth values and maps are what they are."""
    session = by_json(xapi, "session.login_with_password", "root", "secret")["result"]
    (host, *_others) = by_json(xapi, "host.get_all", session)["result"]
    for record in (
        by_json(xapi, "host.get_record", session, host)["result"],
        by_xml(xapi, "host.get_record", session, host)["Value"],
    ):
        assert record["API_version_major"] == "2"
        assert record["enabled"] is True
        assert record["virtual_hardware_platform_versions"] == ["0", "1", "2"]
        assert record["chipset_info"] == {"iommu": "true"}
        assert str(record["last_software_update"]) == "19700101T00:00:00Z"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"jsonrpc": "2.0"}',
        b'{"a": NaN}',
        b'{"jsonrpc": "1.0", "method": "a", "id": 1}',
        b'{"jsonrpc": "2.0", "method": "a", "params": [], "id": null}',
        b'{"jsonrpc": "2.0", "method": "a", "params": [], "id": true}',
        b'{"jsonrpc": "2.0", "method": 1, "params": [], "id": 1}',
        b'{"jsonrpc": "2.0", "method": "a", "params": {}, "id": 1}',
    ],
)
def test_no_json_call(xapi: Xapi, body: bytes) -> None:
    with pytest.raises(FormatError):
        json_rpc(xapi, body)


@pytest.mark.parametrize("body", [b"", b"x", b"<methodCall/>", b"<!DOCTYPE a><methodCall/>"])
def test_no_xml_call(xapi: Xapi, body: bytes) -> None:
    with pytest.raises(FormatError):
        xml_rpc(xapi, body)


def test_params_may_be_left_out(xapi: Xapi) -> None:
    xml = b"<methodCall><methodName>host.get_all</methodName></methodCall>"
    assert b"SESSION_INVALID" in xml_rpc(xapi, xml)
    assert b"SESSION_INVALID" in json_rpc(xapi, b'{"jsonrpc": "2.0", "method": "host.get_all", "id": "a"}')
