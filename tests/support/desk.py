"""A host and all that the verifier knows of it, so that a test changes one thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.verifier.appraisal import Appraisal, appraise
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.result import TpmClock

__all__ = ["NOW", "Desk"]

NOW = 1_800_000_000.0


@dataclass
class Desk:
    """One host, its record, its reference values, a policy and a challenge book, with a clock that stands."""

    attester: SoftwareAttester
    policy: Policy = field(default_factory=make_policy)
    previous: TpmClock | None = None
    now: float = NOW

    def __post_init__(self) -> None:
        self.record: HostRecord = self.attester.record()
        self.references: list[ReferenceValues] = [self.attester.reference()]
        self.book = ChallengeBook(lambda: self.now, lambda: self.now)

    def appraise(self, text: Any, redeemed: Any) -> Appraisal:
        """What the verifier makes of an answer."""
        return appraise(text, redeemed, self.record, self.references, self.policy, self.previous, self.now)
