"""From findings to an Attestation Result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from xentpm_lib.evidence.quote import EVIDENCE_LIMITS
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import AttestationResult, ReferenceUsed, TpmClock

__all__ = ["conclude", "evidence_digest", "unappraised"]


def unappraised(host: HostRecord, policy: Policy, now: float, *findings: Finding) -> AttestationResult:
    """The result of a host of which there is no evidence to look at. Always untrusted.

    findings: why; an INTERNAL_ERROR is added where none of them failed.
    """
    if not any(found.failed for found in findings):
        findings += (finding("INTERNAL_ERROR", detail="there is no evidence and no reason for it"),)
    return conclude(host, policy, now, findings)


def conclude(
    host: HostRecord,
    policy: Policy,
    now: float,
    findings: Iterable[Finding],
    references: tuple[ReferenceUsed, ...] = (),
    clock: TpmClock | None = None,
    digest: str = "",
) -> AttestationResult:
    """The result that the findings make, each with the severity that the policy gives it."""
    return AttestationResult(
        host_id=host.host_id,
        host_name=host.name,
        pool_id=host.pool_id,
        findings=tuple([_weighed(found, policy) for found in findings]),
        appraised_at=now,
        expires_at=now + policy.timing.lease,
        policy=policy.used,
        references=references,
        clock=clock,
        ek_trust=host.ek_trust.value,
        evidence_digest=digest,
        host_serial=host.serial,
    )


def evidence_digest(text: str) -> str:
    """SHA-256 of the document, hex; empty when it is too large to be one."""
    if len(text) > EVIDENCE_LIMITS.length:
        return ""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _weighed(found: Finding, policy: Policy) -> Finding:
    """The finding as the policy weighs it. What holds the chain of proof together always fails."""
    severity = policy.severities.get(found.code)
    if severity is None or not found.kind.adjustable:
        return found
    return replace(found, severity=severity)
