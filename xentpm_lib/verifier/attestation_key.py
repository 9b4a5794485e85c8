"""The stored attestation keys, loaded once each, and verifying with them.

The scheme and hash of a signature are its own claim; what counts is what the enrolled key's public area says
and the policy allows. A TPM key signs with its one scheme only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from xentpm_lib.evidence.names import ENDORSEMENT_HIERARCHY, qualified_name
from xentpm_lib.evidence.public import Public
from xentpm_lib.evidence.signature import Signature

__all__ = ["MAX_CACHED_KEYS", "AttestationKey", "attestation_key"]

MAX_CACHED_KEYS = 16_384

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}

_Verify = Callable[[bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class AttestationKey:
    """An enrolled attestation key with what is computed of it once.

    name, qualified_name: as a TPM computes them of a primary key of the endorsement hierarchy.
    tpm2b: its TPM2B_PUBLIC. scheme, hash: the only ones it signs with.
    faults: why its signature proves nothing; empty for a fit key, and only then it can verify.
    """

    name: bytes
    qualified_name: bytes
    tpm2b: bytes
    scheme: str
    hash: str
    faults: tuple[str, ...]
    _verify: _Verify | None

    def signed(self, signature: Signature, data: bytes) -> bool:
        """Whether this key made the signature over ``data``. Scheme and hash are not compared here."""
        if self._verify is None:
            return False
        try:
            self._verify(signature.der(), data)
        except InvalidSignature:
            return False
        return True


@lru_cache(maxsize=MAX_CACHED_KEYS)
def attestation_key(ak: Public) -> AttestationKey:
    """The key of a host's record.

    Raises:
        FormatError: it is no public area that a TPM could have.
    """
    name, faults = ak.name(), ak.attestation_key_faults()
    scheme = (ak.scheme.name, ak.scheme.hash or "") if ak.scheme else ("", "")
    if not faults and scheme[1] not in _HASHES:
        faults = (f"it signs {scheme[1]} digests",)
    verify: _Verify | None = None
    if not faults:
        try:
            verify = _verifier(ak, *scheme)
        except (ValueError, UnsupportedAlgorithm):
            faults = ("its numbers are no key",)
    qualified = qualified_name(ENDORSEMENT_HIERARCHY, name)
    return AttestationKey(name, qualified, ak.to_tpm2b(), *scheme, faults, verify)


def _verifier(ak: Public, scheme: str, hash_name: str) -> _Verify:
    """The library's verification with the parameters that the public area fixes."""
    key, algorithm = load_der_public_key(ak.spki_der()), _HASHES[hash_name]()
    if isinstance(key, ec.EllipticCurvePublicKey) and scheme == "ecdsa":
        elliptic, with_hash = key, ec.ECDSA(algorithm)
        return lambda signature, data: elliptic.verify(signature, data, with_hash)
    if isinstance(key, rsa.RSAPublicKey) and scheme in ("rsassa", "rsapss"):
        modular, pad = key, _padding(scheme, algorithm)
        return lambda signature, data: modular.verify(signature, data, pad, algorithm)
    raise ValueError(f"a {ak.type} key with the scheme {scheme}")


def _padding(scheme: str, algorithm: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    """RSAPSS of a TPM: the salt is as long as the digest, or as long as it can be (older TPMs)."""
    if scheme == "rsassa":
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
