"""An Attestation Result as JSON, version 1: what ``--json`` prints, webhooks carry and the store keeps.

docs/attestation-results.md describes it. ``verdict``, ``state``, ``category``, ``title`` and ``advice`` are
written for programs and people; when a result is read, the first three have to be what the findings make
them, and the last two are passed over, for they are sentences that may be worded better one day.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.strict_json import Limits, load_json, members
from xentpm_lib.verifier.findings import FINDING_KINDS, Finding, Severity
from xentpm_lib.verifier.records import EkTrust, UnenrolledHost
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, ReferenceUsed, State, TpmClock, Verdict
from xentpm_lib.verifier.times import format_time, parse_time

__all__ = [
    "MAX_RESULT_LENGTH",
    "RESULT_VERSION",
    "result_from_json",
    "result_from_object",
    "result_to_json",
    "result_to_object",
    "unenrolled_to_object",
]

RESULT_VERSION = 1
MAX_RESULT_LENGTH = 4 * 1024 * 1024  # characters

_LIMITS = Limits(length=MAX_RESULT_LENGTH, depth=8, tokens=400_000)
_MAX_U64 = 2**64 - 1
_MAX_U32 = 2**32 - 1
_FIELDS = (
    "version",
    "host",
    "verdict",
    "state",
    "appraised_at",
    "expires_at",
    "findings",
    "policy",
    "references",
    "clock",
    "ek_trust",
    "evidence_digest",
)
_TEXTS = ("expected", "actual", "where", "component", "detail")
_FINDING_FIELDS = ("code", "severity", "category", "title", *_TEXTS, "advice")
_CLOCK_FIELDS = ("clock_ms", "reset_count", "restart_count", "safe", "firmware_version")
_EK_TRUST = ("", *(trust.value for trust in EkTrust))

_Value = TypeVar("_Value")
_Kind = TypeVar("_Kind", bound=Enum)


def result_to_json(result: AttestationResult) -> str:
    """The result as one line of ASCII JSON. Times are rounded down to the millisecond.

    Raises:
        FormatError: a time that cannot be, or a result over ``MAX_RESULT_LENGTH``.
    """
    text = json.dumps(result_to_object(result), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    if len(text) > MAX_RESULT_LENGTH:
        message = "{} characters, at most {}".format(len(text), MAX_RESULT_LENGTH)
        raise FormatError(message, where="result")
    return text


def result_to_object(result: AttestationResult) -> dict[str, Any]:
    """The result as JSON values, to be put into a larger document. Raises: FormatError."""
    return {
        "version": RESULT_VERSION,
        "host": {"uuid": result.host_id, "name": _clean(result.host_name), "pool": result.pool_id},
        "verdict": result.verdict.value,
        "state": result.state.value,
        "appraised_at": format_time(result.appraised_at, "appraised_at"),
        "expires_at": format_time(result.expires_at, "expires_at"),
        "findings": [_finding_object(found) for found in result.findings],
        "policy": {"name": result.policy.name, "digest": result.policy.digest},
        "references": [
            {"id": used.id, "label": used.label, "matched": used.matched} for used in result.references
        ],
        "clock": None if result.clock is None else _clock_object(result.clock),
        "ek_trust": result.ek_trust,
        "evidence_digest": result.evidence_digest,
    }


def unenrolled_to_object(host: UnenrolledHost) -> dict[str, Any]:
    """A host of which no keys are known, as JSON values: what a result says of it that no result can have."""
    return {
        "version": RESULT_VERSION,
        "host": {"uuid": host.host_id, "name": _clean(host.name), "pool": host.pool_id},
        "verdict": Verdict.UNTRUSTED.value,
        "state": State.NOT_ENROLLED.value,
        "findings": [],
    }


def result_from_json(text: str) -> AttestationResult:
    """The result that ``result_to_json`` wrote.

    Raises:
        FormatError: anything else, with its path; also a verdict or state that the findings do not make.
    """
    return result_from_object(load_json(text, "result", _LIMITS))


def result_from_object(value: Any, where: str = "result") -> AttestationResult:
    """The result in what a strict JSON parser returned. Raises: FormatError, as ``result_from_json``."""
    found = members(value, where, _FIELDS)
    if found["version"] != RESULT_VERSION or isinstance(found["version"], bool):
        shown = ascii(found["version"])[:40]
        raise FormatError("version {}, expected {}".format(shown, RESULT_VERSION), where=where)
    host = members(found["host"], where + ".host", ("uuid", "name", "pool"))
    policy = members(found["policy"], where + ".policy", ("name", "digest"))
    result = _proven(
        where,
        host_id=_text(host, "uuid", where + ".host"),
        host_name=_text(host, "name", where + ".host"),
        pool_id=_text(host, "pool", where + ".host"),
        findings=_each(found, "findings", where, _finding),
        appraised_at=parse_time(found["appraised_at"], where + ".appraised_at"),
        expires_at=parse_time(found["expires_at"], where + ".expires_at"),
        policy=PolicyUsed(
            _text(policy, "name", where + ".policy"), _text(policy, "digest", where + ".policy")
        ),
        references=_each(found, "references", where, _reference),
        clock=None if found["clock"] is None else _clock(found["clock"], where + ".clock"),
        ek_trust=_one_of(found, "ek_trust", where, _EK_TRUST),
        evidence_digest=_text(found, "evidence_digest", where),
    )
    _agree(found, "verdict", where, result.verdict.value)
    _agree(found, "state", where, result.state.value)
    return result


def _finding_object(found: Finding) -> dict[str, str]:
    kind = found.kind
    return {
        "code": found.code,
        "severity": found.severity.value,
        "category": kind.category.value,
        "title": kind.title,
        "expected": _clean(found.expected),
        "actual": _clean(found.actual),
        "where": _clean(found.where),
        "component": _clean(found.component),
        "detail": _clean(found.detail),
        "advice": kind.advice,
    }


def _clean(text: str) -> str:
    """Without lone surrogates, which are no characters and cannot be written as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _clock_object(clock: TpmClock) -> dict[str, Any]:
    """64-bit numbers are text: many readers of JSON keep 53 bits."""
    return {
        "clock_ms": str(clock.clock),
        "reset_count": clock.reset_count,
        "restart_count": clock.restart_count,
        "safe": clock.safe,
        "firmware_version": "{:016x}".format(clock.firmware_version),
    }


def _proven(where: str, **fields: Any) -> AttestationResult:
    try:
        return AttestationResult(**fields)
    except AssertionError as error:
        raise FormatError(str(error), where=where) from error


def _finding(value: Any, where: str) -> Finding:
    found = members(value, where, _FINDING_FIELDS)
    code = _one_of(found, "code", where, tuple(FINDING_KINDS))
    severity = Severity(_one_of(found, "severity", where, tuple(one.value for one in Severity)))
    kind = FINDING_KINDS[code]
    _agree(found, "category", where, kind.category.value)
    if severity is not kind.severity and not kind.adjustable:
        raise FormatError("{} for {}".format(severity.value, code), where=where + ".severity")
    for name in ("title", "advice"):
        _text(found, name, where)
    return Finding(code, severity, **{name: _text(found, name, where) for name in _TEXTS})


def _reference(value: Any, where: str) -> ReferenceUsed:
    found = members(value, where, ("id", "label", "matched"))
    return ReferenceUsed(
        _text(found, "id", where), _text(found, "label", where), _boolean(found, "matched", where)
    )


def _clock(value: Any, where: str) -> TpmClock:
    found = members(value, where, _CLOCK_FIELDS)
    return TpmClock(
        clock=_large(found, "clock_ms", where, 10),
        reset_count=_count(found, "reset_count", where),
        restart_count=_count(found, "restart_count", where),
        safe=_boolean(found, "safe", where),
        firmware_version=_large(found, "firmware_version", where, 16),
    )


def _each(
    found: dict[str, Any], name: str, where: str, read: Callable[[Any, str], _Value]
) -> tuple[_Value, ...]:
    values = found[name]
    if not isinstance(values, list):
        raise _wrong("an array", values, where, name)
    return tuple(read(value, "{}.{}[{}]".format(where, name, index)) for index, value in enumerate(values))


def _text(found: dict[str, Any], name: str, where: str) -> str:
    value = found[name]
    if not isinstance(value, str):
        raise _wrong("text", value, where, name)
    if _clean(value) != value:
        raise FormatError("not Unicode text", where="{}.{}".format(where, name))
    return value


def _boolean(found: dict[str, Any], name: str, where: str) -> bool:
    value = found[name]
    if not isinstance(value, bool):
        raise _wrong("true or false", value, where, name)
    return value


def _count(found: dict[str, Any], name: str, where: str) -> int:
    value = found[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_U32:
        raise _wrong("a number of 32 bits", value, where, name)
    return value


def _large(found: dict[str, Any], name: str, where: str, base: int) -> int:
    text = _text(found, name, where)
    spell = "{:016x}".format if base == 16 else str
    digits = "0123456789abcdef"[:base]
    if not 1 <= len(text) <= 20 or text.strip(digits) or spell(int(text, base)) != text:
        raise FormatError("not a number as it is written here", where="{}.{}".format(where, name))
    if int(text, base) > _MAX_U64:
        raise FormatError("over 64 bits", where="{}.{}".format(where, name))
    return int(text, base)


def _one_of(found: dict[str, Any], name: str, where: str, allowed: tuple[str, ...]) -> str:
    value = _text(found, name, where)
    if value not in allowed:
        raise FormatError("{} is unknown".format(ascii(value[:40])), where="{}.{}".format(where, name))
    return value


def _agree(found: dict[str, Any], name: str, where: str, expected: str) -> None:
    if _text(found, name, where) != expected:
        message = "{}, but the findings make it {}".format(ascii(found[name][:40]), expected)
        raise FormatError(message, where="{}.{}".format(where, name))


def _wrong(expected: str, value: Any, where: str, name: str) -> FormatError:
    message = "expected {}, got {}".format(expected, type(value).__name__)
    return FormatError(message, where="{}.{}".format(where, name))
