"""The plugin call as XAPI writes it, and the response as XAPI reads it."""

from xmlrpc import client

import pytest

from support.dom0 import method_call
from xentpm_lib.errors import FormatError
from xentpm_lib.host.xmlrpc_call import MAXIMUM_DEPTH, failure, parse_call, success

CALL = (
    "<methodCall><methodName>{name}</methodName><params><param>{session}</param>"
    "<param>{arguments}</param></params></methodCall>"
)
SESSION = "<value>OpaqueRef:secret</value>"
NO_ARGUMENTS = "<value><struct/></value>"


def _call(name="f", session=SESSION, arguments=NO_ARGUMENTS):
    return CALL.format(name=name, session=session, arguments=arguments)


def _member(value, name="a"):
    return _call(
        arguments="<value><struct><member><name>{}</name>{}</member></struct></value>".format(name, value)
    )


@pytest.mark.parametrize(
    "value, expected",
    [
        ("<value>v</value>", "v"),
        ("<value><string>v</string></value>", "v"),
        ("<value/>", ""),
        ("<value></value>", ""),
        ("<value><string/></value>", ""),
        ("<value> v </value>", " v "),
        ("<value>\n<string>v</string>\n</value>", "v"),
        ("<value>a&amp;b&lt;c&gt;&quot;&apos;</value>", "a&b<c>\"'"),
        ("<value>&#228;</value>", "ä"),
        ("<value>äöü€😀</value>", "äöü€😀"),
        ("<value><![CDATA[<b>]]></value>", "<b>"),
        ("<value>a<!-- note -->b</value>", "ab"),
        ("<value>a\tb\nc</value>", "a\tb\nc"),
    ],
)
def test_value(value, expected):
    assert parse_call(_member(value)).arguments == {"a": expected}


@pytest.mark.parametrize("arguments", [{}, {"nonce": "AA=="}, {"a": "", "b": "<&>", "c": "ä"}])
def test_as_xapi_writes_it(arguments):
    call = parse_call(method_call("tpm_get_quote", arguments))
    assert call == ("tpm_get_quote", "OpaqueRef:secret", arguments)


def test_as_python_writes_it():
    text = client.dumps(("OpaqueRef:secret", {"a": "b"}), "tpm_get_quote")
    assert parse_call(text) == ("tpm_get_quote", "OpaqueRef:secret", {"a": "b"})


def test_bytes_of_utf8_in_the_c_locale():
    """Python 3.6 without a locale reads argv as ASCII with escapes for what is not."""
    text = _member("<value>ä</value>").encode("utf-8").decode("ascii", "surrogateescape")
    assert parse_call(text).arguments == {"a": "ä"}


def _bomb(levels):
    entities = ['<!ENTITY e0 "x">']
    entities += ['<!ENTITY e{} "&e{};&e{};">'.format(n, n - 1, n - 1) for n in range(1, levels)]
    return "<!DOCTYPE methodCall [{}]>".format("".join(entities)) + _member("<value>&e9;</value>")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no XML",
        "<",
        "<methodCall>",
        "<methodCall/>",
        "<methodResponse/>",
        _call() + "x",
        _call() + _call(),
        _call()[:-5],
        "<methodCall><methodName>f</methodName></methodCall>",
        "<methodCall><methodName>f</methodName><params/></methodCall>",
        "<methodCall><params/><methodName>f</methodName></methodCall>",
        "<methodCall><methodName>f</methodName><params><param>{}</param></params></methodCall>".format(
            SESSION
        ),
        _call().replace("</params>", "<param><value>3</value></param></params>"),
        _call(session=""),
        _call(session="<value><int>1</int></value>"),
        _call(session=SESSION + SESSION),
        _call(arguments=""),
        _call(arguments="<value>text</value>"),
        _call(arguments="<value><array><data/></array></value>"),
        _member("<value><int>1</int></value>"),
        _member("<value><string>a</string><string>b</string></value>"),
        _member("<value><nil/></value>"),
        _member("<value><struct/></value>"),
        _member("<wrong>v</wrong>"),
        _member(""),
        _member("<value>1</value></member><member><name>a</name><value>2</value>"),
        _member("<value>&unknown;</value>"),
        _member("<value>&#1;</value>"),
        _member("<value>\x01</value>"),
        _member("<value>\x00</value>"),
        _member("<value>\udcff</value>"),
        "<!DOCTYPE methodCall>" + _call(),
        '<!DOCTYPE methodCall SYSTEM "file:///etc/passwd">' + _call(),
        '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + _member("<value>&x;</value>"),
        _bomb(10),
        _call(arguments="<value>" * 1000 + "</value>" * 1000),
        "<a>" * (MAXIMUM_DEPTH + 1) + "</a>" * (MAXIMUM_DEPTH + 1),
        "<?xml version='1.0' encoding='utf-16'?>" + _call(),
        "<?xml version='1.0' encoding='klingon'?>" + _call(),
        "<?xml version='1.0' encoding='shift_jis'?>" + _call(),
        "<?xml version='1.0' encoding='rot13'?>" + _call(),
        "<?xml version='1.0' encoding='idna'?>" + _call(),
    ],
)
def test_malformed(text):
    with pytest.raises(FormatError) as caught:
        parse_call(text)
    assert caught.value.code == "XENTPM_BAD_ARGUMENT"
    assert "the plugin call is malformed" in caught.value.message
    assert "OpaqueRef" not in caught.value.message


def test_the_record_does_not_show_its_session():
    call = parse_call(_member("<value>value-of-a</value>"))
    assert "secret" not in repr(call) + str(call)
    assert "value-of-a" not in repr(call)


# Responses


TEXTS = [
    "",
    "plain",
    "a<b>&amp;\"'",
    "]]>",
    "  spaces  ",
    "lines\nand\ttabs",
    "return\r\nand\ralone",
    "äöü€😀",
    "\u2028\u0085",
]


@pytest.mark.parametrize("text", TEXTS)
def test_success_is_read_back_as_it_was(text):
    ((result,), _) = client.loads(success(text).decode("ascii"))
    assert result == {"Status": "Success", "Value": text}


@pytest.mark.parametrize("text", TEXTS)
def test_failure_is_read_back_as_it_was(text):
    ((result,), _) = client.loads(failure(["CODE", text, "", text]).decode("ascii"))
    assert result == {"Status": "Failure", "ErrorDescription": ["CODE", text, "", text]}


def test_what_xml_cannot_hold_becomes_a_question_mark():
    bad = "\x00\x01\x08\x0b\x0c\x1f\ud800\udfff\ufffe\uffff"
    ((result,), _) = client.loads(success("a" + bad + "z").decode("ascii"))
    assert result["Value"] == "a" + "?" * len(bad) + "z"
