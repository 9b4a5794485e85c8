"""The body of a notification: a JSON document, made once, sent byte for byte. See docs/orchestrators.md.

Where it says the same as a result does, it has the names of ``result_json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from xentpm_lib.errors import FormatError
from xentpm_lib.verifier.findings import Finding, Severity
from xentpm_lib.verifier.notification import MAX_BODY_BYTES
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, State, Verdict
from xentpm_lib.verifier.times import format_time, parse_time

__all__ = ["BODY_VERSION", "MAX_FINDINGS", "Document", "Event", "HostState", "Told", "clean", "read_body"]

BODY_VERSION = 1
MAX_FINDINGS = 20
MAX_TEXT = 300
"""Characters of one text that comes from a host or from XAPI."""

_ORDER = {Severity.FAILED: 0, Severity.WARNING: 1, Severity.INFO: 2}
_TEXTS = tuple("code severity category title expected actual where component detail advice".split())


class Event(str, Enum):
    """What a notification is about. RENEWED: nothing changed, marks on the host would have run out."""

    STATE_CHANGED = "state_changed"
    RENEWED = "renewed"
    CHANNEL_FAILED = "channel_failed"
    CHANNEL_RECOVERED = "channel_recovered"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Told:
    """A finding, as far as people are told of it. All text, cleaned."""

    code: str
    severity: str
    category: str
    title: str
    expected: str
    actual: str
    where: str
    component: str
    detail: str
    advice: str

    @classmethod
    def of(cls, found: Finding) -> Told:
        """What is told of a finding of a result."""
        kind = found.kind
        return cls(
            code=found.code,
            severity=found.severity.value,
            category=kind.category.value,
            title=kind.title,
            expected=clean(found.expected),
            actual=clean(found.actual),
            where=clean(found.where),
            component=clean(found.component),
            detail=clean(found.detail),
            advice=kind.advice,
        )

    def to_object(self) -> dict[str, str]:
        """As JSON values."""
        return {name: getattr(self, name) for name in _TEXTS}


@dataclass(frozen=True, slots=True)
class HostState:
    """What a host is, was, and why.

    since, expires_at: seconds since 1970; expires_at is 0 where nothing can expire.
    left_out: how many findings there were beyond those told. disable: the policy wants the host disabled.
    """

    host_id: str
    name: str
    pool_id: str
    pool_name: str
    state: State
    previous: State | None
    since: float
    expires_at: float = 0.0
    policy: PolicyUsed = PolicyUsed("", "")
    findings: tuple[Told, ...] = ()
    left_out: int = 0
    disable: bool = False

    def to_object(self, limit: int = MAX_FINDINGS) -> dict[str, Any]:
        """As JSON values, with at most ``limit`` findings."""
        trusted = self.state is State.TRUSTED
        dropped = max(0, len(self.findings) - limit)
        host = {
            "uuid": self.host_id,
            "name": clean(self.name),
            "pool": self.pool_id,
            "pool_name": clean(self.pool_name),
        }
        return {
            "host": host,
            "verdict": (Verdict.TRUSTED if trusted else Verdict.UNTRUSTED).value,
            "state": self.state.value,
            "previous_state": self.previous.value if self.previous else None,
            "since": format_time(self.since),
            "expires_at": format_time(self.expires_at) if trusted and self.expires_at else None,
            "policy": {"name": clean(self.policy.name), "digest": self.policy.digest},
            "findings": [told.to_object() for told in self.findings[:limit]],
            "findings_left_out": self.left_out + dropped,
            "disable_host": self.disable,
        }


@dataclass(frozen=True, slots=True)
class Document:
    """What a notification says. host: None where it is about no host. channel: the one that failed."""

    event: Event
    at: float
    summary: str
    host: HostState | None = None
    channel: str = ""

    def to_body(self, notification_id: str) -> str:
        """The JSON text, ASCII, at most MAX_BODY_BYTES: findings are left out when they do not fit.

        Raises:
            FormatError: a time that cannot be.
        """
        for limit in range(MAX_FINDINGS, -1, -1):
            text = json.dumps(self._to_object(notification_id, limit))
            if len(text) <= MAX_BODY_BYTES or limit == 0:
                break
        return text

    def _to_object(self, notification_id: str, limit: int) -> dict[str, Any]:
        found: dict[str, Any] = {
            "version": BODY_VERSION,
            "id": notification_id,
            "event": self.event.value,
            "at": format_time(self.at),
            "summary": clean(self.summary),
        }
        if self.channel:
            found["channel"] = self.channel
        return found if self.host is None else {**found, **self.host.to_object(limit)}


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Text of a host for other eyes: nothing that cannot be printed, no direction marks, not too long."""
    shown = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def told_of(result: AttestationResult | None) -> tuple[tuple[Told, ...], int]:
    """What is told of a result's findings, the gravest first, and how many were left out."""
    findings = () if result is None else result.findings
    ordered = sorted(findings, key=lambda found: _ORDER[found.severity])
    return tuple(Told.of(found) for found in ordered[:MAX_FINDINGS]), max(0, len(ordered) - MAX_FINDINGS)


def read_body(body: str) -> Document:
    """The document that ``to_body`` wrote.

    Raises:
        FormatError: it is something else; the outbox was altered, or is a later release's.
    """
    try:
        value = json.loads(body)
        if value["version"] != BODY_VERSION:
            raise FormatError(f"a notification of version {value['version']!r}, expected {BODY_VERSION}")
        return Document(
            Event(value["event"]),
            parse_time(value["at"]),
            str(value["summary"]),
            _host(value) if "host" in value else None,
            str(value.get("channel", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError("a notification in the outbox cannot be read") from error


def _host(value: dict[str, Any]) -> HostState:
    host, policy = value["host"], value["policy"]
    return HostState(
        host_id=str(host["uuid"]),
        name=str(host["name"]),
        pool_id=str(host["pool"]),
        pool_name=str(host["pool_name"]),
        state=State(value["state"]),
        previous=None if value["previous_state"] is None else State(value["previous_state"]),
        since=parse_time(value["since"]),
        expires_at=0.0 if value["expires_at"] is None else parse_time(value["expires_at"]),
        policy=PolicyUsed(str(policy["name"]), str(policy["digest"])),
        findings=tuple(Told(**{name: str(found[name]) for name in _TEXTS}) for found in value["findings"]),
        left_out=int(value["findings_left_out"]),
        disable=value["disable_host"] is True,
    )
