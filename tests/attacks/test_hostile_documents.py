"""Attacks by the evidence document itself: JSON that means two things, or means to use the verifier up."""

from __future__ import annotations

import base64
import re
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import pytest

from support.evidence_maker import make_key
from xentpm_lib.errors import FormatError
from xentpm_lib.evidence import event_log, quote, strict_json
from xentpm_lib.evidence.quote import EVIDENCE_LIMITS
from xentpm_lib.evidence.strict_json import load_json

MIB = 1024 * 1024


@pytest.fixture
def fresh_parser() -> Iterator[Callable[[], None]]:
    """The parser keeps the rules that it was made with: make it anew, now and behind the test."""
    yield strict_json._decoder.cache_clear
    strict_json._decoder.cache_clear()


def load(text: str) -> Any:
    return load_json(text, "evidence", EVIDENCE_LIMITS)


def send(desk: Any, change: Callable[[str], str]) -> Any:
    challenge = desk.challenge()
    return desk.judge(change(desk.answer(challenge)), challenge)


def test_hostile_json_depth(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays within arrays use up the parser's stack."""

    def deep(text: str) -> str:
        return text[:-1] + ',"more":' + "[" * 100_000 + "]" * 100_000 + "}"

    desk.caught(send(desk, deep), "EVIDENCE_MALFORMED")
    monkeypatch.setattr(quote, "EVIDENCE_LIMITS", EVIDENCE_LIMITS._replace(depth=10**9))
    desk.caught(send(desk, deep), "INTERNAL_ERROR")  # and not trusted even so
    with pytest.raises(RecursionError):
        load_json("[" * 100_000, "evidence", EVIDENCE_LIMITS._replace(depth=10**9))


def test_hostile_json_duplicate_keys(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two readers of one text see two documents: here, two hosts."""

    def twice(text: str) -> str:
        return text.replace('{"version"', '{"host_uuid":"00000000-0000-4000-8000-000000000000","version"', 1)

    desk.caught(send(desk, twice), "EVIDENCE_MALFORMED")
    monkeypatch.setattr(strict_json, "_refuse_repetition", lambda _pairs: None)
    desk.believed(send(desk, twice))


def test_hostile_json_nan(
    desk: Any, monkeypatch: pytest.MonkeyPatch, fresh_parser: Callable[[], None]
) -> None:
    """A number that is neither above nor below any limit."""
    desk.caught(send(desk, partial(versioned, number="NaN")), "EVIDENCE_MALFORMED")
    for text in ("NaN", "Infinity", "-Infinity"):
        with pytest.raises(FormatError):
            load(text)
    monkeypatch.setattr(strict_json, "_refuse_number", float)
    fresh_parser()
    limit, read = 10, load("NaN")
    assert not read > limit and not read <= limit
    assert load("Infinity") == float("inf")


def versioned(text: str, number: str) -> str:
    return text.replace(":1,", f":{number},", 1)


def test_hostile_json_huge_numbers(
    desk: Any, monkeypatch: pytest.MonkeyPatch, fresh_parser: Callable[[], None]
) -> None:
    """Digits that take long to read, and an exponent that makes much of little."""
    for number in ("1" * 4000, "1" * 4_000_000, "1e999", "-1", "1.0"):
        desk.caught(send(desk, partial(versioned, number=number)), "EVIDENCE_MALFORMED")
    monkeypatch.setattr(strict_json, "_refuse_number", float)
    monkeypatch.setattr(strict_json, "_integer", int)
    fresh_parser()
    assert load("1" * 4000) > 10**3998
    assert load("1e999") == float("inf")
    # A version of 1.0 is another text of the same meaning: the document's own check still refuses it.
    desk.caught(send(desk, partial(versioned, number="1.0")), "EVIDENCE_MALFORMED")


def test_hostile_json_many_values(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two characters for each value that costs a hundred bytes."""

    def many(text: str) -> str:
        return text[:-1] + ',"more":[' + "[]," * 300_000 + "0]}"

    def most(limits: strict_json.Limits) -> int:
        tracemalloc.start()
        try:
            load_json(many("{}").replace("{,", "{"), "evidence", limits)
        except FormatError:
            pass
        finally:
            _now, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return peak

    desk.caught(send(desk, many), "EVIDENCE_MALFORMED")
    limits = EVIDENCE_LIMITS._replace(tokens=10**9)
    assert most(EVIDENCE_LIMITS) < 8 * MIB < 16 * MIB < most(limits)


def with_log(log: bytes) -> Callable[[str], str]:
    text = base64.b64encode(log).decode()
    return lambda document: re.sub('"event_log":"[^"]*"', f'"event_log":"{text}"', document)


def test_event_log_that_is_too_large(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of more than 2 MiB, which is the good one with much behind it that extends nothing."""
    true = desk.attester.event_log()
    nothing = struct.pack("<IIII", 0, event_log.EV_NO_ACTION, 0, MIB - 16) + bytes(MIB - 16)
    attack = with_log(true + nothing * 2)
    desk.caught(send(desk, attack), "EVIDENCE_MALFORMED")
    with monkeypatch.context() as one:
        one.setattr(quote, "MAX_EVENT_LOG_SIZE", 1 << 30)
        desk.caught(send(desk, attack), "EVENT_LOG_MALFORMED")
        one.setattr(event_log, "MAX_EVENT_LOG_SIZE", 1 << 30)
        desk.believed(send(desk, attack))


def test_event_log_of_many_events(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many events as fit: a minute's work for the price of a few bytes each."""
    nothing = struct.pack("<IIII", 0, event_log.EV_NO_ACTION, 0, 0)
    attack = with_log(desk.attester.event_log() + nothing * event_log.MAX_EVENTS)
    desk.caught(send(desk, attack), "EVENT_LOG_MALFORMED")
    monkeypatch.setattr(event_log, "MAX_EVENTS", 10**9)
    desk.believed(send(desk, attack))


def test_document_that_is_too_large(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """25 MiB of white space, as good as none to a parser."""

    def large(text: str) -> str:
        return text[:-1] + " " * 25 * MIB + "}"

    desk.caught(send(desk, large), "EVIDENCE_MALFORMED")
    monkeypatch.setattr(quote, "EVIDENCE_LIMITS", EVIDENCE_LIMITS._replace(length=1 << 40))
    desk.believed(send(desk, large))


def test_log_is_not_read_before_the_signature_holds(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was made to hurt whoever parses it, from somebody who has no TPM at all."""
    read: list[int] = []
    logs = import_module("xentpm_lib.verifier.appraisal.logs")
    true = logs.parse_event_log
    monkeypatch.setattr(logs, "parse_event_log", lambda data: read.append(len(data)) or true(data))
    desk.caught(desk.ask(key=make_key()), "SIGNATURE_INVALID")
    assert read == []
    monkeypatch.setattr("xentpm_lib.verifier.attestation_key.AttestationKey.signed", lambda *_anything: True)
    desk.believed(desk.ask(key=make_key()))
    assert read, "without that check it is read"
