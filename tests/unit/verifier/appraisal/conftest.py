"""A host and all that the verifier knows of it, so that a test changes one thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.verifier.appraisal import Appraisal, appraise
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.result import State, TpmClock, Verdict

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
        self.book = ChallengeBook(lambda: self.now)

    def ask(self, **changes: Any) -> Appraisal:
        """Challenge the host, let it answer with ``changes``, and appraise."""
        challenge = self.book.issue(self.record, self.policy)
        text = self.attester.text(challenge.nonce, self.policy.selection, **changes)
        return self.appraise(text, self.book.redeem(challenge))

    def appraise(self, text: Any, redeemed: Any) -> Appraisal:
        return appraise(text, redeemed, self.record, self.references, self.policy, self.previous, self.now)

    def codes(self, **changes: Any) -> list[str]:
        """The codes of what is found, in order; a verdict that does not fit them fails the test."""
        appraisal = self.ask(**changes)
        failed = any(found.failed for found in appraisal.result.findings)
        assert (appraisal.result.verdict is Verdict.TRUSTED) is not failed
        assert (appraisal.result.state is State.TRUSTED) is not failed
        return [found.code for found in appraisal.result.findings]


@pytest.fixture(params=["ecc", "rsa"])
def any_desk(request, attesters):
    """A desk for a host with a P-256 and one with an RSA attestation key."""
    return Desk(attesters(request.param))


@pytest.fixture
def desk(attesters):
    """A desk for a host with a P-256 key and an asset tag."""
    return Desk(attesters("ecc", tag=bytes(range(32))))


@pytest.fixture(scope="session")
def rsa_key():
    """One RSA key for the whole run: making it takes time."""
    return SoftwareAttester("rsa").key


@pytest.fixture
def attesters(rsa_key):
    """Make a host: kind of the attestation key, and fields of `SoftwareAttester`."""

    def make(kind: str = "ecc", **fields: Any) -> SoftwareAttester:
        if kind == "rsa":
            fields.setdefault("key", rsa_key)
        return SoftwareAttester(kind, **fields)

    return make


@pytest.fixture
def make_desk():
    """Make a desk: the host, and fields of the desk."""
    return Desk
