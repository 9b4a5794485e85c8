"""The hash algorithms of a TPM: identifier, name and digest size; and computing a digest."""

import hashlib
from typing import NamedTuple

from xentpm_lib.errors import FormatError

__all__ = [
    "HASHES",
    "MAX_DIGEST_SIZE",
    "HashAlgorithm",
    "digest",
    "digest_size",
    "hash_by_id",
    "hash_by_name",
]


class HashAlgorithm(NamedTuple):
    """A hash algorithm: its name in text, its TPM_ALG_ID, its digest's size in bytes."""

    name: str
    tpm_id: int
    size: int


# Spec: TCG Algorithm Registry, TPM_ALG_ID.
HASHES = (
    HashAlgorithm("sha1", 0x0004, 20),
    HashAlgorithm("sha256", 0x000B, 32),
    HashAlgorithm("sha384", 0x000C, 48),
    HashAlgorithm("sha512", 0x000D, 64),
    HashAlgorithm("sm3_256", 0x0012, 32),
    HashAlgorithm("sha3_256", 0x0027, 32),
    HashAlgorithm("sha3_384", 0x0028, 48),
    HashAlgorithm("sha3_512", 0x0029, 64),
)

MAX_DIGEST_SIZE = 64  # bytes, the largest in HASHES

_BY_ID = {algorithm.tpm_id: algorithm for algorithm in HASHES}
_BY_NAME = {algorithm.name: algorithm for algorithm in HASHES}
_FAST = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_HASHLIB_NAMES = {"sm3_256": "sm3"}  # where hashlib's name is another than ours


def hash_by_id(tpm_id: int, where: str = "") -> HashAlgorithm:
    """The algorithm with this TPM_ALG_ID.

    Raises:
        FormatError: it is none of HASHES; ``where`` is the path to tell.
    """
    try:
        return _BY_ID[tpm_id]
    except KeyError:
        raise FormatError("0x{:04x} is no hash algorithm".format(tpm_id), where=where) from None


def hash_by_name(name: str, where: str = "") -> HashAlgorithm:
    """The algorithm with this name, spelled exactly: ``sha256``.

    Raises:
        FormatError: it is none of HASHES; ``where`` is the path to tell.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        known = ", ".join(algorithm.name for algorithm in HASHES)
        message = "{} is no hash algorithm, expected one of {}".format(ascii(name[:32]), known)
        raise FormatError(message, where=where) from None


def digest_size(name: str) -> int:
    """The size in bytes of this algorithm's digest. Raises: FormatError for an unknown name."""
    return hash_by_name(name).size


def digest(name: str, data: bytes) -> bytes:
    """The digest of ``data``.

    Raises:
        FormatError: an unknown name, or an algorithm that this machine cannot compute.
    """
    if name in _FAST:
        return _FAST[name](data).digest()
    hash_by_name(name)
    try:
        return hashlib.new(_HASHLIB_NAMES.get(name, name), data).digest()
    except ValueError as error:
        raise FormatError("this machine cannot compute {} digests".format(name)) from error
