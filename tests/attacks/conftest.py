"""What the attacks are carried out on: pools of simulated hosts, and a verifier's desk for one host.

A test shows that an attack is caught, removes the one defence, and shows that the attack works then.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import support.desk
from support.evidence_maker import SoftwareAttester
from support.pool import new_pool, sim_pool
from xentpm_lib.evidence import quote as quote_document
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import Appraisal
from xentpm_lib.verifier.attestation_key import attestation_key
from xentpm_lib.verifier.challenge import Challenge
from xentpm_lib.verifier.result import Verdict

__all__ = ["Desk", "blind", "desk", "fresh_keys", "new_pool", "sim_pool"]


@dataclass
class Desk(support.desk.Desk):
    """A host that was enrolled and captured in a good state, and the verifier that asks it."""

    attester: SoftwareAttester = field(default_factory=lambda: SoftwareAttester(tag=bytes(range(32))))

    @property
    def good(self) -> dict[int, bytes]:
        """The values that were captured, of the bank sha256."""
        return self.references[0].pcrs["sha256"]

    def challenge(self) -> Challenge:
        """Ask the host."""
        return self.book.issue(self.record, self.policy)

    def answer(self, challenge: Challenge, **changes: Any) -> str:
        """What the host says, with ``changes`` as of `SoftwareAttester.text`."""
        return self.attester.text(challenge.nonce, challenge.selection, **changes)

    def judge(self, text: str | QuoteEvidence, challenge: Challenge) -> Appraisal:
        """Take an answer."""
        if isinstance(text, QuoteEvidence):
            text = json.dumps(quote_document._document(text))
        return self.appraise(text, self.book.redeem(challenge))

    def ask(self, **changes: Any) -> Appraisal:
        """Ask, answer with ``changes``, and judge."""
        challenge = self.challenge()
        return self.judge(self.answer(challenge, **changes), challenge)

    @staticmethod
    def caught(appraisal: Appraisal, *codes: str) -> None:
        """The host is untrusted, for these reasons and no other."""
        assert appraisal.result.verdict is Verdict.UNTRUSTED
        assert [one.code for one in appraisal.result.findings if one.failed] == list(codes)

    @staticmethod
    def believed(appraisal: Appraisal) -> None:
        """The host is trusted: what was to be shown of the attack without the defence."""
        assert [one.code for one in appraisal.result.findings if one.failed] == []
        assert appraisal.result.verdict is Verdict.TRUSTED


@pytest.fixture
def desk() -> Desk:
    """A host with an asset tag; what it says when nothing is wrong is believed."""
    made = Desk()
    made.believed(made.ask())
    return made


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``blind(module, value)``: removes the module's comparison with ``value``, and no other."""

    def remove(module: ModuleType, *values: bytes | str) -> None:
        def compare(one: Any, other: Any) -> bool:
            return one in values or other in values or hmac.compare_digest(one, other)

        monkeypatch.setattr(module, "hmac", SimpleNamespace(compare_digest=compare))

    return remove


@pytest.fixture
def fresh_keys() -> Iterator[Callable[[], None]]:
    """Forget the keys that were loaded, now and behind the test: their faults were looked at once."""
    yield attestation_key.cache_clear
    attestation_key.cache_clear()
