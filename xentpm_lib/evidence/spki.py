"""Public keys as the rest of the world writes them: DER SubjectPublicKeyInfo and PEM."""

from xentpm_lib.evidence.der import (
    NULL,
    encode_bit_string,
    encode_integer,
    encode_oid,
    encode_sequence,
)
from xentpm_lib.evidence.encoding import encode_base64

__all__ = ["encode_ecc_key", "encode_pem", "encode_point", "encode_rsa_key"]

_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
_EC_PUBLIC_KEY = "1.2.840.10045.2.1"
_CURVE_OIDS = {
    "nist_p256": "1.2.840.10045.3.1.7",
    "nist_p384": "1.3.132.0.34",
    "nist_p521": "1.3.132.0.35",
}
_PEM_COLUMNS = 64
_EXPONENT_SIZE = 4  # bytes


def encode_rsa_key(modulus: bytes, exponent: int) -> bytes:
    """An RSA key as a SubjectPublicKeyInfo.

    Spec: RFC 3279 section 2.3.1.
    """
    algorithm = encode_sequence(encode_oid(_RSA_ENCRYPTION), NULL)
    numbers = encode_integer(modulus) + encode_integer(exponent.to_bytes(_EXPONENT_SIZE, "big"))
    return encode_sequence(algorithm, encode_bit_string(encode_sequence(numbers)))


def encode_ecc_key(curve: str, x: bytes, y: bytes) -> bytes:
    """An ECC key as a SubjectPublicKeyInfo with a named curve. x, y: padded to the curve's size.

    Spec: RFC 5480 section 2.
    """
    algorithm = encode_sequence(encode_oid(_EC_PUBLIC_KEY), encode_oid(_CURVE_OIDS[curve]))
    return encode_sequence(algorithm, encode_bit_string(encode_point(x, y)))


def encode_point(x: bytes, y: bytes) -> bytes:
    """An uncompressed point. x, y: padded to the curve's size.

    Spec: SEC 1 section 2.3.3.
    """
    return b"\x04" + x + y


def encode_pem(label: str, der: bytes) -> str:
    """``der`` between ``BEGIN`` and ``END`` lines, 64 columns, ending in a newline.

    Spec: RFC 7468 section 2.
    """
    text = encode_base64(der)
    lines = [text[start : start + _PEM_COLUMNS] for start in range(0, len(text), _PEM_COLUMNS)]
    return "-----BEGIN {0}-----\n{1}\n-----END {0}-----\n".format(label, "\n".join(lines))
