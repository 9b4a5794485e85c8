"""The little of XML-RPC that XAPI and its plugins speak, without the 25 ms import of ``xmlrpc.client``.

Spec: XML-RPC (2003); what XAPI writes is in docs/plugin-api.md: values may lack the ``<string>`` tag.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple
from xml.parsers import expat

from xentpm_lib.errors import FormatError

__all__ = ["Call", "failure", "parse_call", "success"]

MAXIMUM_DEPTH = 16
_SPACE = " \t\r\n"


class Call(NamedTuple):
    """A plugin call. ``session_ref`` is a secret: it is in no message and no log."""

    function: str
    session_ref: str
    arguments: Dict[str, str]

    def __repr__(self) -> str:
        """The function alone."""
        return "Call({!r})".format(self.function)


class _Element:
    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.text: List[str] = []
        self.children: List[_Element] = []

    def only(self, *tags: str) -> "_Element":
        """The single child, which must have one of ``tags``."""
        if len(self.children) != 1 or self.children[0].tag not in tags:
            raise _malformed("<{}> should hold one <{}>".format(self.tag, "> or <".join(tags)))
        return self.children[0]


def parse_call(text: str) -> Call:
    """Read the ``methodCall`` that XAPI gives to a plugin as its argument.

    Raises:
        FormatError: anything but a method name, a session reference and a struct of strings.
    """
    root = _parse(text)
    if root.tag != "methodCall" or [child.tag for child in root.children] != ["methodName", "params"]:
        raise _malformed("it is no <methodCall> of a <methodName> and <params>")
    name, params = root.children
    if [child.tag for child in params.children] != ["param", "param"]:
        raise _malformed("it should have two parameters")
    session_ref, arguments = (param.only("value") for param in params.children)
    return Call("".join(name.text).strip(_SPACE), _string(session_ref), _struct(arguments.only("struct")))


def success(value: str) -> bytes:
    """The response that makes XAPI return ``value``."""
    return _response([("Status", _string_value("Success")), ("Value", _string_value(value))])


def failure(description: List[str]) -> bytes:
    """The response that makes XAPI raise ``description`` as its error, the code first."""
    data = "".join("<value>{}</value>".format(_string_value(part)) for part in description)
    array = "<array><data>{}</data></array>".format(data)
    return _response([("Status", _string_value("Failure")), ("ErrorDescription", array)])


def _response(members: List[Tuple[str, str]]) -> bytes:
    text = "".join("<member><name>{}</name><value>{}</value></member>".format(*member) for member in members)
    return (
        "<?xml version='1.0'?>\n<methodResponse><params><param><value><struct>{}</struct></value></param>"
        "</params></methodResponse>\n".format(text)
    ).encode("ascii", "xmlcharrefreplace")


def _string_value(text: str) -> str:
    # Characters that XML cannot hold, and a lone carriage return, which a parser would change.
    clean = "".join(char if _is_xml(char) else "?" for char in text)
    escaped = clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    return "<string>{}</string>".format(escaped)


def _is_xml(char: str) -> bool:
    return char in "\t\n\r" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char >= "\U00010000"


def _parse(text: str) -> _Element:
    top = _Element("")
    open_elements = [top]

    def start(tag: str, _attributes: Any) -> None:
        if len(open_elements) > MAXIMUM_DEPTH:
            raise _malformed("it is nested deeper than {}".format(MAXIMUM_DEPTH))
        element = _Element(tag)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def refuse(*_: Any) -> None:
        raise _malformed("it has a document type")

    def check_encoding(_version: str, encoding: Optional[str], _standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            raise _malformed("its encoding is not UTF-8")

    parser = expat.ParserCreate("utf-8")  # whatever it declares
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _tag: open_elements.pop()
    parser.CharacterDataHandler = lambda data: open_elements[-1].text.append(data)
    parser.StartDoctypeDeclHandler = refuse
    parser.XmlDeclHandler = check_encoding
    try:
        parser.Parse(text.encode("utf-8", "surrogateescape"), True)
    except expat.ExpatError as error:
        raise _malformed("it is no XML ({})".format(expat.ErrorString(error.code))) from error
    return top.children[0]


def _struct(element: _Element) -> Dict[str, str]:
    arguments: Dict[str, str] = {}
    for member in element.children:
        if member.tag != "member" or [child.tag for child in member.children] != ["name", "value"]:
            raise _malformed("a <member> should hold a <name> and a <value>")
        name = "".join(member.children[0].text)
        if name in arguments:
            raise _malformed("an argument is given twice")
        arguments[name] = _string(member.children[1])
    return arguments


def _string(value: _Element) -> str:
    return "".join(value.only("string").text if value.children else value.text)


def _malformed(reason: str) -> FormatError:
    return FormatError("the plugin call is malformed: {}".format(reason), code="XENTPM_BAD_ARGUMENT")
