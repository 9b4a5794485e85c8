"""The endorsement key templates that have certificates, and where those certificates are.

Spec: TCG EK Credential Profile for TPM Family 2.0, 2.5, Annex B ("Default EK Templates", L-1, L-2,
H-1 to H-7) and 2.2.1.4 ("NV index assignments").
"""

from typing import NamedTuple, Tuple

from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.evidence.tpm_structures import Public, Symmetric

__all__ = ["CERTIFICATE_CHAIN_INDICES", "EK_TEMPLATES", "EkTemplate", "needs_policy", "template_of"]

CERTIFICATE_CHAIN_INDICES = range(0x01C00100, 0x01C00200)
"""Intermediate certificates that the maker keeps in the TPM (Intel's on-die chain)."""

_POLICY_A_SHA256 = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
_POLICY_B_SHA256 = bytes.fromhex("ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0")
_POLICY_B_SHA384 = bytes.fromhex(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
)
_POLICY_B_SHA512 = bytes.fromhex(
    "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a4"
    "29c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea"
)
_LOW = (
    ts.FIXED_TPM
    | ts.FIXED_PARENT
    | ts.SENSITIVE_DATA_ORIGIN
    | ts.ADMIN_WITH_POLICY
    | ts.RESTRICTED
    | ts.DECRYPT
)
_HIGH = _LOW | ts.USER_WITH_AUTH


class EkTemplate(NamedTuple):
    """``name`` is the profile's; ``certificate_index`` the NV index of its certificate."""

    name: str
    certificate_index: int
    public: Public


def _rsa(bits: int, name_alg: str, attributes: int, policy: bytes, aes_bits: int, unique: int) -> Public:
    cipher = Symmetric("aes", aes_bits, "cfb")
    return Public("rsa", name_alg, attributes, policy, cipher, key_bits=bits, modulus=bytes(unique))


def _ecc(curve: str, name_alg: str, attributes: int, policy: bytes, aes_bits: int, unique: int) -> Public:
    cipher = Symmetric("aes", aes_bits, "cfb")
    return Public("ecc", name_alg, attributes, policy, cipher, curve=curve, x=bytes(unique), y=bytes(unique))


EK_TEMPLATES: Tuple[EkTemplate, ...] = (
    EkTemplate("L-1", 0x01C00002, _rsa(2048, "sha256", _LOW, _POLICY_A_SHA256, 128, 256)),
    EkTemplate("L-2", 0x01C0000A, _ecc("nist_p256", "sha256", _LOW, _POLICY_A_SHA256, 128, 32)),
    EkTemplate("H-1", 0x01C00012, _rsa(2048, "sha256", _HIGH, _POLICY_B_SHA256, 128, 0)),
    EkTemplate("H-2", 0x01C00014, _ecc("nist_p256", "sha256", _HIGH, _POLICY_B_SHA256, 128, 0)),
    EkTemplate("H-3", 0x01C00016, _ecc("nist_p384", "sha384", _HIGH, _POLICY_B_SHA384, 256, 0)),
    EkTemplate("H-4", 0x01C00018, _ecc("nist_p521", "sha512", _HIGH, _POLICY_B_SHA512, 256, 0)),
    EkTemplate("H-6", 0x01C0001C, _rsa(3072, "sha384", _HIGH, _POLICY_B_SHA384, 256, 0)),
    EkTemplate("H-7", 0x01C0001E, _rsa(4096, "sha384", _HIGH, _POLICY_B_SHA384, 256, 0)),
)
"""In the order of preference; H-5 is SM2, which no certificate authority of a server TPM uses."""


def template_of(public: Public) -> Tuple[EkTemplate, ...]:
    """The templates that could have made ``public``: what they fix is equal."""
    return tuple(template for template in EK_TEMPLATES if _fixed(template.public) == _fixed(public))


def needs_policy(public: Public) -> bool:
    """Whether the key cannot be used with its (empty) password but needs PolicySecret(endorsement)."""
    return not public.attributes & ts.USER_WITH_AUTH


def _fixed(public: Public) -> Tuple[object, ...]:
    shape = (public.type, public.name_alg, public.attributes, public.auth_policy)
    return shape + (public.key_bits if public.type == "rsa" else public.curve,)
