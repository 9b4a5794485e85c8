"""A host and all that the verifier knows of it, so that a test changes one thing."""

from __future__ import annotations

from typing import Any

import pytest

import support.desk
from support.evidence_maker import SoftwareAttester
from xentpm_lib.verifier.appraisal import Appraisal
from xentpm_lib.verifier.result import State, Verdict


class Desk(support.desk.Desk):
    """It also asks the host and tells what was found."""

    def ask(self, **changes: Any) -> Appraisal:
        """Challenge the host, let it answer with ``changes``, and appraise."""
        challenge = self.book.issue(self.record, self.policy)
        text = self.attester.text(challenge.nonce, self.policy.selection, **changes)
        return self.appraise(text, self.book.redeem(challenge))

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
