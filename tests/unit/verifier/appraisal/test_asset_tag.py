"""verifier/appraisal/asset_tag.py: a tag that the host's own TPM certifies now, and the expected one."""

from dataclasses import replace

import pytest

from support.evidence_maker import ASSET_TAG_ATTRIBUTES, make_key, make_policy
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.verifier.appraisal.asset_tag import tag_findings
from xentpm_lib.verifier.policy.model import TagRule
from xentpm_lib.verifier.result import State, Verdict

TAG = bytes(range(32))
OTHER = bytes(32)


def _invalid(desk, fragment, **changes):
    appraisal = desk.ask(**changes)
    found = appraisal.result.findings
    assert [(one.code, one.where) for one in found] == [("ASSET_TAG_INVALID", "asset_tag")]
    assert fragment in found[0].detail
    assert appraisal.result.state is State.UNTRUSTED_EVIDENCE
    assert appraisal.evidence.tag is None


@pytest.mark.parametrize("size", [20, 32, 48])
def test_a_tag_that_is_proven(make_desk, attesters, size):
    appraisal = make_desk(attesters("ecc", tag=bytes(range(size)))).ask()
    assert appraisal.result.findings == ()
    assert appraisal.evidence.tag == bytes(range(size))


def test_a_tag_of_an_rsa_key(make_desk, attesters):
    assert make_desk(attesters("rsa", tag=TAG)).codes() == []


@pytest.mark.parametrize(
    "rule, expected, shown, codes",
    [
        (TagRule.OPTIONAL, None, None, []),
        (TagRule.OPTIONAL, TAG, None, ["ASSET_TAG_MISSING"]),
        (TagRule.OPTIONAL, None, TAG, ["ASSET_TAG_UNEXPECTED"]),
        (TagRule.OPTIONAL, TAG, TAG, []),
        (TagRule.OPTIONAL, OTHER, TAG, ["ASSET_TAG_WRONG"]),
        (TagRule.OPTIONAL, TAG[:20], TAG, ["ASSET_TAG_WRONG"]),
        (TagRule.REQUIRED, None, None, ["ASSET_TAG_MISSING"]),
        (TagRule.REQUIRED, TAG, None, ["ASSET_TAG_MISSING"]),
        (TagRule.REQUIRED, None, TAG, ["ASSET_TAG_WRONG"]),
        (TagRule.REQUIRED, TAG, TAG, []),
        (TagRule.REQUIRED, OTHER, TAG, ["ASSET_TAG_WRONG"]),
        (TagRule.IGNORED, TAG, None, []),
        (TagRule.IGNORED, OTHER, TAG, []),
    ],
)
def test_rules(desk, rule, expected, shown, codes):
    desk.policy = make_policy(asset_tag=rule)
    desk.record = replace(desk.record, asset_tag=expected)
    desk.attester.tag = shown
    assert desk.codes() == codes


def test_what_is_told(desk):
    desk.record = replace(desk.record, asset_tag=OTHER)
    (found,) = desk.ask().result.findings
    assert (found.expected, found.actual, found.component) == (OTHER.hex(), TAG.hex(), "asset tag")


def test_certified_by_another_key(desk):
    _invalid(desk, "SIGNATURE_INVALID", tag_key=make_key())


@pytest.mark.parametrize(
    "attest, fragment",
    [
        ({"extra_data": bytes(32)}, "NONCE_MISMATCH"),
        ({"qualified_signer": b"\0\x0b" + bytes(32)}, "SIGNER_MISMATCH"),
        ({"reset_count": 6}, "another boot"),
        ({"restart_count": 1}, "another boot"),
        ({"firmware_version": 1}, "another boot"),
        ({"clock": 3_600_000 + 100_000}, "100000 ms"),
        ({"clock": 3_600_000 - 100_000}, "100000 ms"),
    ],
)
def test_a_certificate_of_another_time_or_tpm(desk, attest, fragment):
    _invalid(desk, fragment, tag_attest=attest)


@pytest.mark.parametrize("clock", [3_600_000 + 50_000, 3_600_000 - 50_000])
def test_before_or_after_the_quote(desk, clock):
    assert desk.codes(tag_attest={"clock": clock}) == []


def test_a_quote_is_no_certificate(desk):
    challenge = desk.book.issue(desk.record, desk.policy)
    made = desk.attester.quote_evidence(challenge.nonce)
    tag = made.asset_tag._replace(attest=made.attest, signature=made.signature)
    text = desk.attester.text(challenge.nonce, evidence={"asset_tag": tag})
    result = desk.appraise(text, desk.book.redeem(challenge)).result
    assert [found.code for found in result.findings] == ["ASSET_TAG_INVALID"]
    assert "ATTEST_MALFORMED" in result.findings[0].detail


@pytest.mark.parametrize("index", [0x01C10111, 0x01C10102, 0x01800000, 0x01C00002])
def test_of_another_index(desk, index):
    _invalid(desk, f"0x{index:08x}", nv_public={"index": index})


@pytest.mark.parametrize(
    "attributes",
    [
        ASSET_TAG_ATTRIBUTES | ts.NV_AUTHWRITE,
        ASSET_TAG_ATTRIBUTES | ts.NV_POLICYWRITE,
        ASSET_TAG_ATTRIBUTES | ts.NV_PPWRITE,
        ASSET_TAG_ATTRIBUTES | ts.NV_WRITELOCKED,
        ASSET_TAG_ATTRIBUTES & ~ts.NV_WRITTEN,
        ASSET_TAG_ATTRIBUTES & ~ts.NV_NO_DA,
        ASSET_TAG_ATTRIBUTES | ts.NV_PLATFORMCREATE,
        ASSET_TAG_ATTRIBUTES | 1 << 4,  # a counter
    ],
)
def test_an_index_that_others_may_write(desk, attributes):
    _invalid(desk, "others than the owner", nv_public={"attributes": attributes})


def test_an_index_with_a_policy(desk):
    _invalid(desk, "others than the owner", nv_public={"auth_policy": bytes(32)})


@pytest.mark.parametrize("size", [0, 1, 8, 19, 21, 64])
def test_an_index_of_another_size(desk, size):
    _invalid(desk, f"an asset tag of {size} bytes", nv_public={"data_size": size})


def test_an_index_that_cannot_be_read(desk):
    def damage(made):
        made["asset_tag"]["nv_public"] = "AAA="

    _invalid(desk, "NV_PUBLIC", document=damage)


def test_another_index_than_the_one_certified(desk):
    _invalid(desk, "another NV index", tag_nv={"index_name": b"\0\x0b" + bytes(32)})


@pytest.mark.parametrize(
    "part", [{"offset": 1}, {"contents": TAG[:20]}, {"offset": 12, "contents": TAG[12:]}, {"contents": b""}]
)
def test_a_part_of_a_tag(desk, part):
    """A slice of a long tag could be another host's short one."""
    _invalid(desk, "a part of a tag", tag_nv=part)


def test_a_long_tag_cannot_pass_for_its_first_bytes(desk):
    desk.record = replace(desk.record, asset_tag=TAG[:20])
    _invalid(desk, "a part of a tag", tag_nv={"contents": TAG[:20]})


def test_a_valid_tag_does_not_hide_a_wrong_measurement(desk):
    desk.attester.send_log = False
    desk.attester.extend(9, b"another initrd")
    result = desk.ask().result
    assert [found.code for found in result.findings] == ["PCR_CHANGED"]
    assert result.verdict is Verdict.UNTRUSTED


@pytest.mark.parametrize("tag", [None, TAG])
@pytest.mark.parametrize("expected", [None, OTHER])
def test_an_ignored_tag_has_no_findings(tag, expected):
    assert tag_findings(tag, expected, TagRule.IGNORED) == ()
