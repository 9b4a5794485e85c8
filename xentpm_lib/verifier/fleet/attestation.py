"""One attestation of one host: challenge, collect, appraise. It ends with a result, whatever happens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xentpm_lib.evidence.encoding import encode_base64
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import VerifiedEvidence, appraise, unappraised
from xentpm_lib.verifier.challenge import ChallengeBook, ChallengeError
from xentpm_lib.verifier.enrolment.identity import identity_findings
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.findings import Category, Finding, finding
from xentpm_lib.verifier.fleet.room import Room
from xentpm_lib.verifier.fleet.states import still_in_doubt
from xentpm_lib.verifier.policy.model import Policy, Replay
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.result import AttestationResult, TpmClock
from xentpm_lib.verifier.xapi.pool import PoolClient

__all__ = ["Attempted", "Subject", "attest_host", "collection_result", "defect_result"]

_LOG = logging.getLogger(__name__)
_FUNCTION = "tpm_get_quote"
_ROOM = Room()  # of this process, whatever pools it asks


@dataclass(frozen=True, slots=True)
class Subject:
    """A host with all that it is judged by.

    previous: the clock of its last quote that held. doubts: what was found of it before and lasts until it is
    enrolled anew (``findings.LASTING``).
    """

    host: HostRecord
    policy: Policy
    references: Sequence[ReferenceValues]
    previous: TpmClock | None
    doubts: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempted:
    """What came of it. failure: why nothing could be collected; then another try may help.

    evidence: what the host sent, and verified: what its TPM said by it; both only where signature, nonce
    and digest held.
    """

    result: AttestationResult
    evidence: QuoteEvidence | None = None
    verified: VerifiedEvidence | None = None
    failure: CollectionError | None = None


def attest_host(
    client: PoolClient, subject: Subject, book: ChallengeBook, clock: Callable[[], float] = time.time
) -> Attempted:
    """Attest a host once. Never raises but for what ends the process.

    1. A new challenge for this host and its attestation key.
    2. The host's plugin answers it, within the policy's time limit.
    3. The challenge is redeemed: once, and in time.
    4. The answer is appraised.
    5. After a start of the host, at the first time and when a key is in doubt, its identity is read again.

    What was found before and lasts until the host is enrolled anew is found again.
    """
    try:
        return _attest(client, subject, book, clock)
    except CollectionError as error:
        return collection_result(subject, error, clock())
    except Exception:
        return defect_result(subject, clock())


def collection_result(subject: Subject, error: CollectionError, now: float) -> Attempted:
    """What an attestation is whose evidence could not be collected."""
    found = finding(error.finding, detail=error.message)
    return Attempted(_unappraised(subject, found, now), failure=error)


def defect_result(subject: Subject, now: float) -> Attempted:
    """What an attestation is that a defect of this program has ended. To be called while it is handled."""
    _LOG.exception("host %s: the attestation failed", subject.host.host_id)
    return Attempted(_unappraised(subject, finding("INTERNAL_ERROR"), now))


def _attest(
    client: PoolClient, subject: Subject, book: ChallengeBook, clock: Callable[[], float]
) -> Attempted:
    host, policy = subject.host, subject.policy
    # 1. A new challenge.
    challenge = book.issue(host, policy)
    args = {
        "nonce": encode_base64(challenge.nonce),
        "pcrs": challenge.selection.to_text(),
        "event_log": "false" if policy.replay is Replay.IGNORED else "true",
    }
    # 2. The host's answer.
    try:
        text = client.call_plugin(host.host_id, _FUNCTION, args, policy.timing.call_timeout)
    except CollectionError:
        book.discard(challenge)
        raise
    # 3. It is redeemed.
    try:
        redeemed = book.redeem(challenge)
    except ChallengeError as error:
        return Attempted(_unappraised(subject, finding(error.finding, detail=error.message), clock()))
    # 4. It is appraised.
    now = clock()
    with _ROOM.of(len(text)):
        appraisal = appraise(text, redeemed, host, subject.references, policy, subject.previous, now)
        evidence = None if appraisal.evidence is None else QuoteEvidence.from_json(text)
    result = appraisal.result
    # 5. The identity.
    more = _identity(client, subject, result)
    if more:
        result = replace(result, findings=result.findings + more)
    result = still_in_doubt(subject.doubts, result)
    return Attempted(result, evidence, appraisal.evidence)


def _identity(client: PoolClient, subject: Subject, result: AttestationResult) -> tuple[Finding, ...]:
    """What reading the identity again finds that the result does not say yet; nothing where it need not be.

    Raises: CollectionError, but not for a host that is untrusted anyway.
    """
    key_in_doubt = any(one.failed and one.kind.category is Category.KEY for one in result.findings)
    if not key_in_doubt and not _restarted(subject.previous, result.clock):
        return ()
    try:
        found = identity_findings(client, subject.host, timeout=subject.policy.timing.call_timeout)
    except CollectionError as error:
        if key_in_doubt:
            _LOG.info("host %s: its identity cannot be read: %s", subject.host.host_id, error)
            return ()
        raise
    known = {one.code for one in result.findings}
    return tuple(one for one in found if one.code not in known)


def _restarted(before: TpmClock | None, now: TpmClock | None) -> bool:
    """Whether the TPM was reset since the last quote that held. A quote that does not hold tells nothing."""
    return now is not None and (before is None or before.reset_count != now.reset_count)


def _unappraised(subject: Subject, found: Finding, now: float) -> AttestationResult:
    return still_in_doubt(subject.doubts, unappraised(subject.host, subject.policy, now, found))
