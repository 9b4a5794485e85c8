"""Challenges: random numbers for quotes to answer, each for one host, one key, one time, and not for long.

A quote is fresh because its extraData is a nonce that nobody could know before it was asked for. So that an
answer cannot be used twice or for another host, a nonce is handed in before the answer is looked at, and what
``appraise`` takes is the receipt for that.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from xentpm_lib.errors import EvidenceError
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.verifier.attestation_key import attestation_key
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord

__all__ = [
    "MAX_OUTSTANDING",
    "NONCE_SIZE",
    "Challenge",
    "ChallengeBook",
    "ChallengeError",
    "RedeemedChallenge",
]

NONCE_SIZE = 32  # bytes
MAX_OUTSTANDING = 65_536  # challenges without an answer; beyond, the oldest is forgotten


class ChallengeError(EvidenceError):
    """An answer that no challenge waits for. finding: ``EVIDENCE_EXPIRED`` or ``NONCE_MISMATCH``."""

    default_code = "XENTPM_CHALLENGE_UNKNOWN"

    def __init__(self, finding: str, message: str) -> None:
        super().__init__(message, "Ask the host again.")
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a host is asked.

    nonce: 32 random bytes. ak_name: Name of the key that has to sign. selection: the PCRs.
    issued_at, expires_at: seconds since 1970, UTC.
    """

    nonce: bytes
    host_id: str
    ak_name: bytes
    selection: PcrSelection
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class RedeemedChallenge:
    """The receipt for a challenge that nobody can use again. ``ChallengeBook.redeem`` makes it."""

    challenge: Challenge
    redeemed_at: float


class ChallengeBook:
    """All challenges that wait for an answer. Several threads may use it.

    clock: seconds since 1970, UTC.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[bytes, Challenge] = {}

    def __len__(self) -> int:
        """How many wait, expired ones included until they are asked for or room is needed."""
        return len(self._waiting)

    def issue(self, host: HostRecord, policy: Policy) -> Challenge:
        """A new challenge for the host, for all PCRs of the policy's banks."""
        now = self._clock()
        challenge = Challenge(
            nonce=secrets.token_bytes(NONCE_SIZE),
            host_id=host.host_id,
            ak_name=attestation_key(host.ak).name,
            selection=policy.selection,
            issued_at=now,
            expires_at=now + policy.timing.evidence_age,
        )
        with self._lock:
            if len(self._waiting) >= MAX_OUTSTANDING:
                self._make_room(now)
            self._waiting[challenge.nonce] = challenge
        return challenge

    def redeem(self, challenge: Challenge) -> RedeemedChallenge:
        """Use the challenge up, whatever its answer is worth.

        Raises:
            ChallengeError: it was never issued, was used before, was changed since, or has expired.
        """
        with self._lock:
            issued = self._waiting.pop(challenge.nonce, None)
        now = self._clock()
        if issued is None or not _same(issued, challenge):
            raise ChallengeError("NONCE_MISMATCH", "the challenge was not issued, or was answered before")
        if not issued.issued_at <= now <= issued.expires_at:
            message = f"the answer came {now - issued.issued_at:.1f} s after the question"
            raise ChallengeError("EVIDENCE_EXPIRED", message)
        return RedeemedChallenge(issued, now)

    def discard(self, challenge: Challenge) -> None:
        """Forget a challenge whose answer will not come."""
        with self._lock:
            self._waiting.pop(challenge.nonce, None)

    def _make_room(self, now: float) -> None:
        """Forget what has expired; if that is not enough, the oldest: its answer will be refused."""
        self._waiting = {nonce: one for nonce, one in self._waiting.items() if now <= one.expires_at}
        while len(self._waiting) >= MAX_OUTSTANDING:
            del self._waiting[next(iter(self._waiting))]


def _same(issued: Challenge, presented: Challenge) -> bool:
    return hmac.compare_digest(issued.nonce, presented.nonce) and issued == presented
