"""Did the enrolled TPM say this in answer to our question? Before that is known nothing else is parsed."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.attest import Attest, QuoteInfo
from xentpm_lib.evidence.pcr import PcrSelection, PcrValues, composite_digest
from xentpm_lib.evidence.signature import Signature
from xentpm_lib.verifier.attestation_key import AttestationKey
from xentpm_lib.verifier.challenge import Challenge
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.policy.model import Policy

__all__ = ["Refusal", "Statement", "check_pcr_values", "check_selection", "check_statement"]

_KEY_COMPONENT = "attestation key"


class Refusal(Exception):
    """A check failed after which nothing else means anything; ``found`` says which.

    It never leaves the appraisal: it becomes a finding of the result.
    """

    def __init__(self, found: Finding) -> None:
        super().__init__(found.code)
        self.found = found


@dataclass(frozen=True, slots=True)
class Statement:
    """Bytes that the TPM is said to have signed: the quote's, or the asset tag's.

    kind: the type of attest that is asked for: ``quote`` or ``nv_certify``. where: its name in findings.
    """

    kind: str
    where: str
    untrusted_attest: bytes
    untrusted_signature: bytes


def check_statement(
    statement: Statement, key: AttestationKey, challenge: Challenge, policy: Policy
) -> Attest:
    """The statement, when the enrolled key has signed it in answer to the challenge.

    1. scheme and hash are allowed and the key's own
    2. the enrolled key made the signature over these bytes
    3. magic, type and form are those of the statement asked for
    4. extraData is the nonce, compared in constant time
    5. the signer is the enrolled key as a primary of the endorsement hierarchy

    Raises:
        Refusal: the first check that failed.

    Spec: TPM 2.0 Library Part 2, TPMS_ATTEST; Part 3, TPM2_Quote and TPM2_NV_Certify.
    """
    # 1. scheme and hash
    signature = _allowed_signature(statement, key, policy)
    # 2. signature
    if not key.signed(signature, statement.untrusted_attest):
        raise Refusal(finding("SIGNATURE_INVALID", where=statement.where, component=_KEY_COMPONENT))
    # 3. magic, type, form
    attest = _parsed(statement)
    # 4. nonce
    if not hmac.compare_digest(attest.extra_data, challenge.nonce):
        raise Refusal(
            finding(
                "NONCE_MISMATCH",
                where=statement.where,
                expected=challenge.nonce.hex(),
                actual=attest.extra_data.hex(),
            )
        )
    # 5. signer
    if not hmac.compare_digest(attest.qualified_signer, key.qualified_name):
        raise Refusal(
            finding(
                "SIGNER_MISMATCH",
                where=statement.where,
                component=_KEY_COMPONENT,
                expected=key.qualified_name.hex(),
                actual=attest.qualified_signer.hex(),
            )
        )
    return attest


def check_selection(attest: Attest, asked: PcrSelection) -> QuoteInfo:
    """What the quote says, when it is over exactly the PCRs that were asked for, in that order.

    Raises:
        Refusal: it is over others. Who takes what is offered instead can be given a bank that nobody extends.
    """
    quote = attest.quote
    if quote is None or quote.selection != asked:
        actual = "" if quote is None else quote.selection.to_text()
        raise Refusal(finding("PCR_SELECTION", expected=asked.to_text(), actual=actual, where="quote"))
    return quote


def check_pcr_values(untrusted_pcrs: PcrValues, quote: QuoteInfo, hash_name: str) -> PcrValues:
    """The values that the quote signs, and only those: banks and registers are taken from its selection.

    Raises:
        Refusal: one is missing, or their digest is not the signed one.
    """
    try:
        actual = composite_digest(untrusted_pcrs, quote.selection, hash_name)
    except FormatError as error:
        raise Refusal(finding("PCR_DIGEST", where="quote.pcrs", detail=str(error))) from None
    if not hmac.compare_digest(actual, quote.pcr_digest):
        raise Refusal(
            finding("PCR_DIGEST", where="quote.pcrs", expected=quote.pcr_digest.hex(), actual=actual.hex())
        )
    return {bank: _only(untrusted_pcrs[bank], indices) for bank, indices in quote.selection.banks}


def _only(untrusted_values: dict[int, bytes], indices: tuple[int, ...]) -> dict[int, bytes]:
    """The values of these registers, all of which are there."""
    if len(untrusted_values) == len(indices):
        return untrusted_values
    return {index: untrusted_values[index] for index in indices}


def _allowed_signature(statement: Statement, key: AttestationKey, policy: Policy) -> Signature:
    where = statement.where + ".signature"
    try:
        signature = Signature.from_bytes(statement.untrusted_signature)
    except FormatError as error:
        raise Refusal(finding("SIGNATURE_SCHEME", where=where, detail=str(error))) from None
    if (signature.scheme, signature.hash) != (key.scheme, key.hash) or key.hash not in policy.hashes:
        expected = f"{key.scheme} with {key.hash}, one of {', '.join(sorted(policy.hashes))}"
        actual = f"{signature.scheme} with {signature.hash}"
        raise Refusal(finding("SIGNATURE_SCHEME", expected=expected, actual=actual, where=where))
    return signature


def _parsed(statement: Statement) -> Attest:
    where = statement.where + ".attest"
    try:
        attest = Attest.from_bytes(statement.untrusted_attest)
    except FormatError as error:
        raise Refusal(finding("ATTEST_MALFORMED", where=where, detail=str(error))) from None
    if attest.type != statement.kind:
        raise Refusal(finding("ATTEST_MALFORMED", expected=statement.kind, actual=attest.type, where=where))
    return attest
