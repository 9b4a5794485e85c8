"""The credential file of tpm2-tools: a secret that only one TPM, holding one key, can open.

``tpm2_makecredential`` writes it, ``tpm2_activatecredential`` and the plugin's ``tpm_challenge``
read it: magic and version, 4 bytes each, then the two structures that TPM2_ActivateCredential takes.
"""

from typing import NamedTuple

from xentpm_lib.evidence.algorithms import MAX_DIGEST_SIZE
from xentpm_lib.evidence.public import MAX_RSA_SIZE
from xentpm_lib.evidence.wire import Reader, pack_sized, pack_u32

__all__ = [
    "CREDENTIAL_MAGIC",
    "CREDENTIAL_VERSION",
    "MAX_CREDENTIAL_SIZE",
    "MAX_ENCRYPTED_SECRET_SIZE",
    "MAX_ID_OBJECT_SIZE",
    "Credential",
]

CREDENTIAL_MAGIC = 0xBADCC0DE
CREDENTIAL_VERSION = 1
MAX_ID_OBJECT_SIZE = 2 * (2 + MAX_DIGEST_SIZE)  # bytes: HMAC and encrypted secret, each a TPM2B
MAX_ENCRYPTED_SECRET_SIZE = MAX_RSA_SIZE  # bytes: a seed encrypted with RSA, or a smaller point
MAX_CREDENTIAL_SIZE = 8 + 2 + MAX_ID_OBJECT_SIZE + 2 + MAX_ENCRYPTED_SECRET_SIZE  # bytes


class Credential(NamedTuple):
    """A credential file.

    id_object: content of the TPM2B_ID_OBJECT: the secret, encrypted, with its HMAC.
    encrypted_secret: content of the TPM2B_ENCRYPTED_SECRET: the seed, encrypted to the EK.

    Spec: TPM 2.0 Library Part 2, TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.
    """

    id_object: bytes
    encrypted_secret: bytes

    @classmethod
    def from_bytes(cls, data: bytes) -> "Credential":
        """Parse a credential file.

        Raises:
            FormatError: wrong magic or version, truncated, trailing bytes, or a size out of range.
        """
        reader = Reader(data, "credential file")
        for what, expected in (("magic", CREDENTIAL_MAGIC), ("version", CREDENTIAL_VERSION)):
            start = reader.offset
            value = reader.u32()
            if value != expected:
                raise reader.error("{} 0x{:08x}, expected 0x{:08x}".format(what, value, expected), start)
        credential = cls(reader.sized(MAX_ID_OBJECT_SIZE, 1), reader.sized(MAX_ENCRYPTED_SECRET_SIZE, 1))
        reader.end()
        return credential

    def to_bytes(self) -> bytes:
        """The credential file. Raises: FormatError for a part that is empty or too large."""
        id_object = pack_sized(self.id_object, MAX_ID_OBJECT_SIZE, 1)
        secret = pack_sized(self.encrypted_secret, MAX_ENCRYPTED_SECRET_SIZE, 1)
        return pack_u32(CREDENTIAL_MAGIC) + pack_u32(CREDENTIAL_VERSION) + id_object + secret
