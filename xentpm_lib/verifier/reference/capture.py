"""Capturing reference values: what a host shows becomes what it has to show.

Whoever captures says that the host is in a known-good state. What can be checked of that is checked: the
evidence verified, nothing that the policy wants measured is blank, and no key or log is in doubt.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable

from xentpm_lib.errors import EvidenceError, UsageError
from xentpm_lib.verifier.appraisal.measurements import measurement_findings
from xentpm_lib.verifier.appraisal.model import VerifiedEvidence
from xentpm_lib.verifier.findings import Category, Finding
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.result import AttestationResult

__all__ = ["MAX_LABEL_LENGTH", "ORIGINS", "CaptureError", "capture", "check_label"]

MAX_LABEL_LENGTH = 100  # characters
ORIGINS = ("captured", "approved", "imported", "predicted")

_NEVER = (Category.KEY, Category.EVIDENCE, Category.COLLECTION)


class CaptureError(EvidenceError):
    """What a host shows cannot be made reference values. findings: why."""

    default_code = "XENTPM_CAPTURE_REFUSED"

    def __init__(self, message: str, hint: str = "", findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message, hint)
        self.findings = findings


def capture(
    result: AttestationResult,
    evidence: VerifiedEvidence | None,
    host: HostRecord,
    policy: Policy,
    label: str,
    who: str,
    now: float,
    origin: str = "captured",
) -> ReferenceValues:
    """New reference values from an appraisal of the host, assigned to the host itself.

    1. the appraisal is of this host, by this policy, and is not over
    2. its evidence verified
    3. no finding on keys or evidence failed
    4. nothing that has to be measured is blank: all-zero or all-FF

    label: printable, 1 to 100 characters. who: the person. origin: ``captured`` or ``approved``.
    All registers of the policy's banks are kept, so that a later policy can compare more of them.
    The caller stores ``evidence.event_log`` under the digest that is in ``event_log``.

    Raises:
        CaptureError: one of the four does not hold.
        UsageError: a label that cannot be.
    """
    # 1. this host, this policy, now
    if (result.host_id, result.policy) != (host.host_id, policy.used):
        raise CaptureError("the result is of another host or policy")
    if not result.appraised_at <= now < result.expires_at:
        raise CaptureError("the result has expired", "Attest the host again, then capture.")
    # 2. verified evidence, 3. nothing in doubt
    _refuse(host, [one for one in result.findings if one.failed and one.kind.category in _NEVER])
    if evidence is None or result.clock is None:
        raise CaptureError(f"the evidence of {host.name} could not be verified")
    # 4. nothing blank
    _refuse(host, measurement_findings(evidence.pcrs, policy))
    return ReferenceValues(
        reference_id=str(uuid.uuid4()),
        label=check_label(label),
        origin=origin,
        created_at=now,
        created_by=who,
        pcrs={rules.bank: dict(evidence.pcrs[rules.bank]) for rules in policy.banks},
        source_host=host.host_id,
        event_log=_log_digest(evidence),
        boot_log=evidence.boot_log,
        hosts=frozenset({host.host_id}),
    )


def check_label(label: str) -> str:
    """The label without spaces around it. Raises: UsageError when it is none."""
    plain = label.strip()
    if not 1 <= len(plain) <= MAX_LABEL_LENGTH or not plain.isprintable():
        raise UsageError(f"a label has 1 to {MAX_LABEL_LENGTH} printable characters, got {label[:120]!a}")
    return plain


def _log_digest(evidence: VerifiedEvidence) -> str:
    """Of a log that replays only: another one would tell lies about the values for ever."""
    if evidence.events is None or evidence.event_log is None:
        return ""
    return hashlib.sha256(evidence.event_log).hexdigest()


def _refuse(host: HostRecord, findings: Iterable[Finding]) -> None:
    found = tuple(findings)
    if not found:
        return
    lines = []
    for one in found:
        about = " ".join(word for word in (one.where, f"({one.component})" if one.component else "") if word)
        lines.append(f"  {one.code}: {one.kind.title}" + (f": {about}" if about else ""))
    message = "\n".join([f"what {host.name} shows cannot be made reference values:", *lines])
    raise CaptureError(message, found[0].kind.advice, found)
