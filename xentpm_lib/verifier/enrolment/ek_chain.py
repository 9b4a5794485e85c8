"""Whether an EK certificate was issued by a maker's authority, for an endorsement key, and holds today.

The path is built and checked by ``cryptography``, which keeps to the profile of the web's authorities; where
TPMs differ from that is written here. Revocation lists are not fetched: an enrolment needs no network but
the pool's. Spec: TCG EK Credential Profile for TPM Family 2.0, section 3; RFC 5280.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import verification
from cryptography.x509.oid import ExtensionOID
from cryptography.x509.verification import Criticality, ExtensionPolicy

from xentpm_lib.evidence.certificate import trim_certificate
from xentpm_lib.evidence.public import Public
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.plain import one_line

__all__ = ["EK_CERTIFICATE_USAGE", "MAX_CHAIN_DEPTH", "describe_tpm", "load_ek_certificate", "verify_chain"]

EK_CERTIFICATE_USAGE = x509.ObjectIdentifier("2.23.133.8.1")  # tcg-kp-EKCertificate
MAX_CHAIN_DEPTH = 8  # certificates between the EK's and the root; the longest known path has four

_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
_ANY_USAGE = x509.ObjectIdentifier("2.5.29.37.0")
_TPM_ATTRIBUTES = tuple(x509.ObjectIdentifier("2.23.133.2.{}".format(number)) for number in (1, 2, 3))
_MAX_ROOTS = 3  # that are named in a message
_MAX_NAME = 200  # characters of a name in a message
_UNDERSTOOD = frozenset(  # what may be critical in an EK certificate
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    }
)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_PIN_HINT = "If you know that the key is a TPM's, pin it: --ek-pin."
_ROOT_HINT = "Give the certificates of the TPM's maker (--ek-ca), root and intermediates. " + _PIN_HINT


def load_ek_certificate(data: bytes, ek: Public) -> x509.Certificate:
    """The certificate in ``data``, whatever the maker left behind it, which has to be for ``ek``.

    Raises:
        EnrolmentError: ``XENTPM_EK_MALFORMED``: it cannot be read; ``XENTPM_EK_MISMATCH``: for another key.
    """
    try:
        certificate = x509.load_der_x509_certificate(trim_certificate(data))
        holds = certificate.public_key().public_bytes(*_SPKI) == ek.spki_der()
        _ = (
            certificate.extensions,
            certificate.issuer,
            certificate.not_valid_after_utc,
        )  # parsed when asked for
    except Exception as error:  # hostile bytes raise about anything in the library
        message = "the EK certificate cannot be read: {}".format(one_line(str(error), _MAX_NAME))
        raise EnrolmentError(message, _PIN_HINT, "XENTPM_EK_MALFORMED") from error
    if not holds:
        message = "the EK certificate is for another key than the host's endorsement key"
        raise EnrolmentError(message, "Treat the host's answer as forged.", "XENTPM_EK_MISMATCH")
    return certificate


def verify_chain(
    certificate: x509.Certificate, sent: Sequence[bytes], anchors: EkAnchors, now: float
) -> tuple[str, ...]:
    """Verify that an authority in ``anchors`` vouches for the certificate's key as a TPM's endorsement key.

    1. It is in force at ``now``.
    2. It is for an endorsement key: extended key usage, key usage, no authority, no critical extension that
       nobody understands.
    3. A path of valid certificates leads to a root, through those given and those that the host ``sent``.

    sent: DER, untrusted; what cannot be read in it is passed over. now: seconds since 1970, UTC.
    Returns warnings: what is not as the profile says, but proves no less.

    Raises:
        EnrolmentError: ``XENTPM_EK_EXPIRED`` (1), ``XENTPM_EK_USAGE`` (2), ``XENTPM_EK_UNTRUSTED`` (3).
    """
    moment = datetime.fromtimestamp(now, timezone.utc)
    _check_dates(certificate, moment)  # 1.
    warnings = _check_usage(certificate)  # 2.
    _check_path(certificate, sent, anchors, moment)  # 3.
    return warnings


def describe_tpm(certificate: x509.Certificate) -> str:
    """Maker, model and version as the certificate says them, and who issued it; for people."""
    words = [one_line(value, _MAX_NAME) for value in _tpm_attributes(certificate)] or ["a TPM without a name"]
    return "{}, certified by {}".format(" ".join(words), _name(certificate.issuer))


def _check_dates(certificate: x509.Certificate, moment: datetime) -> None:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= moment <= last:
        message = "the EK certificate is valid from {0:{3}} to {1:{3}}, and now it is {2:{3}} UTC"
        hint = "Look at the clock of this machine. " + _PIN_HINT
        message = message.format(first, last, moment, "%Y-%m-%d %H:%M:%S")
        raise EnrolmentError(message, hint, "XENTPM_EK_EXPIRED")


def _check_usage(certificate: x509.Certificate) -> tuple[str, ...]:
    extensions = certificate.extensions
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise _misused("it has the critical extension {}".format(extension.oid.dotted_string))
    usages = _value(extensions, x509.ExtendedKeyUsage)
    if usages is None or EK_CERTIFICATE_USAGE not in usages:
        raise _misused("its extended key usage is not that of an EK certificate (2.23.133.8.1)")
    constraints = _value(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise _misused("it is an authority's")
    return _check_key_usage(certificate, _value(extensions, x509.KeyUsage))


def _check_key_usage(certificate: x509.Certificate, usage: x509.KeyUsage | None) -> tuple[str, ...]:
    if usage is None:
        return ("the EK certificate does not say what its key may be used for",)
    if usage.key_cert_sign or usage.crl_sign:
        raise _misused("its key may sign certificates")
    is_rsa = isinstance(certificate.public_key(), rsa.RSAPublicKey)
    if not (usage.key_encipherment or (usage.key_agreement and not is_rsa)):
        raise _misused("its key may not be used to protect other keys")
    if usage.digital_signature or usage.content_commitment:
        return ("the EK certificate allows signatures by its key, too",)
    return ()


def _check_path(
    certificate: x509.Certificate, sent: Sequence[bytes], anchors: EkAnchors, moment: datetime
) -> None:
    if not anchors.roots:
        issuer = _name(certificate.issuer)
        raise _untrusted(
            "no certificates of TPM makers were given; the EK certificate is from {}".format(issuer)
        )
    intermediates = [*anchors.intermediates, *_readable(sent)]
    builder = verification.PolicyBuilder().store(verification.Store(list(anchors.roots)))
    builder = builder.time(moment.replace(tzinfo=None)).max_chain_depth(MAX_CHAIN_DEPTH)
    builder = builder.extension_policies(
        ca_policy=_ca_policy(), ee_policy=_with_policies(ExtensionPolicy.permit_all())
    )
    try:
        builder.build_client_verifier().verify(certificate, intermediates)
    except Exception as error:  # VerificationError, and what hostile certificates raise besides
        reason = "no path leads from the EK certificate of {} to a root of --ek-ca ({})"
        roots = "; ".join(_name(root.subject) for root in anchors.roots[:_MAX_ROOTS])
        raise _untrusted(reason.format(describe_tpm(certificate), roots)) from error


def _ca_policy() -> ExtensionPolicy:
    """The web's rules for authorities, except on key identifiers, policies, names, and whom they certify."""
    policy = ExtensionPolicy.webpki_defaults_ca()
    policy = policy.may_be_present(x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, None)
    policy = _with_policies(policy)
    policy = policy.may_be_present(x509.NameConstraints, Criticality.AGNOSTIC, _check_constraints)
    return policy.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_ca_usage)


def _with_policies(policy: ExtensionPolicy) -> ExtensionPolicy:
    """Some makers say in a critical extension by which rules they certify. Any will do."""
    return policy.may_be_present(x509.CertificatePolicies, Criticality.AGNOSTIC, None)


def _check_ca_usage(
    _policy: verification.Policy, _certificate: x509.Certificate, usages: x509.ExtendedKeyUsage | None
) -> None:
    if usages is not None and EK_CERTIFICATE_USAGE not in usages and _ANY_USAGE not in usages:
        raise ValueError("the authority is for other certificates than those of endorsement keys")


def _check_constraints(
    _policy: verification.Policy, _certificate: x509.Certificate, constraints: x509.NameConstraints | None
) -> None:
    """The library compares them with the alternative names alone, and not with the subject, as it should.

    Spec: RFC 5280, section 4.2.1.10.
    """
    if constraints is not None:
        raise ValueError("the authority may certify some names only, which is not looked at here")


def _readable(sent: Sequence[bytes]) -> list[x509.Certificate]:
    found = []
    for data in sent:
        try:
            found.append(x509.load_der_x509_certificate(data))
        except Exception:
            continue  # the host sent it; without it there may be no path, and that will be said
    return found


def _tpm_attributes(certificate: x509.Certificate) -> list[str]:
    names = _value(certificate.extensions, x509.SubjectAlternativeName)
    found: dict[x509.ObjectIdentifier, str] = {}
    for name in names.get_values_for_type(x509.DirectoryName) if names is not None else ():
        found.update({one.oid: str(one.value) for one in name})
    return [found[oid] for oid in _TPM_ATTRIBUTES if oid in found]


def _value(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _name(name: x509.Name) -> str:
    return one_line(name.rfc4514_string(), _MAX_NAME) or "an authority without a name"


def _misused(reason: str) -> EnrolmentError:
    return EnrolmentError(
        "the certificate is not an EK certificate: {}".format(reason), _PIN_HINT, "XENTPM_EK_USAGE"
    )


def _untrusted(reason: str) -> EnrolmentError:
    return EnrolmentError(reason, _ROOT_HINT, "XENTPM_EK_UNTRUSTED")
