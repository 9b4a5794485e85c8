"""The asset tag: proven by the host's TPM, and the one that the host should have. docs/evidence-format.md."""

from __future__ import annotations

import hmac

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.attest import Attest, NvCertifyInfo
from xentpm_lib.evidence.attributes import (
    NV_AUTHREAD,
    NV_NO_DA,
    NV_OWNERREAD,
    NV_OWNERWRITE,
    NV_WRITTEN,
)
from xentpm_lib.evidence.nv_public import NvPublic
from xentpm_lib.evidence.quote import CertifiedTag
from xentpm_lib.verifier.appraisal.authenticity import Refusal, Statement, check_statement
from xentpm_lib.verifier.attestation_key import AttestationKey
from xentpm_lib.verifier.challenge import Challenge
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.policy.model import Policy, TagRule

__all__ = ["TAG_ATTRIBUTES", "TAG_INDEX", "TAG_SIZES", "proven_tag", "tag_findings"]

TAG_INDEX = 0x01C10110
TAG_SIZES = (20, 32, 48)  # bytes
TAG_ATTRIBUTES = NV_OWNERWRITE | NV_OWNERREAD | NV_AUTHREAD | NV_NO_DA | NV_WRITTEN

_MAX_CLOCK_RATE = 1.33  # a TPM's milliseconds in a real one. Spec: Part 1, Adjusting Clock: up to 32.5 %
_WHERE = "asset_tag"


def proven_tag(
    certified: CertifiedTag, quoted: Attest, key: AttestationKey, challenge: Challenge, policy: Policy
) -> bytes:
    """The tag, once the TPM that made the quote has certified it.

    1. signed by the same key, over the same nonce, as an NV certificate (``check_statement``)
    2. made by the same TPM in the same boot as the quote, at about the same time
    3. the index is the asset tag's, and nobody but the owner can write it
    4. the Name in the certificate is that index's
    5. the content is all of it

    Raises:
        Refusal: the first that failed, as ASSET_TAG_INVALID.

    Spec: TPM 2.0 Library Part 3, TPM2_NV_Certify; Part 2, TPMS_NV_PUBLIC.
    """
    # 1. signature, nonce, type, signer
    statement = Statement("nv_certify", _WHERE, certified.attest, certified.signature)
    try:
        attest = check_statement(statement, key, challenge, policy)
    except Refusal as refusal:
        raise _invalid(f"{refusal.found.code}: {refusal.found.kind.title}") from None
    # 2. same TPM, same boot
    _check_same_time(attest, quoted, policy)
    # 3. the index
    index = _index(certified.untrusted_nv_public)
    # 4. its Name, 5. all of it
    return _whole_tag(attest.nv, index)


def tag_findings(tag: bytes | None, expected: bytes | None, rule: TagRule) -> tuple[Finding, ...]:
    """What is wrong with a proven tag, or with there being none (None).

    expected: what the verifier was told; None when nobody told it.
    """
    if rule is TagRule.IGNORED:
        return ()
    if tag is None:
        missing = expected is not None or rule is TagRule.REQUIRED
        return (_about("ASSET_TAG_MISSING", expected, None),) if missing else ()
    if expected is None:
        # What is required is the tag that the verifier was told of: told of none, it can accept none.
        code = "ASSET_TAG_WRONG" if rule is TagRule.REQUIRED else "ASSET_TAG_UNEXPECTED"
        return (_about(code, None, tag),)
    if not hmac.compare_digest(tag, expected):
        return (_about("ASSET_TAG_WRONG", expected, tag),)
    return ()


def _check_same_time(attest: Attest, quoted: Attest, policy: Policy) -> None:
    here = (attest.reset_count, attest.restart_count, attest.firmware_version)
    if here != (quoted.reset_count, quoted.restart_count, quoted.firmware_version):
        raise _invalid("it was certified in another boot than the quote")
    apart_ms = abs(attest.clock - quoted.clock)
    if apart_ms > policy.timing.evidence_age * 1000 * _MAX_CLOCK_RATE:
        raise _invalid(f"it was certified {apart_ms} ms before or after the quote")


def _index(untrusted_nv_public: bytes) -> NvPublic:
    try:
        index = NvPublic.from_tpm2b(untrusted_nv_public)
    except FormatError as error:
        raise _invalid(str(error)) from None
    if index.index != TAG_INDEX:
        raise _invalid(f"it is the content of NV index 0x{index.index:08x}, not 0x{TAG_INDEX:08x}")
    if index.attributes != TAG_ATTRIBUTES or index.auth_policy:
        raise _invalid(f"others than the owner may change it: {', '.join(index.attribute_names())}")
    if index.data_size not in TAG_SIZES:
        raise _invalid(f"an asset tag of {index.data_size} bytes, expected {TAG_SIZES}")
    return index


def _whole_tag(nv: NvCertifyInfo | None, index: NvPublic) -> bytes:
    if nv is None or not hmac.compare_digest(nv.index_name, index.name()):
        raise _invalid("the certificate is of another NV index than the one shown")
    if nv.offset != 0 or len(nv.contents) != index.data_size:
        raise _invalid(
            f"{len(nv.contents)} of {index.data_size} bytes from byte {nv.offset}: a part of a tag"
        )
    return nv.contents


def _invalid(detail: str) -> Refusal:
    return Refusal(finding("ASSET_TAG_INVALID", where=_WHERE, component="asset tag", detail=detail))


def _about(code: str, expected: bytes | None, actual: bytes | None) -> Finding:
    return finding(
        code,
        where=_WHERE,
        component="asset tag",
        expected=(expected or b"").hex(),
        actual=(actual or b"").hex(),
    )
