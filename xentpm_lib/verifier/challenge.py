"""Challenges: random numbers for quotes to answer, each for one host, one key, one time, and not for long.

A quote is fresh because its extraData is a nonce that nobody could know before it was asked for. So that an
answer cannot be used twice or for another host, a nonce is handed in before the answer is looked at, and what
``appraise`` takes is the receipt for that. How old an answer is, is measured by a clock that nobody sets; the
time of day may be set right while a host is asked, and is for people only.
"""

from __future__ import annotations

import hmac
import logging
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
    "elapsed",
]

NONCE_SIZE = 32  # bytes
MAX_OUTSTANDING = 65_536  # challenges without an answer; beyond, the oldest is forgotten
_STEP_S = 5.0  # seconds; a clock that was set by more is worth a line in the log

_LOG = logging.getLogger(__name__)


def elapsed() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


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
    issued_at: seconds since 1970, UTC; for people. asked_at: seconds, by the book's clock that nobody sets.
    max_age: seconds that an answer may take.
    """

    nonce: bytes
    host_id: str
    ak_name: bytes
    selection: PcrSelection
    issued_at: float
    asked_at: float
    max_age: float


@dataclass(frozen=True, slots=True)
class RedeemedChallenge:
    """The receipt for a challenge that nobody can use again. ``ChallengeBook.redeem`` makes it.

    age: seconds between question and answer, whatever was done to the time of day.
    """

    challenge: Challenge
    age: float


class ChallengeBook:
    """All challenges that wait for an answer. Several threads may use it.

    clock: seconds since 1970, UTC. monotonic: seconds of a clock that nobody sets.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = elapsed
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._waiting: dict[bytes, Challenge] = {}
        self._offset = clock() - monotonic()

    def __len__(self) -> int:
        """How many wait, expired ones included until they are asked for or room is needed."""
        return len(self._waiting)

    def issue(self, host: HostRecord, policy: Policy) -> Challenge:
        """A new challenge for the host, for all PCRs of the policy's banks."""
        now = self._monotonic()
        challenge = Challenge(
            nonce=secrets.token_bytes(NONCE_SIZE),
            host_id=host.host_id,
            ak_name=attestation_key(host.ak).name,
            selection=policy.selection,
            issued_at=self._clock(),
            asked_at=now,
            max_age=policy.timing.evidence_age,
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
            now = self._monotonic()
            self._look_at_clock(now)
        if issued is None or not _same(issued, challenge):
            raise ChallengeError("NONCE_MISMATCH", "the challenge was not issued, or was answered before")
        age = now - issued.asked_at
        if not 0 <= age <= issued.max_age:
            raise ChallengeError("EVIDENCE_EXPIRED", f"the answer came {age:.1f} s after the question")
        return RedeemedChallenge(issued, age)

    def discard(self, challenge: Challenge) -> None:
        """Forget a challenge whose answer will not come."""
        with self._lock:
            self._waiting.pop(challenge.nonce, None)

    def _make_room(self, now: float) -> None:
        """Forget what has expired; if that is not enough, the oldest: its answer will be refused."""
        self._waiting = {
            nonce: one for nonce, one in self._waiting.items() if now - one.asked_at <= one.max_age
        }
        while len(self._waiting) >= MAX_OUTSTANDING:
            del self._waiting[next(iter(self._waiting))]

    def _look_at_clock(self, now: float) -> None:
        """Tell when the time of day was set by much: leases and records go by it. Once for each time."""
        offset = self._clock() - now
        if abs(offset - self._offset) > _STEP_S:
            _LOG.warning("the clock was set by %+.1f s; leases are measured by it", offset - self._offset)
            self._offset = offset


def _same(issued: Challenge, presented: Challenge) -> bool:
    return hmac.compare_digest(issued.nonce, presented.nonce) and issued == presented
