"""An Attestation Result for people: what was found, what was expected, what to do. Wrapped to a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime, timezone

from xentpm_lib.verifier.findings import Finding, Severity, advice_for
from xentpm_lib.verifier.plain import one_line
from xentpm_lib.verifier.result import AttestationResult, State

__all__ = ["DEFAULT_WIDTH", "result_to_text"]

DEFAULT_WIDTH = 79  # columns

_MIN_WIDTH = 40
_NAME = 10  # columns of a name and its space; with 4 before it a SHA-256 digest just fits
_INDENT = 2  # columns, where what belongs to a finding begins
_DIGEST_DIGITS = 12  # of a policy's digest, to tell versions apart
_SEVERITIES = (Severity.FAILED, Severity.WARNING, Severity.INFO)
_STATES = {
    State.TRUSTED: "trusted",
    State.UNTRUSTED_MEASUREMENT: "untrusted: a measurement is not as expected",
    State.UNTRUSTED_KEY: "untrusted: a key is not the enrolled one",
    State.UNTRUSTED_EVIDENCE: "untrusted: the evidence does not hold",
    State.UNREACHABLE: "untrusted: no evidence could be collected",
    State.STALE: "untrusted: the last result has expired",
    State.NOT_ENROLLED: "untrusted: not enrolled",
    State.PENDING_APPROVAL: "untrusted: waits for its first reference values",
}
_EK_TRUST = {
    "certificate": "certified by the TPM's maker",
    "pinned": "pinned",
    "first_use": "trusted on first use, proven by nobody",
    "": "not enrolled",
}


def result_to_text(
    result: AttestationResult, width: int = DEFAULT_WIDTH, state: State | None = None, host: str = "HOST"
) -> str:
    """The result as lines of at most ``width`` columns, ending in a newline. Times are UTC.

    state: what the host is now, where that is another than the result's own: its lease may have ended.
    host: what it is called in commands.
    Failed findings come first; advice that belongs to several is told once. Whatever a host wrote is
    shown without control characters.
    """
    columns = max(width, _MIN_WIDTH)
    lines = [*_wrapped(_headline(result, state or result.state), columns, 0), *_facts(result, columns)]
    for severity in _SEVERITIES:
        for group in _groups(result, severity):
            lines += ["", *_group_lines(group, columns, host)]
    return "\n".join(lines) + "\n"


def _headline(result: AttestationResult, state: State) -> str:
    return "{} is {}".format(one_line(result.host_name) or result.host_id, _STATES[state])


def _facts(result: AttestationResult, columns: int) -> Iterator[str]:
    facts = [
        ("host", one_line(result.host_id)),
        ("pool", one_line(result.pool_id)),
        ("attested", "{}, holds until {}".format(_time(result.appraised_at), _time(result.expires_at))),
        ("policy", "{} ({})".format(result.policy.name, result.policy.digest[:_DIGEST_DIGITS])),
        ("EK", _EK_TRUST.get(result.ek_trust, one_line(result.ek_trust))),
    ]
    facts += [
        ("baseline", "{} ({}): {}".format(used.label, used.id, "matches" if used.matched else "differs"))
        for used in result.references
    ]
    if result.clock is not None:
        counts = "{0.reset_count} resets, {0.restart_count} restarts, firmware {0.firmware_version:016x}"
        facts.append(("TPM", counts.format(result.clock)))
    for name, value in facts:
        yield from _wrapped(value, columns, _INDENT + _NAME, " " * _INDENT + name)


def _groups(result: AttestationResult, severity: Severity) -> list[list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for found in result.findings:
        if found.severity is severity:
            groups.setdefault(found.code, []).append(found)
    return list(groups.values())


def _group_lines(group: list[Finding], columns: int, host: str) -> Iterator[str]:
    first = group[0]
    head = "{}: {} [{}]".format(first.severity.value.upper(), first.kind.title, first.code)
    yield from _wrapped(head, columns, _INDENT, "")
    for found in group:
        yield from _finding_lines(found, columns)
    if first.kind.advice:
        yield from _wrapped("To do: " + advice_for(first.kind.advice, host), columns, _INDENT)


def _finding_lines(found: Finding, columns: int) -> Iterator[str]:
    what = ", ".join(filter(None, (found.component, found.where)))
    yield from _wrapped(what, columns, _INDENT)
    for name, value in (("expected", found.expected), ("actual", found.actual)):
        yield from _wrapped(value, columns, 2 * _INDENT + _NAME, " " * 2 * _INDENT + name)
    yield from _wrapped(found.detail, columns, 2 * _INDENT)


def _wrapped(text: str, columns: int, indent: int, first: str | None = None) -> list[str]:
    """Lines of cleaned text; none for an empty one. first: what stands before the first line, not spaces."""
    shown = one_line(text)
    if not shown:
        return []
    return textwrap.wrap(
        shown,
        columns,
        initial_indent=" " * indent if first is None else first and first.ljust(indent),
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
