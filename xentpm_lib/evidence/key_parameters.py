"""What a key's public area says besides the key: cipher, scheme, curve. Tables, reading, writing.

Spec: TPM 2.0 Library Part 2, TPMT_SYM_DEF_OBJECT, TPMT_RSA_SCHEME, TPMT_ECC_SCHEME, TPM_ECC_CURVE.
"""

from typing import Dict, NamedTuple, Optional

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import hash_by_id, hash_by_name
from xentpm_lib.evidence.wire import Reader, pack_u16

__all__ = [
    "ALG_NULL",
    "CURVES",
    "CURVE_SIZES",
    "KEY_TYPES",
    "SCHEME_IDS",
    "Scheme",
    "Symmetric",
    "id_of",
    "pack_scheme",
    "pack_symmetric",
    "read_hash",
    "read_id",
    "read_scheme",
    "read_symmetric",
]

ALG_NULL = 0x0010
KEY_TYPES = {"rsa": 0x0001, "ecc": 0x0023}
CURVES = {"nist_p256": 0x0003, "nist_p384": 0x0004, "nist_p521": 0x0005}
CURVE_SIZES = {"nist_p256": 32, "nist_p384": 48, "nist_p521": 66}  # bytes of one coordinate
SCHEME_IDS = {
    "rsa": {"rsassa": 0x0014, "rsaes": 0x0015, "rsapss": 0x0016, "oaep": 0x0017},
    "ecc": {"ecdsa": 0x0018, "ecdh": 0x0019, "sm2": 0x001B, "ecschnorr": 0x001C},
}
_CIPHERS = {"aes": 0x0006, "sm4": 0x0013, "camellia": 0x0026}
_CIPHER_BITS = (128, 192, 256)
_MODES = {"ctr": 0x0040, "ofb": 0x0041, "cbc": 0x0042, "cfb": 0x0043, "ecb": 0x0044}
_HASHLESS_SCHEME = "rsaes"


class Symmetric(NamedTuple):
    """The cipher with which a storage key protects its children: ``aes``, 128, ``cfb``."""

    algorithm: str
    key_bits: int
    mode: str


class Scheme(NamedTuple):
    """The only scheme that a key may be used with, and its hash (None for ``rsaes``)."""

    name: str
    hash: Optional[str]


def id_of(table: Dict[str, int], name: str, where: str) -> int:
    """The identifier of ``name`` in ``table``. Raises: FormatError when it is not there."""
    if name not in table:
        raise FormatError("{} is none of {}".format(ascii(name), ", ".join(table)), where=where)
    return table[name]


def read_id(reader: Reader, table: Dict[str, int], what: str) -> str:
    """Read a 16-bit identifier and name it. Raises: FormatError when ``table`` has no such."""
    start = reader.offset
    value = reader.u16()
    for name, known in table.items():
        if value == known:
            return name
    raise reader.error("{} 0x{:04x} is none of {}".format(what, value, ", ".join(table)), start)


def read_hash(reader: Reader) -> str:
    """Read a hash algorithm's identifier and name it. Raises: FormatError."""
    where = "offset {}".format(reader.offset)
    return hash_by_id(reader.u16(), where).name


def read_symmetric(reader: Reader) -> Optional[Symmetric]:
    """Read a TPMT_SYM_DEF_OBJECT, None for TPM_ALG_NULL. Raises: FormatError."""
    algorithm = read_id(reader, dict(_CIPHERS, null=ALG_NULL), "cipher")
    if algorithm == "null":
        return None
    start = reader.offset
    bits = reader.u16()
    if bits not in _CIPHER_BITS:
        raise reader.error("a cipher key of {} bits".format(bits), start)
    return Symmetric(algorithm, bits, read_id(reader, _MODES, "cipher mode"))


def pack_symmetric(symmetric: Optional[Symmetric]) -> bytes:
    """The TPMT_SYM_DEF_OBJECT. Raises: FormatError for a cipher that cannot be."""
    if symmetric is None:
        return pack_u16(ALG_NULL)
    if symmetric.key_bits not in _CIPHER_BITS:
        raise FormatError("a cipher key of {} bits".format(symmetric.key_bits), where="symmetric")
    cipher = pack_u16(id_of(_CIPHERS, symmetric.algorithm, "symmetric"))
    return cipher + pack_u16(symmetric.key_bits) + pack_u16(id_of(_MODES, symmetric.mode, "symmetric"))


def read_scheme(reader: Reader, key_type: str) -> Optional[Scheme]:
    """Read a TPMT_RSA_SCHEME or TPMT_ECC_SCHEME, None for TPM_ALG_NULL. Raises: FormatError."""
    name = read_id(reader, dict(SCHEME_IDS[key_type], null=ALG_NULL), "{} scheme".format(key_type))
    if name == "null":
        return None
    return Scheme(name, None if name == _HASHLESS_SCHEME else read_hash(reader))


def pack_scheme(key_type: str, scheme: Optional[Scheme]) -> bytes:
    """The TPMT_RSA_SCHEME or TPMT_ECC_SCHEME. Raises: FormatError for a scheme that cannot be."""
    if scheme is None:
        return pack_u16(ALG_NULL)
    packed = pack_u16(id_of(SCHEME_IDS[key_type], scheme.name, "scheme"))
    if (scheme.hash is None) != (scheme.name == _HASHLESS_SCHEME):
        raise FormatError("{} with hash {}".format(scheme.name, scheme.hash), where="scheme")
    return packed if scheme.hash is None else packed + pack_u16(hash_by_name(scheme.hash, "scheme").tpm_id)
