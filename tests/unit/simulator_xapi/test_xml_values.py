"""XML-RPC documents: what is read, what is refused, what is written."""

import time
import xmlrpc.client

import pytest

from xentpm_lib.simulator.xml_values import (
    DateTime,
    Fault,
    NotXmlRpcError,
    XmlError,
    dump_response,
    dump_value,
    parse_call,
    parse_response,
)


def response(value: str) -> bytes:
    return f"<methodResponse><params><param>{value}</param></params></methodResponse>".encode()


@pytest.mark.parametrize(
    ("xml", "value"),
    [
        ("<value>text</value>", "text"),
        ("<value><string> text </string></value>", " text "),
        ("<value/>", ""),
        ("<value>\n </value>", ""),
        ("<value><string/></value>", ""),
        ("<value><i4>-7</i4></value>", -7),
        ("<value><int>8</int></value>", 8),
        ("<value><boolean>1</boolean></value>", True),
        ("<value><double>2.5</double></value>", 2.5),
        ("<value><nil/></value>", None),
        ("<value><dateTime.iso8601>20260131T12:34:56Z</dateTime.iso8601></value>", "20260131T12:34:56Z"),
        ("<value><array><data><value>a</value><value/></data></array></value>", ["a", ""]),
        ("<value><struct/></value>", {}),
        ("<value><struct><member><name>k</name><value>v</value></member></struct></value>", {"k": "v"}),
        ("<value>&lt;&amp;&#x41;é</value>", "<&Aé"),
    ],
)
def test_values(xml: str, value: object) -> None:
    assert parse_response(response(xml)) == [value]


def test_python_client_is_understood() -> None:
    params = ("s", 1, True, 1.5, ["a", {"k": ""}], {"x": "<&>\r\n"}, None)
    name, values = parse_call(xmlrpc.client.dumps(params, "host.call_plugin", allow_none=True).encode())
    assert name == "host.call_plugin"
    assert values == ["s", 1, True, 1.5, ["a", {"k": ""}], {"x": "<&>\n"}, None]


def test_python_client_understands() -> None:
    value = {"text": '<&">é', "list": ["", "a"], "flag": True, "number": 2**40, "float": 0.5, "map": {}}
    ((answer,), _method) = xmlrpc.client.loads(dump_response(value))
    assert answer == {**value, "number": str(2**40)}


def test_times_are_times() -> None:
    assert dump_value(DateTime("20260101T00:00:00Z")) == (
        "<value><dateTime.iso8601>20260101T00:00:00Z</dateTime.iso8601></value>"
    )


def test_what_xml_cannot_hold_is_dropped() -> None:
    assert dump_value("a\x00\x1b\ud800b") == "<value>ab</value>"


def test_what_the_wire_cannot_carry() -> None:
    with pytest.raises(TypeError):
        dump_value(b"bytes")


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"<a>", b"<a/><b/>", b"\xff", b"<value>\x00</value>", b"<a>&nbsp;</a>"],
)
def test_not_xml(data: bytes) -> None:
    with pytest.raises(XmlError, match=r"line \d+$") as caught:
        parse_response(data)
    assert not isinstance(caught.value, NotXmlRpcError)


@pytest.mark.parametrize(
    "xml",
    [
        "<value><i4>x</i4></value>",
        "<value><boolean>2</boolean></value>",
        "<value><double>x</double></value>",
        "<value><base64>AA==</base64></value>",
        "<value><string><b/></string></value>",
        "<value><i4>1</i4><i4>2</i4></value>",
        "<value><array/></value>",
        "<value><array><list/></array></value>",
        "<value><struct><x/></struct></value>",
        "<value><struct><member><value/></member></struct></value>",
        "<other/>",
    ],
)
def test_not_xml_rpc(xml: str) -> None:
    with pytest.raises(NotXmlRpcError):
        parse_response(response(xml))


@pytest.mark.parametrize("data", [b"<methodResponse/>", b"<methodResponse><x/></methodResponse>", b"<x/>"])
def test_not_a_response(data: bytes) -> None:
    with pytest.raises(NotXmlRpcError):
        parse_response(data)


@pytest.mark.parametrize("data", [b"<methodResponse/>", b"<methodCall/>", b"<methodCall><x/></methodCall>"])
def test_not_a_call(data: bytes) -> None:
    with pytest.raises(NotXmlRpcError):
        parse_call(data)


def test_fault() -> None:
    data = xmlrpc.client.dumps(xmlrpc.client.Fault(3, "why")).encode()
    assert parse_response(data) == Fault(3, "why")
    with pytest.raises(NotXmlRpcError):
        parse_response(b"<methodResponse><fault><value>x</value></fault></methodResponse>")


def test_billion_laughs_is_refused_at_once() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><methodResponse>&e9;</methodResponse>'
    start = time.monotonic()
    with pytest.raises(XmlError, match="document type not allowed"):
        parse_response(bomb.encode())
    assert time.monotonic() - start < 5


def test_external_entity_is_refused() -> None:
    with pytest.raises(XmlError, match="document type not allowed"):
        parse_response(b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><methodResponse/>')


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(XmlError, match="nested too deeply"):
        parse_response(b"<a>" * 100_000)
