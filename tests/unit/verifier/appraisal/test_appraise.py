"""verifier/appraisal/appraise.py: every check of its docstring, in order, with the finding that it makes."""

import hashlib
import logging
import re
from dataclasses import replace

import pytest

from support.evidence_maker import AK_ATTRIBUTES, SoftwareAttester, make_key, make_policy, public_of
from support.measured_boot import BOOT
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.verifier.appraisal import appraise as appraise_function
from xentpm_lib.verifier.appraisal.appraise import _appraisal, _Case
from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.policy.model import TagRule
from xentpm_lib.verifier.records import EkTrust
from xentpm_lib.verifier.result import State, Verdict


def test_valid_evidence_is_trusted(any_desk):
    appraisal = any_desk.ask()
    result, evidence = appraisal.result, appraisal.evidence
    assert result.verdict is Verdict.TRUSTED
    assert result.findings == ()
    assert (result.host_id, result.pool_id) == (any_desk.record.host_id, any_desk.record.pool_id)
    assert (result.appraised_at, result.expires_at) == (any_desk.now, any_desk.now + 900)
    assert result.policy == any_desk.policy.used
    assert [(used.id, used.matched) for used in result.references] == [
        (any_desk.references[0].reference_id, True)
    ]
    assert result.clock.reset_count == 7
    assert result.ek_trust == "pinned"
    assert evidence.pcrs == any_desk.attester.pcrs
    assert evidence.attest.type == "quote"
    assert evidence.event_log == any_desk.attester.event_log()
    assert len(evidence.events.events) == len(BOOT)
    assert evidence.tag is None


def test_the_same_input_gives_the_same_result(desk):
    challenge = desk.book.issue(desk.record, desk.policy)
    text = desk.attester.text(challenge.nonce)
    redeemed = desk.book.redeem(challenge)
    first = desk.appraise(text, redeemed)
    assert desk.appraise(text, redeemed) == first
    assert first.result.evidence_digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_result_has_no_truth(desk):
    with pytest.raises(TypeError):
        bool(desk.ask().result)


@pytest.mark.parametrize("kind", ["p384", "rsa3072"])
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_other_keys_and_hashes(make_desk, kind, hash_name):
    assert make_desk(SoftwareAttester(kind, hash_name=hash_name)).codes() == []


def test_rsapss(make_desk, rsa_key):
    assert make_desk(SoftwareAttester(key=rsa_key, scheme="rsapss")).codes() == []


# 1. the document


@pytest.mark.parametrize(
    "text",
    ["", "{}", "null", "\ud800", "\0", "[" * 100_000, "{" * 100_000, " " * (25 * 2**20), "é"],
)
def test_1_no_document(desk, text):
    redeemed = desk.book.redeem(desk.book.issue(desk.record, desk.policy))
    appraisal = desk.appraise(text, redeemed)
    assert appraisal.result.verdict is Verdict.UNTRUSTED
    assert appraisal.result.state is State.UNTRUSTED_EVIDENCE
    assert [found.code for found in appraisal.result.findings] == ["EVIDENCE_MALFORMED"]
    assert appraisal.evidence is None


@pytest.mark.parametrize("text", [b"{}", None, 1])
def test_1_no_text(desk, text):
    redeemed = desk.book.redeem(desk.book.issue(desk.record, desk.policy))
    result = desk.appraise(text, redeemed).result
    assert [found.code for found in result.findings] == ["INTERNAL_ERROR"]
    assert result.verdict is Verdict.UNTRUSTED


def test_1_a_member_too_many_names_its_place(desk):
    found = desk.ask(document=lambda made: made["quote"].update(extra=1)).result.findings
    assert [(one.code, one.where) for one in found] == [("EVIDENCE_MALFORMED", "quote")]


# 2. the challenge


def test_2_a_challenge_of_another_host(desk, attesters):
    other = attesters("ecc")
    challenge = desk.book.issue(other.record(), desk.policy)
    text = desk.attester.text(challenge.nonce)
    result = desk.appraise(text, desk.book.redeem(challenge)).result
    assert [found.code for found in result.findings] == ["NONCE_MISMATCH"]


def test_2_a_challenge_of_the_host_before_it_got_another_key(desk):
    challenge = desk.book.issue(replace(desk.record, ak=public_of(make_key(), AK_ATTRIBUTES)), desk.policy)
    result = desk.appraise(desk.attester.text(challenge.nonce), desk.book.redeem(challenge)).result
    assert [found.code for found in result.findings] == ["NONCE_MISMATCH"]


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_2_a_nonce_of_another_size(desk, size):
    redeemed = desk.book.redeem(desk.book.issue(desk.record, desk.policy))
    redeemed = replace(redeemed, challenge=replace(redeemed.challenge, nonce=bytes(size)))
    result = desk.appraise(desk.attester.text(bytes(size)), redeemed).result
    assert [found.code for found in result.findings] == ["NONCE_MISMATCH"]


def test_2_a_policy_that_was_changed_meanwhile(desk):
    challenge = desk.book.issue(desk.record, desk.policy)
    text, redeemed = desk.attester.text(challenge.nonce), desk.book.redeem(challenge)
    rules = desk.policy.banks[0]
    desk.policy = make_policy(banks=(rules, replace(rules, bank="sha384")))
    assert [found.code for found in desk.appraise(text, redeemed).result.findings] == ["PCR_SELECTION"]


# 3. age


@pytest.mark.parametrize(
    "seconds, codes", [(0, []), (60, []), (60.1, ["EVIDENCE_EXPIRED"]), (-1, ["EVIDENCE_EXPIRED"])]
)
def test_3_age(desk, seconds, codes):
    challenge = desk.book.issue(desk.record, desk.policy)
    text, redeemed = desk.attester.text(challenge.nonce), desk.book.redeem(challenge)
    desk.now -= 3600  # the time of day is set while the host is asked
    appraisal = desk.appraise(text, replace(redeemed, age=float(seconds)))
    assert [found.code for found in appraisal.result.findings] == codes
    assert (appraisal.evidence is None) == bool(codes)


# 4. the enrolled key


@pytest.mark.parametrize(
    "attribute", [ts.RESTRICTED, ts.FIXED_TPM, ts.FIXED_PARENT, ts.SENSITIVE_DATA_ORIGIN]
)
def test_4_a_key_that_could_sign_what_no_tpm_made(make_desk, attesters, attribute):
    attester = attesters("ecc")
    attester.ak = public_of(attester.key, AK_ATTRIBUTES & ~attribute, ts.Scheme("ecdsa", "sha256"))
    desk = make_desk(attester)
    assert desk.codes() == ["AK_UNFIT"]
    assert "is not set" in desk.ask().result.findings[0].detail


@pytest.mark.parametrize("scheme", [None, ts.Scheme("ecdsa", "sha1"), ts.Scheme("ecdsa", "sha3_256")])
def test_4_a_key_without_a_fit_scheme(make_desk, attesters, scheme):
    attester = attesters("ecc")
    attester.ak = public_of(attester.key, AK_ATTRIBUTES, scheme)
    assert make_desk(attester).codes() == ["AK_UNFIT"]


def test_4_a_key_that_is_no_point(desk):
    desk.record = replace(desk.record, ak=desk.record.ak._replace(x=bytes(31) + b"\1"))
    assert desk.codes() == ["AK_UNFIT"]


# 5. scheme


def test_5_the_signature_claims_another_hash(desk):
    """CVE-2024-29039's relatives: the hash to verify with is the key's, never the signature's."""
    assert desk.codes(signature_hash="sha384") == ["SIGNATURE_SCHEME"]
    assert desk.codes(signature_hash="sha1") == ["SIGNATURE_SCHEME"]


def test_5_the_signature_claims_another_scheme(desk, rsa_key):
    other = SoftwareAttester(key=rsa_key)
    made = other.quote_evidence(bytes(32)).signature
    assert desk.codes(evidence={"signature": made}) == ["SIGNATURE_SCHEME"]


def test_5_no_signature_at_all(desk):
    assert desk.codes(evidence={"signature": b"\0\x10"}) == ["SIGNATURE_SCHEME"]  # TPM_ALG_NULL


def test_5_a_hash_that_the_policy_does_not_allow(desk):
    desk.policy = make_policy(hashes=frozenset({"sha512"}))
    assert desk.codes() == ["SIGNATURE_SCHEME"]


# 6. signature


def test_6_signed_by_another_key(any_desk):
    assert any_desk.codes(key=make_key(any_desk.attester.kind)) == ["SIGNATURE_INVALID"]


def test_6_one_bit_of_the_statement(any_desk):
    challenge = any_desk.book.issue(any_desk.record, any_desk.policy)
    made = any_desk.attester.quote_evidence(challenge.nonce)
    changed = bytearray(made.attest)
    changed[-1] ^= 1
    text = any_desk.attester.text(challenge.nonce, evidence={"attest": bytes(changed)})
    result = any_desk.appraise(text, any_desk.book.redeem(challenge)).result
    assert [found.code for found in result.findings] == ["SIGNATURE_INVALID"]
    assert result.state is State.UNTRUSTED_KEY


@pytest.mark.parametrize("number", [bytes(32), b"\0", b"\1", b"\xff" * 32, b"\xff" * 66])
def test_6_signatures_of_odd_numbers(desk, number):
    signature = ts.Signature("ecdsa", "sha256", r=number, s=number).to_bytes()
    assert desk.codes(evidence={"signature": signature}) == ["SIGNATURE_INVALID"]


@pytest.mark.parametrize("data", [b"\0", b"\1", bytes(256), b"\xff" * 256, b"\1" * 512])
def test_6_rsa_signatures_of_odd_numbers(make_desk, attesters, data):
    signature = ts.Signature("rsassa", "sha256", rsa=data).to_bytes()
    assert make_desk(attesters("rsa")).codes(evidence={"signature": signature}) == ["SIGNATURE_INVALID"]


# 7. a quote that a TPM made


@pytest.mark.parametrize("magic", [b"\0\0\0\0", b"\xff\x54\x43\x46"])
def test_7_without_the_tpms_magic(any_desk, magic):
    """CVE-2024-29038, CVE-2024-29040: whatever the key signed, without the magic no TPM has made it."""
    assert any_desk.codes(signed_bytes=lambda data: magic + data[4:]) == ["ATTEST_MALFORMED"]


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: data[:4], lambda data: b"\0"]
)
def test_7_of_another_length(desk, change):
    assert desk.codes(signed_bytes=change) == ["ATTEST_MALFORMED"]


def test_7_a_certificate_of_an_nv_index_is_no_quote(desk):
    nv = ts.NvCertifyInfo(b"\0\x0b" + bytes(32), 0, b"content")
    assert desk.codes(attest={"type": "nv_certify", "quote": None, "nv": nv}) == ["ATTEST_MALFORMED"]


# 8. nonce and signer


@pytest.mark.parametrize("nonce", [b"", bytes(32), bytes(31), bytes(33)])
def test_8_another_nonce(any_desk, nonce):
    assert any_desk.codes(attest={"extra_data": nonce}) == ["NONCE_MISMATCH"]


def test_8_the_nonce_and_more(desk):
    challenge = desk.book.issue(desk.record, desk.policy)
    redeemed = desk.book.redeem(challenge)
    for nonce in (challenge.nonce + b"\0", challenge.nonce[:-1], challenge.nonce[::-1]):
        text = desk.attester.text(challenge.nonce, attest={"extra_data": nonce})
        assert [one.code for one in desk.appraise(text, redeemed).result.findings] == ["NONCE_MISMATCH"]


@pytest.mark.parametrize("hierarchy", [ts.OWNER_HIERARCHY, ts.NULL_HIERARCHY, ts.PLATFORM_HIERARCHY])
def test_8_a_key_of_another_hierarchy(desk, hierarchy):
    """Its counters would be obfuscated, and the owner could have made it."""
    desk.attester.hierarchy = hierarchy
    assert desk.codes() == ["SIGNER_MISMATCH"]


# 9. selection


@pytest.mark.parametrize("selection", ["sha256:0,1,2", "sha256:all+sha384:all", "sha1:all", "sha384:all"])
def test_9_another_selection(make_desk, selection):
    """CVE-2022-0317, and a bank that nobody extends."""
    desk = make_desk(SoftwareAttester(banks=("sha1", "sha256", "sha384")))
    challenge = desk.book.issue(desk.record, desk.policy)
    text = desk.attester.text(challenge.nonce, PcrSelection.from_text(selection))
    result = desk.appraise(text, desk.book.redeem(challenge)).result
    assert [found.code for found in result.findings] == ["PCR_SELECTION"]
    assert result.findings[0].expected == "sha256:all"
    assert result.findings[0].actual == selection


def test_9_an_empty_selection(desk):
    quote = {"selection": PcrSelection((("sha256", ()),)), "pcr_digest": hashlib.sha256().digest()}
    assert desk.codes(quote=quote) == ["PCR_SELECTION"]
    quote["selection"] = PcrSelection(())
    assert desk.codes(quote=quote) == ["PCR_SELECTION"]


# 10. values


def test_10_values_that_are_not_signed(desk):
    """CVE-2024-29039: the numbers that registers are shown under are not what is signed."""
    values = {"sha256": dict(desk.attester.pcrs["sha256"])}
    values["sha256"][9], values["sha256"][10] = values["sha256"][10], values["sha256"][9]
    assert desk.codes(evidence={"untrusted_pcrs": values}) == ["PCR_DIGEST"]


def test_10_a_value_less(desk):
    values = {"sha256": {pcr: value for pcr, value in desk.attester.pcrs["sha256"].items() if pcr != 23}}
    assert desk.codes(evidence={"untrusted_pcrs": values}) == ["PCR_DIGEST"]


def test_10_values_that_are_not_quoted_are_nobodys(desk):
    values = {**desk.attester.pcrs, "sha1": {0: bytes(20)}}
    appraisal = desk.ask(evidence={"untrusted_pcrs": values})
    assert appraisal.result.verdict is Verdict.TRUSTED
    assert set(appraisal.evidence.pcrs) == {"sha256"}


def test_10_the_digest_of_a_wrong_hash(desk):
    assert desk.codes(quote={"pcr_digest": bytes(48)}) == ["PCR_DIGEST"]
    assert desk.codes(quote={"pcr_digest": b""}) == ["PCR_DIGEST"]


# 11. identity


def test_11_another_key_is_shown(desk, attesters):
    other = attesters("ecc")
    shown = {"untrusted_ak_public": other.ak.to_tpm2b(), "untrusted_ak_name": other.ak.name()}
    assert desk.codes(evidence=shown) == ["AK_CHANGED"]
    assert desk.codes(evidence=shown, key=other.key) == ["AK_CHANGED", "SIGNATURE_INVALID"]


def test_11_another_uuid_is_shown(desk):
    shown = {"untrusted_host_uuid": "00000000-0000-4000-8000-000000000000"}
    result = desk.ask(evidence=shown).result
    assert [found.code for found in result.findings] == ["UUID_CHANGED"]
    assert result.state is State.UNTRUSTED_KEY


# 12. endorsement key


def test_12_trust_on_first_use_is_told_each_time(desk):
    desk.record = replace(desk.record, ek_trust=EkTrust.FIRST_USE)
    desk.policy = make_policy(ek_trust=frozenset({EkTrust.FIRST_USE}))
    found = desk.ask().result.findings
    assert [(one.code, one.severity) for one in found] == [("EK_FIRST_USE", Severity.WARNING)]


def test_12_a_policy_that_does_not_allow_it_any_more(desk):
    desk.record = replace(desk.record, ek_trust=EkTrust.FIRST_USE)
    assert desk.codes() == ["EK_TRUST_NOT_ALLOWED", "EK_FIRST_USE"]
    desk.record = replace(desk.record, ek_trust=EkTrust.PINNED)
    desk.policy = make_policy(ek_trust=frozenset({EkTrust.CERTIFICATE}))
    assert desk.codes() == ["EK_TRUST_NOT_ALLOWED"]


# The result as a whole


def test_several_things_are_all_told(desk):
    desk.attester.reboot(boot=BOOT[:-1], tag=None, reset_count=0)
    desk.attester.safe = False
    codes = desk.codes(evidence={"untrusted_event_log": b"\0"})
    assert codes == ["CLOCK_UNSAFE", "EVENT_LOG_MALFORMED", "ASSET_TAG_MISSING"]


def test_a_severity_of_the_policy(desk):
    desk.record = replace(desk.record, asset_tag=bytes(32))
    desk.policy = make_policy(severities={"ASSET_TAG_WRONG": Severity.WARNING})
    appraisal = desk.ask()
    assert [(one.code, one.severity) for one in appraisal.result.findings] == [
        ("ASSET_TAG_WRONG", Severity.WARNING)
    ]
    assert appraisal.result.verdict is Verdict.TRUSTED


@pytest.mark.parametrize("code", ["NONCE_MISMATCH", "SIGNATURE_INVALID", "PCR_CHANGED", "INTERNAL_ERROR"])
def test_what_holds_the_proof_together_cannot_be_weakened(desk, code):
    desk.policy = make_policy(severities={code: Severity.INFO})
    changes = {
        "NONCE_MISMATCH": {"attest": {"extra_data": bytes(32)}},
        "SIGNATURE_INVALID": {"key": make_key()},
        "PCR_CHANGED": {},
        "INTERNAL_ERROR": {},
    }[code]
    if code == "PCR_CHANGED":
        desk.attester.extend(9, b"another initrd")
    if code == "INTERNAL_ERROR":
        desk.references = [None]
    appraisal = desk.ask(**changes)
    assert code in [found.code for found in appraisal.result.findings if found.failed]
    assert appraisal.result.verdict is Verdict.UNTRUSTED


@pytest.mark.parametrize("defect", [[None], [object()], None, 7])
def test_a_defect_of_the_verifier_leaves_nobody_trusted(desk, caplog, defect):
    """CVE-2022-3500: an exception that leaves the last verdict standing."""
    desk.references = defect
    with caplog.at_level(logging.ERROR):
        appraisal = desk.ask()
    assert [found.code for found in appraisal.result.findings] == ["INTERNAL_ERROR"]
    assert appraisal.result.findings[0].detail in ("AttributeError", "TypeError")
    assert appraisal.result.verdict is Verdict.UNTRUSTED
    assert appraisal.evidence is None
    assert "the appraisal of host" in caplog.text


def test_no_evidence_and_no_reason_is_untrusted_all_the_same(desk):
    """The net below the net: it can only be reached by a mistake of the appraisal."""
    challenge = desk.book.issue(desk.record, desk.policy)
    case = _Case(challenge, 0.0, desk.record, desk.references, desk.policy, None, desk.now)
    appraisal = _appraisal(case, None, "")
    assert [found.code for found in appraisal.result.findings] == ["INTERNAL_ERROR"]
    assert appraisal.result.verdict is Verdict.UNTRUSTED


def test_the_log_is_not_parsed_before_the_signature_is_checked(desk):
    """A log that cannot be parsed is never heard of when the signature is wrong."""
    codes = desk.codes(key=make_key(), evidence={"untrusted_event_log": b"\0" * 100})
    assert codes == ["SIGNATURE_INVALID"]


def test_every_check_is_in_the_docstring():
    numbers = re.findall(r"^ +([0-9]+)\. ", appraise_function.__doc__, re.MULTILINE)
    assert list(map(int, numbers)) == list(range(1, 20))


def test_an_ignored_tag_is_not_looked_at(desk):
    desk.policy = make_policy(asset_tag=TagRule.IGNORED)
    desk.record = replace(desk.record, asset_tag=bytes(20))
    assert desk.codes(tag_key=make_key()) == []
    assert desk.ask().evidence.tag is None
