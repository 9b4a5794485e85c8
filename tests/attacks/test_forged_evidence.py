"""Attacks by root in dom0: evidence that no TPM has signed, or not for this question, or for another host."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester, make_key, make_policy, public_of
from support.in_process import call
from support.measured_boot import BOOT
from support.tpm2_tools import Tpm2Failed, flush, tpm2
from xentpm_lib.evidence import attest as attest_format
from xentpm_lib.evidence import attributes as bits
from xentpm_lib.evidence.attest import ATTEST_MAGIC, Attest
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.key_parameters import Scheme
from xentpm_lib.evidence.public import Public
from xentpm_lib.host import functions
from xentpm_lib.verifier import challenge as challenges
from xentpm_lib.verifier.appraisal import authenticity, clock, outcome
from xentpm_lib.verifier.attestation_key import AttestationKey, attestation_key
from xentpm_lib.verifier.challenge import ChallengeError, RedeemedChallenge
from xentpm_lib.verifier.findings import FINDING_KINDS, Severity, finding
from xentpm_lib.verifier.fleet import attestation
from xentpm_lib.verifier.fleet.attestation import Subject, attest_host
from xentpm_lib.verifier.fleet.states import state_at
from xentpm_lib.verifier.result import State, TpmClock, Verdict

appraisal_itself = import_module("xentpm_lib.verifier.appraisal.appraise")
CHANGED = (*BOOT, (9, 0x0D, b"/boot/a-module-of-the-attacker"))
NO_MAGIC = 0x5347544D


def without_magic(data: bytes) -> bytes:
    return NO_MAGIC.to_bytes(4, "big") + data[4:]


def good_looking(desk: Any) -> SoftwareAttester:
    """What the attacker shows in place of the host: its good state of once."""
    return copy.deepcopy(desk.attester)


# Forged statements.


def test_forged_attest_without_tpm_magic_cve_2024_29038(
    dom0: Any, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real TPM signs with the host's real, restricted key whatever does not begin as its own statements.

    CVE-2024-29038 (tpm2-tools) and CVE-2024-29040 (tpm2-tss): the magic number was not looked at.
    """
    ak = Identity.from_xml(call(dom0, functions.get_identity)).ak
    desk.attester.ak, desk.record = ak, replace(desk.record, ak=ak)
    desk.attester.tag, desk.record = None, replace(desk.record, asset_tag=None)

    def forge() -> Any:
        challenge = desk.challenge()
        made = desk.attester.quote_evidence(challenge.nonce, challenge.selection, signed_bytes=without_magic)
        with open(f"{dom0.root}/forged", "wb") as file:
            file.write(made.attest)
        words = ["-C", "e", "-g", "sha256", "-t", "ticket", "-o", "digest", "forged"]
        tpm2(dom0, "hash", *words)
        tpm2(dom0, "sign", "-c", "0x81010002", "-g", "sha256", "-d", "-t", "ticket", "-o", "signed", "digest")
        flush(dom0)
        with open(f"{dom0.root}/signed", "rb") as file:
            return desk.judge(made._replace(signature=file.read()), challenge)

    desk.caught(forge(), "ATTEST_MALFORMED")
    monkeypatch.setattr(attest_format, "ATTEST_MAGIC", NO_MAGIC)
    desk.believed(forge())


def test_forged_attest_with_tpm_magic_cve_2024_29040(
    dom0: Any, desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the magic number no TPM signs it, so that it has to be signed by a key outside of one."""
    call(dom0, functions.get_identity)
    forger = good_looking(desk)
    desk.attester.reboot(boot=CHANGED)
    challenge = desk.challenge()
    forged = forger.quote_evidence(challenge.nonce, challenge.selection, key=make_key(), tag_key=make_key())
    assert forged.attest.startswith(ATTEST_MAGIC.to_bytes(4, "big"))
    with open(f"{dom0.root}/forged", "wb") as file:
        file.write(forged.attest)
    with pytest.raises(Tpm2Failed):
        tpm2(dom0, "sign", "-c", "0x81010002", "-g", "sha256", "-o", "signed", "forged")
    flush(dom0)
    desk.caught(desk.judge(forged, challenge), "SIGNATURE_INVALID")
    monkeypatch.setattr(AttestationKey, "signed", lambda *_anything: True)
    challenge = desk.challenge()
    desk.believed(desk.judge(forger.text(challenge.nonce, key=make_key()), challenge))


def test_signature_failure_that_is_only_logged_cve_2023_3674(
    desk: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong signature was an error in the log, and the host stayed trusted. CVE-2023-3674 (Keylime)."""
    wrong = {"key": make_key(), "tag_key": make_key()}
    desk.caught(desk.ask(**wrong), "SIGNATURE_INVALID")
    assert desk.ask(**wrong).evidence is None, "nothing behind the signature is looked at"
    true = AttestationKey.signed

    def only_logged(key: AttestationKey, signature: Any, data: bytes) -> bool:
        if not true(key, signature, data):
            logging.getLogger("xentpm").error("the signature is wrong")
        return True

    monkeypatch.setattr(AttestationKey, "signed", only_logged)
    desk.believed(desk.ask(**wrong))
    assert "the signature is wrong" in caplog.text


def test_signature_failure_that_a_policy_makes_a_warning(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by configuration: what holds the chain of proof together cannot be weakened."""
    desk.policy = make_policy(severities={"SIGNATURE_INVALID": Severity.INFO})
    desk.caught(desk.ask(key=make_key()), "SIGNATURE_INVALID")
    weighed = finding("SIGNATURE_INVALID")
    assert outcome._weighed(weighed, desk.policy).failed
    monkeypatch.setitem(FINDING_KINDS, "SIGNATURE_INVALID", replace(weighed.kind, adjustable=True))
    assert not outcome._weighed(weighed, desk.policy).failed


def test_exception_that_leaves_trusted_cve_2022_3500(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host provokes an error in the verifier, which keeps the last verdict. CVE-2022-3500 (Keylime)."""
    last = desk.ask().result

    def defect(*_anything: object) -> Any:
        raise ZeroDivisionError("what nobody foresaw")

    class Client:
        call_plugin = staticmethod(defect)

    subject = Subject(desk.record, desk.policy, desk.references, None)

    def attest() -> Any:
        return attest_host(Client(), subject, desk.book, lambda: desk.now).result  # type: ignore[arg-type]

    # Behind the signature, and before there is any evidence.
    with monkeypatch.context() as broken:
        broken.setattr(appraisal_itself, "measurement_findings", defect)
        desk.caught(desk.ask(), "INTERNAL_ERROR")
    assert [one.code for one in attest().findings] == ["INTERNAL_ERROR"]
    assert attest().verdict is Verdict.UNTRUSTED
    # Without the net below each attestation the last result is what is known of the host.
    monkeypatch.setattr(attestation, "defect_result", lambda *_anything: attestation.Attempted(last))
    assert attest().verdict is Verdict.TRUSTED


def test_verifier_that_stopped_leaves_trusted(desk: Any) -> None:
    """Whatever stops the verifier altogether: trust ends by itself."""
    last = desk.ask().result
    assert state_at(desk.record, last, last.expires_at - 1) is State.TRUSTED
    assert state_at(desk.record, last, last.expires_at + 1) is State.STALE
    assert state_at(desk.record, replace(last, expires_at=float("inf")), last.expires_at + 1) is State.TRUSTED


# Keys.


def test_unrestricted_ak(desk: Any, monkeypatch: pytest.MonkeyPatch, fresh_keys: Callable[[], None]) -> None:
    """A key of the TPM that signs what root gives it was enrolled, by an older release or by hand."""
    forger = good_looking(desk)
    scheme = Scheme(forger.scheme, forger.hash_name)
    forger.ak = public_of(forger.key, forger.ak.attributes & ~bits.RESTRICTED, scheme)
    desk.record = replace(desk.record, ak=forger.ak)
    desk.attester.reboot(boot=CHANGED)

    def forge() -> Any:
        challenge = desk.challenge()
        return desk.judge(forger.text(challenge.nonce), challenge)

    desk.caught(forge(), "AK_UNFIT")
    monkeypatch.setattr(Public, "attestation_key_faults", lambda _key: ())
    fresh_keys()
    desk.believed(forge())


def test_ak_of_the_document_cve_2022_1053(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evidence names the key that it is to be verified with. CVE-2022-1053 (Keylime): it was believed."""
    forger = good_looking(desk)
    forger.key = make_key()
    forger.ak = public_of(forger.key, forger.ak.attributes, Scheme("ecdsa", "sha256"))
    desk.attester.reboot(boot=CHANGED)
    challenge = desk.challenge()
    desk.caught(desk.judge(forger.text(challenge.nonce), challenge), "AK_CHANGED", "SIGNATURE_INVALID")
    shown = attestation_key(forger.ak)
    monkeypatch.setattr(appraisal_itself, "_challenged_key", lambda _case: shown)
    challenge = desk.challenge()
    desk.believed(desk.judge(forger.text(challenge.nonce), challenge))


def test_sha1_signature(desk: Any, monkeypatch: pytest.MonkeyPatch, fresh_keys: Callable[[], None]) -> None:
    """The enrolled key signs with SHA-1, for which collisions are made: refused in three places."""
    from cryptography.hazmat.primitives import hashes

    from xentpm_lib.verifier import attestation_key as keys

    weak = SoftwareAttester(hash_name="sha1")
    weak.host_id = desk.record.host_id
    desk.attester, desk.record = weak, weak.record()
    desk.references = [weak.reference()]
    desk.caught(desk.ask(), "AK_UNFIT")
    monkeypatch.setattr(Public, "attestation_key_faults", lambda _key: ())
    fresh_keys()
    desk.caught(desk.ask(), "AK_UNFIT")
    monkeypatch.setitem(keys._HASHES, "sha1", hashes.SHA1)
    fresh_keys()
    desk.caught(desk.ask(), "SIGNATURE_SCHEME")
    desk.policy = make_policy(hashes=frozenset({"sha1"}))
    desk.believed(desk.ask())


# Nonces and replays.


class Keeps(dict):  # type: ignore[type-arg]
    """A book out of which nothing is taken."""

    def pop(self, key: Any, default: Any = None) -> Any:
        return self.get(key, default)


def test_nonce_reuse(desk: Any) -> None:
    """The answer to a challenge is given once more, when the host is not what it was."""
    challenge = desk.challenge()
    text = desk.answer(challenge)
    desk.believed(desk.judge(text, challenge))
    desk.attester.reboot(boot=CHANGED)
    with pytest.raises(ChallengeError) as caught:
        desk.judge(text, challenge)
    assert caught.value.finding == "NONCE_MISMATCH"
    desk.book._waiting = Keeps({challenge.nonce: challenge})
    desk.believed(desk.judge(text, challenge))
    desk.believed(desk.judge(text, challenge))


def test_fixed_nonces(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host has an answer in stock for the nonce that it was asked for last time."""
    first = desk.challenge()
    stock = desk.answer(first)
    desk.attester.reboot(boot=CHANGED)
    desk.caught(desk.judge(stock, desk.challenge()), "NONCE_MISMATCH")
    monkeypatch.setattr(challenges.secrets, "token_bytes", lambda size: first.nonce[:size])
    desk.believed(desk.judge(stock, desk.challenge()))


class AnyHost(str):
    """A host's id that is every host's."""

    def __eq__(self, _other: object) -> bool:
        return True

    def __ne__(self, _other: object) -> bool:
        return False

    __hash__ = str.__hash__


def test_cross_host_nonces(desk: Any) -> None:
    """What one host was asked is answered for another one, by a machine that is enrolled as both."""
    twin = replace(desk.record, host_id="00000000-0000-4000-8000-000000000000")
    challenge = desk.book.issue(twin, desk.policy)
    text = desk.answer(challenge)
    redeemed = desk.book.redeem(challenge)

    def judge(handed_in: RedeemedChallenge) -> Any:
        known = (desk.record, desk.references, desk.policy, None, desk.now)
        return appraisal_itself.appraise(text, handed_in, *known)

    desk.caught(judge(redeemed), "NONCE_MISMATCH")
    anybodys = replace(redeemed.challenge, host_id=AnyHost(challenge.host_id))
    desk.believed(judge(replace(redeemed, challenge=anybodys)))


def test_replay_of_old_evidence(desk: Any, blind: Callable[..., None]) -> None:
    old = desk.answer(desk.challenge())
    desk.attester.reboot(boot=CHANGED)
    desk.caught(desk.ask(), "PCR_CHANGED")
    challenge = desk.challenge()
    desk.caught(desk.judge(old, challenge), "NONCE_MISMATCH")
    challenge = desk.challenge()
    blind(authenticity, challenge.nonce)
    desk.believed(desk.judge(old, challenge))


def test_answer_that_was_kept_back(desk: Any) -> None:
    """The host answers at once, is changed, and hands the answer in afterwards."""

    def late() -> Any:
        attester, desk.attester = desk.attester, good_looking(desk)
        challenge = desk.challenge()
        text = desk.answer(challenge)
        desk.attester.reboot(boot=CHANGED)
        desk.attester, desk.now = attester, desk.now + 3600
        return desk.judge(text, challenge)

    with pytest.raises(ChallengeError) as caught:
        late()
    assert caught.value.finding == "EVIDENCE_EXPIRED"
    desk.policy = replace(desk.policy, timing=replace(desk.policy.timing, evidence_age=float("inf")))
    desk.believed(late())


def test_replay_of_evidence_from_another_host(
    desk: Any, monkeypatch: pytest.MonkeyPatch, blind: Callable[..., None]
) -> None:
    """A changed host passes the question on to a good one of the same kind. Two checks stop it."""
    other = SoftwareAttester(name="host2", boot=desk.attester.boot, system_uuid=desk.attester.system_uuid)
    desk.attester.reboot(boot=CHANGED, tag=None)
    desk.record = replace(desk.record, asset_tag=None)

    def relay() -> Any:
        challenge = desk.challenge()
        evidence = other.quote_evidence(challenge.nonce, challenge.selection)
        as_of_this_host = desk.attester.quote_evidence(challenge.nonce, challenge.selection)
        return desk.judge(
            as_of_this_host._replace(
                attest=evidence.attest,
                signature=evidence.signature,
                untrusted_pcrs=evidence.untrusted_pcrs,
                untrusted_event_log=evidence.untrusted_event_log,
            ),
            challenge,
        )

    desk.caught(relay(), "SIGNATURE_INVALID")
    monkeypatch.setattr(AttestationKey, "signed", lambda *_anything: True)
    desk.caught(relay(), "SIGNER_MISMATCH")
    blind(authenticity, attestation_key(desk.record.ak).qualified_name)
    desk.believed(relay())


def test_replay_from_before_a_reset(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A firmware or virtual TPM is set back to a copy of its good state, and signs fresh quotes of it."""
    copied = good_looking(desk)
    desk.attester.reboot(boot=CHANGED)
    result = desk.ask().result
    assert result.verdict is Verdict.UNTRUSTED and isinstance(result.clock, TpmClock)
    desk.previous, desk.attester = result.clock, copied
    desk.caught(desk.ask(), "CLOCK_WENT_BACK")
    monkeypatch.setattr(clock, "_went_back", lambda *_clocks: ())
    desk.believed(desk.ask())


def test_statement_of_another_kind(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate of the asset tag, signed by the right key over the right nonce, passed off as quote.

    It has no registers, so that a second check stops it, too.
    """

    def attack() -> Any:
        challenge = desk.challenge()
        document = json.loads(desk.answer(challenge))
        document["quote"].update({name: document["asset_tag"][name] for name in ("attest", "signature")})
        return desk.judge(json.dumps(document), challenge)

    desk.caught(attack(), "ATTEST_MALFORMED")
    monkeypatch.setattr(authenticity, "_parsed", lambda one: Attest.from_bytes(one.untrusted_attest))
    desk.caught(attack(), "PCR_SELECTION")
