"""Making a credential: a secret that only the TPM with this EK, holding the key with this Name, can read.

It is what TPM2_MakeCredential computes, which needs no TPM, in the file that tpm2-tools write. The answer to
it proves at once that the endorsement key and the attestation key are in one TPM.
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from cryptography.hazmat.primitives.serialization import load_der_public_key

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import digest_size
from xentpm_lib.evidence.credential_file import Credential
from xentpm_lib.evidence.key_parameters import CURVE_SIZES
from xentpm_lib.evidence.names import check_name
from xentpm_lib.evidence.public import Public
from xentpm_lib.evidence.wire import pack_sized
from xentpm_lib.verifier.errors import EnrolmentError

__all__ = ["load_endorsement_key", "make_credential"]

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "nist_p256": ec.SECP256R1,
    "nist_p384": ec.SECP384R1,
    "nist_p521": ec.SECP521R1,
}
_AES_BITS = (128, 192, 256)
_BLOCK_SIZE = 16  # bytes, of AES
_LABEL = b"IDENTITY\0"
_CODE = "XENTPM_EK_UNUSABLE"


def make_credential(ek: Public, name: bytes, secret: bytes) -> bytes:
    """A credential file with ``secret``, for the TPM that has ``ek`` and holds the object called ``name``.

    ek: RSA or ECC, with AES in CFB mode. name: the Name of the attestation key.
    secret: 1 byte up to the size of a digest of the EK's name algorithm: 32 bytes fit every EK.

    Raises:
        EnrolmentError: ``XENTPM_EK_UNUSABLE``: no credential can be made for such a key.
        FormatError: ``name`` is no Name, or ``secret`` has not a size that the TPM takes.

    Spec: TPM 2.0 Library Part 1, Credential Protection; annexes B.10.4 (RSA) and C.6.4 (ECC).
    """
    check_name(name)
    key = load_endorsement_key(ek)
    try:
        seed, encrypted_seed = _rsa_seed(ek, key) if isinstance(key, rsa.RSAPublicKey) else _ecc_seed(ek, key)
    except ValueError as error:
        raise _unusable("its numbers make no key") from error
    identity = _encrypt(ek, seed, name, pack_sized(secret, digest_size(ek.name_alg), 1))
    integrity = hmac.new(_integrity_key(ek, seed), identity + name, ek.name_alg).digest()
    return Credential(pack_sized(integrity, len(integrity)) + identity, encrypted_seed).to_bytes()


def load_endorsement_key(ek: Public) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    """The EK as a key that can be encrypted to.

    Raises:
        EnrolmentError: ``XENTPM_EK_UNUSABLE``: its hash, cipher, curve or numbers are none that can be used.
    """
    if ek.name_alg not in _HASHES:
        raise _unusable("its name algorithm is {}".format(ek.name_alg))
    cipher = ek.symmetric
    if (
        cipher is None
        or cipher.algorithm != "aes"
        or cipher.mode != "cfb"
        or cipher.key_bits not in _AES_BITS
    ):
        raise _unusable("it does not protect its children with AES in CFB mode")
    try:
        key = load_der_public_key(ek.spki_der())
    except (ValueError, FormatError) as error:
        raise _unusable("there is no such public key: {}".format(error)) from error
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise _unusable("it is neither RSA nor ECC")
    return key


def _rsa_seed(ek: Public, key: rsa.RSAPublicKey) -> tuple[bytes, bytes]:
    """A random seed, and the same encrypted. Spec: Part 1, B.4, RSAES_OAEP."""
    seed = secrets.token_bytes(digest_size(ek.name_alg))
    algorithm = _HASHES[ek.name_alg]()
    return seed, key.encrypt(seed, padding.OAEP(padding.MGF1(algorithm), algorithm, _LABEL))


def _ecc_seed(ek: Public, key: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
    """A seed agreed upon with a key made for once, and that key's point. Spec: Part 1, C.6.1 and KDFe."""
    size = CURVE_SIZES[ek.curve]
    once = ec.generate_private_key(_CURVES[ek.curve]())
    point = once.public_key().public_numbers()
    ours, theirs = (number.to_bytes(size, "big") for number in (point.x, key.public_numbers().x))
    derivation = ConcatKDFHash(_HASHES[ek.name_alg](), digest_size(ek.name_alg), _LABEL + ours + theirs)
    seed = derivation.derive(once.exchange(ec.ECDH(), key))
    return seed, pack_sized(ours, size) + pack_sized(point.y.to_bytes(size, "big"), size)


def _encrypt(ek: Public, seed: bytes, name: bytes, plain: bytes) -> bytes:
    assert ek.symmetric is not None
    return _cfb(_kdfa(ek, seed, b"STORAGE", name, ek.symmetric.key_bits // 8), plain)


def _integrity_key(ek: Public, seed: bytes) -> bytes:
    return _kdfa(ek, seed, b"INTEGRITY", b"", digest_size(ek.name_alg))


def _kdfa(ek: Public, key: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """Spec: Part 1, 11.4.10.2, KDFa: NIST SP 800-108 in counter mode."""
    derivation = KBKDFHMAC(
        algorithm=_HASHES[ek.name_alg](),
        mode=Mode.CounterMode,
        length=size,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return derivation.derive(key)


def _cfb(key: bytes, plain: bytes) -> bytes:
    """AES-CFB with an initialisation vector of zeros, from the block cipher alone.

    ``cryptography`` is about to drop the mode. The key is used for these bytes and never again.

    Spec: NIST SP 800-38A section 6.3; TPM 2.0 Library Part 1, B.10.4: the vector is zero.
    """
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    sealed = b""
    previous = bytes(_BLOCK_SIZE)
    for start in range(0, len(plain), _BLOCK_SIZE):
        pad = block.update(previous)
        previous = bytes(a ^ b for a, b in zip(plain[start : start + _BLOCK_SIZE], pad, strict=False))
        sealed += previous
    return sealed


def _unusable(reason: str) -> EnrolmentError:
    return EnrolmentError(
        "the endorsement key cannot be used: {}".format(reason),
        "Let the host use the key that its TPM's certificate is for.",
        _CODE,
    )
