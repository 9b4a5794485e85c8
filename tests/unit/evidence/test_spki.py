"""evidence/spki.py: the encodings of the cryptography package, byte for byte."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xentpm_lib.evidence.spki import encode_ecc_key, encode_pem, encode_rsa_key

FORMAT = PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize("exponent", [3, 65537])
@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_rsa(bits, exponent):
    modulus = (1 << (bits - 1)) | 0x1234567
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    der = encode_rsa_key(modulus.to_bytes(bits // 8, "big"), exponent)
    assert der == key.public_bytes(Encoding.DER, FORMAT)
    assert encode_pem("PUBLIC KEY", der).encode() == key.public_bytes(Encoding.PEM, FORMAT)


@pytest.mark.parametrize(
    "curve, group, size",
    [
        ("nist_p256", ec.SECP256R1(), 32),
        ("nist_p384", ec.SECP384R1(), 48),
        ("nist_p521", ec.SECP521R1(), 66),
    ],
)
@pytest.mark.parametrize("secret", [1, 2, 0xDEADBEEF])
def test_ecc(curve, group, size, secret):
    key = ec.derive_private_key(secret, group).public_key()
    numbers = key.public_numbers()
    der = encode_ecc_key(curve, numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big"))
    assert der == key.public_bytes(Encoding.DER, FORMAT)
    assert encode_pem("PUBLIC KEY", der).encode() == key.public_bytes(Encoding.PEM, FORMAT)


@pytest.mark.parametrize("size", [0, 1, 48, 49, 96])
def test_pem_has_64_columns(size):
    lines = encode_pem("X", bytes(size)).splitlines()
    assert lines[0] == "-----BEGIN X-----" and lines[-1] == "-----END X-----"
    assert all(len(line) <= 64 for line in lines)
