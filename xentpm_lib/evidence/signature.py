"""TPMT_SIGNATURE: a TPM's signature by an RSA or ECC key.

Spec: TPM 2.0 Library Part 2, TPMT_SIGNATURE, TPMS_SIGNATURE_RSA, TPMS_SIGNATURE_ECC.
"""

from typing import NamedTuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import hash_by_name
from xentpm_lib.evidence.der import encode_integer, encode_sequence
from xentpm_lib.evidence.key_parameters import id_of, read_hash, read_id
from xentpm_lib.evidence.public import MAX_ECC_SIZE, MAX_RSA_SIZE
from xentpm_lib.evidence.wire import Reader, pack_sized, pack_u16

__all__ = ["MAX_SIGNATURE_SIZE", "Signature"]

MAX_SIGNATURE_SIZE = 4 + 2 + MAX_RSA_SIZE  # bytes

_SCHEMES = {"rsassa": 0x0014, "rsapss": 0x0016, "ecdsa": 0x0018}


class Signature(NamedTuple):
    """A signature as the TPM gave it. The scheme and hash are its own claim: compare them with
    the key's before verifying.

    scheme: ``rsassa``, ``rsapss`` or ``ecdsa``.
    hash: the hash algorithm of what is signed.
    rsa: the signature, as large as the modulus; RSA schemes only.
    r, s: big-endian, at most the size of the curve, not always padded; ``ecdsa`` only.
    """

    scheme: str
    hash: str
    rsa: bytes = b""
    r: bytes = b""
    s: bytes = b""

    @classmethod
    def from_bytes(cls, data: bytes) -> "Signature":
        """Parse a TPMT_SIGNATURE of one of the three schemes.

        Raises:
            FormatError: another scheme, or anything not as specified.
        """
        reader = Reader(data, "TPMT_SIGNATURE")
        scheme = read_id(reader, _SCHEMES, "signature scheme")
        hash_name = read_hash(reader)
        if scheme == "ecdsa":
            r, s = reader.sized(MAX_ECC_SIZE, 1), reader.sized(MAX_ECC_SIZE, 1)
            signature = cls(scheme, hash_name, r=r, s=s)
        else:
            signature = cls(scheme, hash_name, rsa=reader.sized(MAX_RSA_SIZE, 1))
        reader.end()
        return signature

    def to_bytes(self) -> bytes:
        """The TPMT_SIGNATURE. Raises: FormatError for a field that cannot be."""
        scheme = pack_u16(id_of(_SCHEMES, self.scheme, "scheme"))
        header = scheme + pack_u16(hash_by_name(self.hash, "hash").tpm_id)
        if self.rsa if self.scheme == "ecdsa" else self.r + self.s:
            raise FormatError("fields of another scheme are set", where="scheme")
        if self.scheme == "ecdsa":
            return header + pack_sized(self.r, MAX_ECC_SIZE, 1) + pack_sized(self.s, MAX_ECC_SIZE, 1)
        return header + pack_sized(self.rsa, MAX_RSA_SIZE, 1)

    def der(self) -> bytes:
        """The signature as other software takes it: RSA as it is, ``ecdsa`` as a DER SEQUENCE.

        Spec: RFC 3279 section 2.2.3, Ecdsa-Sig-Value.
        """
        if self.scheme == "ecdsa":
            return encode_sequence(encode_integer(self.r), encode_integer(self.s))
        return self.rsa
