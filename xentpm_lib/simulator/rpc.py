"""The two languages of the endpoint: XML-RPC and JSON-RPC 2.0. Bytes in, bytes out.

XAPI answers every call it understands with HTTP 200 and the error inside; a body that is no call at
all gets an HTTP error. In JSON-RPC ``error.data`` holds the parameters without the code, which is
``error.message``; 64-bit integers are strings in both languages.

Spec: https://xapi-project.github.io/new-docs/xen-api/wire-protocol/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from xentpm_lib.errors import FormatError
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xml_values import Value, XmlError, dump_response, parse_call

__all__ = ["FRONT_ENDS", "Api", "FrontEnd", "json_rpc", "xml_rpc"]

_JSON_ERROR_CODE = 1


class Api(Protocol):
    """What is behind an address. ``live``: whether it answers; else connections are closed without a word."""

    @property
    def live(self) -> bool:
        """Whether it answers now."""

    def call(self, name: str, params: Sequence[Value]) -> Value:
        """Carry out one call. Raises: XapiError."""


def xml_rpc(xapi: Api, body: bytes) -> bytes:
    """Answer an XML-RPC call. Raises: FormatError when the body is none."""
    try:
        name, params = parse_call(body)
    except XmlError as error:
        raise FormatError(f"not an XML-RPC call: {error}") from error
    try:
        return _xml_success(xapi.call(name, params))
    except XapiError as error:
        return dump_response({"Status": "Failure", "ErrorDescription": error.description})


def _xml_success(value: Value) -> bytes:
    return dump_response({"Status": "Success", "Value": value})


def json_rpc(xapi: Api, body: bytes) -> bytes:
    """Answer a JSON-RPC 2.0 call. Raises: FormatError when the body is none."""
    call_id, name, params = _json_call(body)
    answer: dict[str, Any] = {"jsonrpc": "2.0"}
    try:
        answer["result"] = _json_value(xapi.call(name, params))
    except XapiError as error:
        answer["error"] = {"code": _JSON_ERROR_CODE, "message": error.code, "data": list(error.params)}
    return json.dumps({**answer, "id": call_id}).encode()


def _json_call(body: bytes) -> tuple[str | int, str, list[Value]]:
    try:
        call = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError("not a JSON-RPC call: no JSON document") from error
    if not isinstance(call, dict) or call.get("jsonrpc") != "2.0":
        raise FormatError('not a JSON-RPC call: wanted an object with "jsonrpc": "2.0"')
    call_id, name, params = call.get("id"), call.get("method"), call.get("params", [])
    if isinstance(call_id, bool) or not isinstance(call_id, (str, int)):
        raise FormatError("id: wanted string or integer")
    if not isinstance(name, str) or not isinstance(params, list):
        raise FormatError("wanted method, a string, and params, an array")
    return call_id, name, params


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _json_value(value: Value) -> Value:
    """Integers become strings; truth values and floats stay."""
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return "" if value is None else value


@dataclass(frozen=True)
class FrontEnd:
    """One language, with the content type of its answers."""

    content_type: str
    answer: Callable[[Api, bytes], bytes]


_XML = FrontEnd("text/xml", xml_rpc)

FRONT_ENDS = {"/": _XML, "/RPC2": _XML, "/jsonrpc": FrontEnd("application/json", json_rpc)}
"""By the path of the URL."""
