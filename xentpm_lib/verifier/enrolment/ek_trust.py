"""Whether an endorsement key is believed to be a TPM's, and an attestation key one that proves something."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.attributes import (
    DECRYPT,
    FIXED_PARENT,
    FIXED_TPM,
    RESTRICTED,
    SENSITIVE_DATA_ORIGIN,
    SIGN,
    object_attribute_names,
)
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.public import Public
from xentpm_lib.verifier.enrolment.anchors import EkAnchors, fingerprint
from xentpm_lib.verifier.enrolment.credential import load_endorsement_key
from xentpm_lib.verifier.enrolment.ek_chain import describe_tpm, load_ek_certificate, verify_chain
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.records import EkTrust

__all__ = ["EkAnchors", "EkDecision", "check_ak", "check_ek"]

ATTESTATION_HASHES = frozenset({"sha256", "sha384", "sha512"})

_EK_NEEDS = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | RESTRICTED | DECRYPT
_MIN_RSA_BITS = 2048
_FIRST_USE_WARNING = "the endorsement key is trusted on first use: nobody vouches that it is a TPM's"


@dataclass(frozen=True, slots=True)
class EkDecision:
    """Why an endorsement key is believed. detail: a sentence for people; warnings: others."""

    trust: EkTrust
    detail: str
    warnings: tuple[str, ...] = ()


def check_ek(identity: Identity, anchors: EkAnchors, allowed: Collection[EkTrust], now: float) -> EkDecision:
    """Decide whether the identity's endorsement key is believed to be a TPM's.

    1. It is a storage key that never leaves its TPM, and one that a credential can be made for.
    2. Its certificate, where the host has one, is for this key.
    3. The certificate leads to a root in ``anchors``, is in force and is an EK certificate; or
    4. the key is pinned in ``anchors``; or
    5. ``anchors`` and policy both allow trust on first use.

    allowed: the reasons that the policy accepts; another one never counts. now: seconds since 1970, UTC.

    Raises:
        EnrolmentError: ``XENTPM_EK_UNUSABLE`` (1), ``XENTPM_EK_MALFORMED`` and ``XENTPM_EK_MISMATCH`` (2),
            ``XENTPM_EK_EXPIRED``, ``XENTPM_EK_USAGE`` or ``XENTPM_EK_UNTRUSTED`` (3 to 5).
    """
    _check_storage_key(identity.ek)  # 1.
    load_endorsement_key(identity.ek)
    found = _by_certificate(identity, anchors, allowed, now)  # 2. and 3.
    if isinstance(found, EkDecision):
        return found
    digest = fingerprint(identity.ek.spki_der())
    if EkTrust.PINNED in allowed and digest in anchors.pins:  # 4.
        return EkDecision(EkTrust.PINNED, "pinned as sha256:{}".format(digest))
    if EkTrust.FIRST_USE in allowed and anchors.allow_first_use:  # 5.
        detail = "trusted on first use as sha256:{}".format(digest)
        return EkDecision(EkTrust.FIRST_USE, detail, (_FIRST_USE_WARNING, found.message))
    raise found


def check_ak(ak: Public, hashes: Collection[str] = ATTESTATION_HASHES) -> None:
    """What the attestation key signs proves that a TPM made it, with a scheme and hash that are allowed.

    hashes: names of allowed signature hashes.

    Raises:
        EnrolmentError: ``XENTPM_AK_UNFIT``: it does not, or there is no such key.

    Spec: TPM 2.0 Library Part 1, Restricted Attribute.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    faults = list(ak.attestation_key_faults())
    if not faults and (ak.scheme is None or ak.scheme.hash not in hashes):
        faults.append("it signs with {}".format(ak.scheme.hash if ak.scheme else "no hash"))
    if not faults:
        try:
            load_der_public_key(ak.spki_der())
        except (ValueError, FormatError, UnsupportedAlgorithm) as error:
            faults.append("there is no such public key: {}".format(error))
    if faults:
        message = "the attestation key proves nothing: {}".format(", ".join(faults))
        raise EnrolmentError(message, "Have the host make a new one: xentpm --rotate_ak.", "XENTPM_AK_UNFIT")


def _check_storage_key(ek: Public) -> None:
    faults = ["{} is not set".format(name) for name in object_attribute_names(_EK_NEEDS & ~ek.attributes)]
    if ek.attributes & SIGN:
        faults.append("sign is set")
    if ek.type == "rsa" and ek.key_bits < _MIN_RSA_BITS:
        faults.append("RSA with {} bits is too weak".format(ek.key_bits))
    if faults:
        message = "the endorsement key is none: {}".format(", ".join(faults))
        raise EnrolmentError(message, "Treat the host's answer as forged.", "XENTPM_EK_UNUSABLE")


def _by_certificate(
    identity: Identity, anchors: EkAnchors, allowed: Collection[EkTrust], now: float
) -> EkDecision | EnrolmentError:
    """The decision, or why the certificate is no reason to believe the key."""
    if identity.ek_certificate is None:
        return _unproven("the TPM has no EK certificate", anchors, allowed)
    try:
        certificate = load_ek_certificate(identity.ek_certificate, identity.ek)
    except EnrolmentError as error:
        if error.code == "XENTPM_EK_MISMATCH":
            raise
        return error
    if EkTrust.CERTIFICATE not in allowed:
        return _unproven("the policy does not go by EK certificates", anchors, allowed)
    try:
        warnings = verify_chain(certificate, identity.ek_certificate_chain, anchors, now)
    except EnrolmentError as error:
        return error
    return EkDecision(EkTrust.CERTIFICATE, describe_tpm(certificate), warnings)


def _unproven(reason: str, anchors: EkAnchors, allowed: Collection[EkTrust]) -> EnrolmentError:
    pinned = EkTrust.PINNED in allowed
    also = " and the key is not among those pinned" if pinned and anchors.pins else ""
    hint = (
        "Pin the key if you know it (--ek-pin)." if pinned else "The policy's [keys] ek says what it accepts."
    )
    return EnrolmentError(reason + also, hint, "XENTPM_EK_UNTRUSTED")
