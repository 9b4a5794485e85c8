"""The appraisal itself. RFC 9334, section 8.4."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.attest import Attest
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal.asset_tag import proven_tag, tag_findings
from xentpm_lib.verifier.appraisal.authenticity import (
    Refusal,
    Statement,
    check_pcr_values,
    check_selection,
    check_statement,
)
from xentpm_lib.verifier.appraisal.boot_setup import setup_findings
from xentpm_lib.verifier.appraisal.clock import clock_findings, clock_of
from xentpm_lib.verifier.appraisal.logs import boot_log_findings, event_log_findings
from xentpm_lib.verifier.appraisal.measurements import measurement_findings
from xentpm_lib.verifier.appraisal.model import Appraisal, VerifiedEvidence
from xentpm_lib.verifier.appraisal.outcome import conclude, evidence_digest, unappraised
from xentpm_lib.verifier.appraisal.references import compare_references
from xentpm_lib.verifier.attestation_key import AttestationKey, attestation_key
from xentpm_lib.verifier.challenge import NONCE_SIZE, Challenge, RedeemedChallenge
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.policy.model import Policy, TagRule
from xentpm_lib.verifier.records import EkTrust, HostRecord, ReferenceValues
from xentpm_lib.verifier.result import ReferenceUsed, TpmClock

__all__ = ["appraise"]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Case:
    """One appraisal under way: what went in, and what was found so far."""

    challenge: Challenge
    age: float
    host: HostRecord
    references: Sequence[ReferenceValues]
    policy: Policy
    previous: TpmClock | None
    now: float
    findings: list[Finding] = field(default_factory=list)
    used: tuple[ReferenceUsed, ...] = ()
    clock: TpmClock | None = None


def appraise(
    text: str,
    challenge: RedeemedChallenge,
    host: HostRecord,
    references: Sequence[ReferenceValues],
    policy: Policy,
    previous: TpmClock | None,
    now: float,
) -> Appraisal:
    """Judge the evidence of one host. Pure: no file, network or clock; the same input gives the same result.

    The first failed check of 1 to 10 ends the appraisal, for nothing behind it would mean anything; of 11 to
    19 every one is made. Nothing in ``text`` raises; a defect of this program is INTERNAL_ERROR, untrusted.

    1. the document is within its limits and exactly as specified            EVIDENCE_MALFORMED
    2. the challenge is for this host and its enrolled key                   NONCE_MISMATCH
    3. the evidence is not older than the policy allows                      EVIDENCE_EXPIRED
    4. the enrolled key is one whose signature proves something              AK_UNFIT
    5. scheme and hash of the signature are allowed and the key's own        SIGNATURE_SCHEME
    6. the enrolled key signed these bytes                                   SIGNATURE_INVALID
    7. they are a quote that a TPM made                                      ATTEST_MALFORMED
    8. it answers the challenge; its signer is the enrolled key              NONCE_MISMATCH, SIGNER_MISMATCH
    9. it is over the PCRs that were asked for                               PCR_SELECTION
    10. the PCR values are those that it signs                               PCR_DIGEST
    11. the key and UUID that the host shows are those that it enrolled      AK_CHANGED, UUID_CHANGED
    12. the endorsement key is trusted in a way that the policy allows       EK_TRUST_NOT_ALLOWED
    13. the TPM's clock and counters have not gone back                      CLOCK_…, TPM_FIRMWARE_CHANGED
    14. what has to be measured was measured, in every bank                  PCR_NOT_EXTENDED, DYNAMIC_…
    15. the values are reference values                                      NO_REFERENCE_VALUES, PCR_CHANGED
    16. the event log leads to the signed values                             EVENT_LOG_…
    17. the boot log leads to the signed values                              BOOT_LOG_MISMATCH
    18. the asset tag is proven and the expected one                         ASSET_TAG_…
    19. measured boot stands as it was set up, by the host's own word        MEASURED_BOOT_…

    challenge: handed in at the book, with its answer's age. host: as enrolled. references: that may apply.
    previous: clock of its last verified quote. now: seconds since 1970, UTC; for the result's times.

    Spec: TPM 2.0 Library Part 1, Attestation; RFC 9334, section 8.
    """
    case = _Case(challenge.challenge, challenge.age, host, references, policy, previous, now)
    digest, verified = "", None
    try:
        digest = evidence_digest(text)
        verified = _verified(text, case)
    except Refusal as refusal:
        case.findings.append(refusal.found)
    except Exception as error:  # whatever was not foreseen must not leave a host trusted
        _log.exception("the appraisal of host %s failed", host.host_id)
        case.findings.append(_internal(error))
    return _appraisal(case, verified, digest)


def _appraisal(case: _Case, verified: VerifiedEvidence | None, digest: str) -> Appraisal:
    host, policy, now = case.host, case.policy, case.now
    if verified is None and not any(found.failed for found in case.findings):
        return Appraisal(unappraised(host, policy, now, *case.findings), None)
    result = conclude(host, policy, now, case.findings, case.used, case.clock, digest)
    return Appraisal(result, verified)


def _verified(text: str, case: _Case) -> VerifiedEvidence:
    """Checks 1 to 19: the evidence once it is verified, with ``case`` holding what was found.

    Raises:
        Refusal: one of 1 to 10 failed.
    """
    # 1. the document
    evidence = _parsed(text)
    # 2. host and key, 3. age, 4. fitness
    key = _challenged_key(case)
    # 11. what the host says of itself: early, because it explains a failed signature
    case.findings += _identity_findings(evidence, case.host, key)
    # 5. scheme, 6. signature, 7. type, 8. nonce and signer
    statement = Statement("quote", "quote", evidence.attest, evidence.signature)
    attest = check_statement(statement, key, case.challenge, case.policy)
    # 9. selection, 10. values
    quote = check_selection(attest, case.challenge.selection)
    pcrs = check_pcr_values(evidence.untrusted_pcrs, quote, key.hash)
    return _judged(attest, pcrs, evidence, key, case)


def _judged(
    attest: Attest, pcrs: PcrValues, evidence: QuoteEvidence, key: AttestationKey, case: _Case
) -> VerifiedEvidence:
    """Checks 12 to 19, of a verified quote and the values that it signs."""
    policy, found = case.policy, case.findings
    # 12. endorsement key
    found += _ek_findings(case.host, policy)
    # 13. clock
    case.clock = clock_of(attest)
    found += clock_findings(case.clock, case.previous)
    # 14. measured at all
    found += measurement_findings(pcrs, policy)
    # 15. reference values
    comparison = compare_references(pcrs, case.host, case.references, policy)
    case.used = comparison.used
    found += comparison.findings
    # 16. event log
    log_findings, events = event_log_findings(evidence.untrusted_event_log, pcrs, policy)
    found += log_findings
    # 17. boot log
    boot_findings = boot_log_findings(evidence.untrusted_boot_log, pcrs, policy)
    found += boot_findings
    # 18. asset tag
    tag = _tag(evidence, attest, key, case)
    # 19. measured boot set-up
    found += setup_findings(evidence.untrusted_boot_setup)
    boot_log = None if boot_findings else evidence.untrusted_boot_log
    return VerifiedEvidence(attest, pcrs, evidence.untrusted_event_log, events, boot_log, tag)


def _parsed(text: str) -> QuoteEvidence:
    try:
        return QuoteEvidence.from_json(text)
    except FormatError as error:
        raise Refusal(finding("EVIDENCE_MALFORMED", where=error.where, detail=error.message)) from None


def _challenged_key(case: _Case) -> AttestationKey:
    """The enrolled key, when the challenge is for it, has not expired, and the key is fit to answer."""
    challenge = case.challenge
    key = attestation_key(case.host.ak)
    if (challenge.host_id, challenge.ak_name) != (case.host.host_id, key.name):
        raise Refusal(finding("NONCE_MISMATCH", detail="the challenge was for another host or key"))
    if len(challenge.nonce) != NONCE_SIZE:
        raise Refusal(finding("NONCE_MISMATCH", detail=f"a nonce of {len(challenge.nonce)} bytes"))
    if challenge.selection != case.policy.selection:
        raise Refusal(finding("PCR_SELECTION", detail="the policy was changed since the host was asked"))
    if not 0 <= case.age <= challenge.max_age or not math.isfinite(case.now):
        allowed = f"at most {challenge.max_age:.1f} s"
        raise Refusal(finding("EVIDENCE_EXPIRED", expected=allowed, actual=f"{case.age:.1f} s"))
    if key.faults:
        raise Refusal(
            finding("AK_UNFIT", where="ak", component="attestation key", detail="; ".join(key.faults))
        )
    return key


def _identity_findings(evidence: QuoteEvidence, host: HostRecord, key: AttestationKey) -> list[Finding]:
    found = []
    if evidence.untrusted_ak_public != key.tpm2b or evidence.untrusted_ak_name != key.name:
        found.append(
            finding(
                "AK_CHANGED",
                where="ak",
                component="attestation key",
                expected=key.name.hex(),
                actual=evidence.untrusted_ak_name.hex(),
            )
        )
    if evidence.untrusted_host_uuid != host.host_id:
        found.append(
            finding(
                "UUID_CHANGED",
                where="host_uuid",
                component="host",
                expected=host.host_id,
                actual=evidence.untrusted_host_uuid,
            )
        )
    return found


def _ek_findings(host: HostRecord, policy: Policy) -> list[Finding]:
    found = []
    if host.ek_trust not in policy.ek_trust:
        allowed = ", ".join(sorted(trust.value for trust in policy.ek_trust))
        found.append(
            finding(
                "EK_TRUST_NOT_ALLOWED",
                where="ek",
                component="endorsement key",
                expected=allowed,
                actual=host.ek_trust.value,
            )
        )
    if host.ek_trust is EkTrust.FIRST_USE:
        found.append(finding("EK_FIRST_USE", where="ek", component="endorsement key"))
    return found


def _tag(evidence: QuoteEvidence, attest: Attest, key: AttestationKey, case: _Case) -> bytes | None:
    """The proven asset tag, None when there is none or it is not proven; ``case`` gets what was found."""
    policy, tag = case.policy, None
    if policy.asset_tag is TagRule.IGNORED:
        return None
    if evidence.asset_tag is not None:
        try:
            tag = proven_tag(evidence.asset_tag, attest, key, case.challenge, policy)
        except Refusal as refusal:
            case.findings.append(refusal.found)
            return None
    case.findings += tag_findings(tag, case.host.asset_tag, policy.asset_tag)
    return tag


def _internal(error: Exception) -> Finding:
    return finding("INTERNAL_ERROR", detail=type(error).__name__)
