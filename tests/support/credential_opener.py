"""Opening a credential as a TPM does, with a private key in software, written from the specification.

Shares no code with the verifier: derivations by ``hmac`` and ``hashlib``, the cipher by the library.
"""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from xentpm_lib.evidence.public import Public

try:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB  # type: ignore[no-redef]

_EK_ATTRIBUTES = 0x000300B2
_CURVES = {"secp256r1": "nist_p256", "secp384r1": "nist_p384", "secp521r1": "nist_p521"}
_HASHES = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}


class Refused(Exception):
    """The credential is for another key or another Name, or was changed: TPM_RC_INTEGRITY."""


def endorsement_key(private, name_alg="sha256", aes_bits=128, **fields):
    """The public area that a TPM would have for this private key of ``cryptography``."""
    from xentpm_lib.evidence.key_parameters import Symmetric

    numbers = private.public_key().public_numbers()
    common = {
        "name_alg": name_alg,
        "attributes": _EK_ATTRIBUTES,
        "auth_policy": bytes(hashlib.new(name_alg).digest_size),
        "symmetric": Symmetric("aes", aes_bits, "cfb"),
    }
    common.update(fields)
    if isinstance(private, rsa.RSAPrivateKey):
        modulus = numbers.n.to_bytes(private.key_size // 8, "big")
        exponent = 0 if numbers.e == 65537 else numbers.e
        return Public("rsa", key_bits=private.key_size, modulus=modulus, exponent=exponent, **common)
    size = (private.curve.key_size + 7) // 8
    x, y = (number.to_bytes(size, "big") for number in (numbers.x, numbers.y))
    return Public("ecc", curve=_CURVES[private.curve.name], x=x, y=y, **common)


def open_credential(private, ek, name, data):
    """The secret in a credential file. Raises: Refused; ValueError where OAEP does not hold."""
    assert data[:8] == bytes.fromhex("badcc0de00000001")
    id_object, rest = _sized(data[8:])
    encrypted_seed, rest = _sized(rest)
    assert rest == b""
    seed = _seed(private, ek, encrypted_seed)
    integrity, identity = _sized(id_object)
    bits = hashlib.new(ek.name_alg).digest_size * 8
    key = _kdfa(ek.name_alg, seed, b"INTEGRITY", b"", bits)
    if not hmac.compare_digest(hmac.new(key, identity + name, ek.name_alg).digest(), integrity):
        raise Refused()
    key = _kdfa(ek.name_alg, seed, b"STORAGE", name, ek.symmetric.key_bits)
    decryptor = Cipher(algorithms.AES(key), CFB(bytes(16))).decryptor()
    secret, rest = _sized(decryptor.update(identity) + decryptor.finalize())
    assert rest == b""
    return secret


def _seed(private, ek, encrypted):
    if isinstance(private, rsa.RSAPrivateKey):
        algorithm = _HASHES[ek.name_alg]()
        return private.decrypt(encrypted, padding.OAEP(padding.MGF1(algorithm), algorithm, b"IDENTITY\0"))
    x, rest = _sized(encrypted)
    y, rest = _sized(rest)
    assert rest == b""
    # tpm2-tools leave out the zeros that a coordinate begins with, and derive with what is left.
    assert len(x) <= len(ek.x) and len(y) <= len(ek.y)
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), private.curve)
    shared = private.exchange(ec.ECDH(), numbers.public_key())
    return _kdfe(ek.name_alg, shared, b"IDENTITY", x, ek.x)


def _kdfa(hash_name, key, label, context, bits):
    out = b""
    for counter in range(1, 9):
        message = struct.pack(">I", counter) + label + b"\0" + context + struct.pack(">I", bits)
        out += hmac.new(key, message, hash_name).digest()
    return out[: bits // 8]


def _kdfe(hash_name, shared, label, ours, theirs):
    return hashlib.new(hash_name, struct.pack(">I", 1) + shared + label + b"\0" + ours + theirs).digest()


def _sized(data):
    (size,) = struct.unpack(">H", data[:2])
    assert len(data) >= 2 + size
    return data[2 : 2 + size], data[2 + size :]
