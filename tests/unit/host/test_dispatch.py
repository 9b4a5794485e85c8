"""What becomes of an error on its way to XAPI."""

import os
import sys
from types import SimpleNamespace

import pytest

from support.dom0 import PluginFailed, method_call, outcome
from xentpm_lib.errors import FormatError, XenTpmError
from xentpm_lib.host.dispatch import error_description, respond

MARK = "xentpm[{}]".format(os.getpid())


def test_an_error_of_ours():
    error = XenTpmError("message", "hint", "XENTPM_CODE")
    assert error_description(error) == ["XENTPM_CODE", "message", "hint", MARK]


def test_an_error_without_a_hint_has_one_all_the_same():
    description = error_description(FormatError("odd", where="offset 3"))
    assert description[:2] == ["XENTPM_BAD_FORMAT", "offset 3: odd"]
    assert description[2] and description[3] == MARK


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError(), UnicodeError("ä"), RecursionError("deep")])
def test_an_error_of_nobody(error):
    code, message, hint, mark = error_description(error)
    assert (code, mark) == ("XENTPM_INTERNAL", MARK)
    assert type(error).__name__ in message
    assert "report" in hint


@pytest.mark.parametrize(
    "text, plain",
    [
        ("ä€", "\\xe4\\u20ac"),
        ("a\nb\tc\r\0", "a b c  "),
        ("\udcff", "\\udcff"),
        ("x" * 5000, "x" * 2000),
        ("<&>", "<&>"),
    ],
)
def test_messages_are_ascii_on_one_line(text, plain):
    description = error_description(XenTpmError(text, text, "XENTPM_CODE"))
    assert description[1:3] == [plain, plain]


def test_no_code_makes_a_client_log_in_again():
    assert XenTpmError("m").code != "SESSION_INVALID"
    assert error_description(Exception())[0].startswith("XENTPM_")


def _respond(monkeypatch, function):
    call = method_call("f", {})
    monkeypatch.setattr(sys, "argv", ["tpm", call])
    return respond({"f": function}, "/nowhere/etc/xapi.d/plugins/tpm")


@pytest.mark.parametrize("error", [RuntimeError("odd"), KeyError("x"), MemoryError()])
def test_an_error_that_nobody_expected_is_answered(monkeypatch, error):
    def function(_host, _arguments):
        raise error

    with pytest.raises(PluginFailed) as caught:
        outcome(_respond(monkeypatch, function), b"", 0)
    assert caught.value.code == "XENTPM_INTERNAL"


def test_a_function_runs_once_whatever_becomes_of_the_module_of_dom0(monkeypatch):
    def dispatch(table):
        table["f"](None, {})
        raise OSError("the socket broke")

    calls = []
    module = SimpleNamespace(dispatch=dispatch, Failure=Exception)
    monkeypatch.setitem(sys.modules, "XenAPIPlugin", module)
    out = _respond(monkeypatch, lambda host, arguments: str(calls.append(1)))
    assert outcome(out, b"", 0) == "None"
    assert calls == [1]
