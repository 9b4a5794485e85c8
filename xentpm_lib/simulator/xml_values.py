"""XML-RPC documents: strict parsing without entities, and writing as XAPI does.

Used for both directions of the endpoint and for what a plugin prints. A document type declaration
is refused, so no entity can be declared and none can expand.

Spec: http://xmlrpc.com/spec.html, and XAPI's dialect of it: 64-bit integers travel as strings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

__all__ = [
    "DateTime",
    "Fault",
    "MAX_DEPTH",
    "NotXmlRpcError",
    "Value",
    "XmlError",
    "dump_response",
    "dump_struct",
    "dump_value",
    "escape",
    "parse_call",
    "parse_response",
]

MAX_DEPTH = 64
"""Nesting of elements that a document may have."""

Value = object
"""str, bool, int, float, DateTime, None, list of values, or dict of str to value."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BLANK = re.compile("[ \t\n]*")
_INTEGER_TAGS = frozenset(("int", "i4", "i8"))


class DateTime(str):
    """A time as XAPI writes it: ``20260131T12:34:56Z``."""


class XmlError(Exception):
    """Not well-formed XML; the message ends with the line number, as XAPI's does."""


class NotXmlRpcError(XmlError):
    """Well-formed XML that is not the XML-RPC document that was wanted."""


@dataclass(frozen=True)
class Fault:
    """An XML-RPC fault response."""

    code: int
    reason: str


@dataclass
class _Element:
    tag: str
    line: int
    text: list[str] = field(default_factory=list)
    children: list[_Element] = field(default_factory=list)


class _TreeBuilder:
    """Builds elements from expat's events; refuses document types and deep nesting."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype
        self._stack: list[_Element] = []
        self._root: _Element | None = None

    def parse(self, data: bytes) -> _Element:
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            message = expat.errors.messages[error.code]
            raise XmlError(f"{message} line {error.lineno}") from error
        assert self._root is not None
        return self._root

    def _start(self, tag: str, _attributes: dict[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        if len(self._stack) >= MAX_DEPTH:
            raise XmlError(f"elements nested too deeply line {line}")
        element = _Element(tag, line)
        if self._stack:
            self._stack[-1].children.append(element)
        else:
            self._root = element
        self._stack.append(element)

    def _end(self, _tag: str) -> None:
        self._stack.pop()

    def _characters(self, text: str) -> None:
        if self._stack:
            self._stack[-1].text.append(text)

    def _refuse_doctype(self, *_arguments: object) -> None:
        raise XmlError(f"document type not allowed line {self._parser.CurrentLineNumber}")


def parse_call(data: bytes) -> tuple[str, list[Value]]:
    """The method name and the parameters of a methodCall. Raises: XmlError, NotXmlRpcError."""
    root = _TreeBuilder().parse(data)
    _want(root, "methodCall")
    children = {child.tag: child for child in root.children}
    if "methodName" not in children or not set(children) <= {"methodName", "params"}:
        raise NotXmlRpcError(f"methodCall: wanted methodName and params line {root.line}")
    params = children["params"].children if "params" in children else []
    return "".join(children["methodName"].text).strip(), [_param(param) for param in params]


def parse_response(data: bytes) -> list[Value] | Fault:
    """The values, or the fault, of a methodResponse. Raises: XmlError, NotXmlRpcError."""
    root = _TreeBuilder().parse(data)
    _want(root, "methodResponse")
    body = _only_child(root)
    if body.tag != "fault":
        _want(body, "params")
        return [_param(param) for param in body.children]
    value = _value(_only_child(body))
    if not isinstance(value, dict) or not isinstance(value.get("faultCode"), int):
        raise NotXmlRpcError(f"fault: wanted faultCode and faultString line {body.line}")
    return Fault(int(str(value["faultCode"])), str(value.get("faultString", "")))


def _want(element: _Element, tag: str) -> None:
    if element.tag != tag:
        raise NotXmlRpcError(f"wanted {tag}, got {element.tag} line {element.line}")


def _only_child(element: _Element) -> _Element:
    if len(element.children) != 1:
        got = len(element.children)
        raise NotXmlRpcError(f"{element.tag}: wanted 1 element, got {got} line {element.line}")
    return element.children[0]


def _param(element: _Element) -> Value:
    _want(element, "param")
    return _value(_only_child(element))


def _value(element: _Element) -> Value:
    _want(element, "value")
    if not element.children:
        return _text(element)
    inner = _only_child(element)
    if inner.tag == "struct":
        return dict(_member(member) for member in inner.children)
    if inner.tag == "array":
        data = _only_child(inner)
        _want(data, "data")
        return [_value(item) for item in data.children]
    if inner.children:
        raise NotXmlRpcError(f"{inner.tag}: wanted text line {inner.line}")
    return _scalar(inner)


def _scalar(element: _Element) -> Value:
    text = _text(element)
    try:
        if element.tag == "string":
            return text
        if element.tag == "boolean":
            return {"0": False, "1": True}[text.strip()]
        if element.tag in _INTEGER_TAGS:
            return int(text)
        if element.tag == "double":
            return float(text)
    except (KeyError, ValueError) as error:
        raise NotXmlRpcError(f"malformed {element.tag} line {element.line}") from error
    if element.tag == "dateTime.iso8601":
        return DateTime(text.strip())
    if element.tag == "nil":
        return None
    raise NotXmlRpcError(f"unknown type {element.tag[:40]} line {element.line}")


def _text(element: _Element) -> str:
    """XAPI's parser drops text that is nothing but blanks."""
    text = "".join(element.text)
    return "" if _BLANK.fullmatch(text) else text


def _member(element: _Element) -> tuple[str, Value]:
    _want(element, "member")
    if [child.tag for child in element.children] != ["name", "value"]:
        raise NotXmlRpcError(f"member: wanted name and value line {element.line}")
    name, value = element.children
    return "".join(name.text), _value(value)


def escape(text: str) -> str:
    """Text for XML as XAPI writes it: what XML cannot hold is dropped."""
    text = _NOT_XML.sub("", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def dump_value(value: Value) -> str:
    """The value element for ``value``. Raises: TypeError for what the wire cannot carry."""
    if isinstance(value, bool):
        return f"<value><boolean>{int(value)}</boolean></value>"
    if isinstance(value, DateTime):
        return f"<value><dateTime.iso8601>{value}</dateTime.iso8601></value>"
    if value is None or value == "":
        return "<value/>"
    if isinstance(value, (str, int)):
        return f"<value>{escape(str(value))}</value>"
    if isinstance(value, float):
        return f"<value><double>{value!r}</double></value>"
    if isinstance(value, dict):
        return f"<value>{dump_struct(value)}</value>"
    if isinstance(value, (list, tuple)):
        return f"<value><array><data>{''.join(map(dump_value, value))}</data></array></value>"
    raise TypeError(f"cannot be sent: {type(value).__name__}")


def dump_struct(members: dict[str, Value]) -> str:
    """A struct element; an empty one is ``<struct/>``."""
    body = "".join(
        f"<member><name>{escape(name)}</name>{dump_value(item)}</member>" for name, item in members.items()
    )
    return f"<struct>{body}</struct>" if body else "<struct/>"


def dump_response(value: Value) -> bytes:
    """A whole methodResponse with one value."""
    document = f"<methodResponse><params><param>{dump_value(value)}</param></params></methodResponse>"
    return b'<?xml version="1.0"?>' + document.encode("utf-8")
