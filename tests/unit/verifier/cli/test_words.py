"""Words with a meaning, and times as people write them."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import pytest

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli import words
from xentpm_lib.verifier.cli.states_text import reason
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.findings import FINDING_KINDS, finding
from xentpm_lib.verifier.result import State


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("pool.example.com", "https://pool.example.com"),
        ("https://pool.example.com/", "https://pool.example.com"),
        ("10.0.0.1:8443", "https://10.0.0.1:8443"),
        ("https://[fe80::1]:8443", "https://[fe80::1]:8443"),
    ],
)
def test_url(text: str, url: str) -> None:
    assert words.url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://pool",
        "ftp://pool",
        "https://",
        "https://root:secret@pool",
        "https://pool/xapi",
        "https://pool?x",
        "https://pool:0",
        "https://pool:99999",
        "https://po ol",
        "https://[::1",
        "https://pool\x07",
    ],
)
def test_no_url(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        words.url(text)
    assert "secret" not in str(refused.value) or "password" not in text
    with pytest.raises(UsageError):
        words.checked_url(text)


def test_tag() -> None:
    assert words.tag("AB" * 20) == b"\xab" * 20
    assert len(words.tag("00" * 48)) == 48
    for text in ("", "ab" * 21, "zz" * 20, "ab " * 20, "\u0660" * 40):
        with pytest.raises(argparse.ArgumentTypeError):
            words.tag(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (86400 * 3 + 5, "3 d")],
)
def test_span(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_times() -> None:
    assert words.clock_time(0) == "1970-01-01 00:00:00 UTC"
    assert words.clock_time(None) == words.ago(None, 5) == ""
    assert words.ago(100, 220) == "2 min ago"


def test_an_error_without_a_hint_has_its_finding_s_advice() -> None:
    error = CollectionError("HOST_OFFLINE", "off")
    assert words.advice(error) == FINDING_KINDS["HOST_OFFLINE"].advice != ""
    assert words.advice(UsageError("x")) == ""


def test_components_that_contain_commas_are_told_apart() -> None:
    kernel, loader = "Xen, dom0 kernel or initrd", "boot loader"
    found = tuple(finding("PCR_CHANGED", component=name) for name in (kernel, loader, kernel))
    result = SimpleNamespace(findings=found)
    assert reason(State.UNTRUSTED_MEASUREMENT, result) == f"{kernel}; {loader}"
