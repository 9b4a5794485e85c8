"""Names: what a TPM calls an object or an NV index, in a way that nobody can forge.

A Name is the identifier of the name algorithm, 2 bytes, and that algorithm's digest of the public
area; so it changes whenever any attribute of the object does.
"""

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import MAX_DIGEST_SIZE, digest, hash_by_id, hash_by_name
from xentpm_lib.evidence.wire import pack_u16, pack_u32

__all__ = [
    "ENDORSEMENT_HIERARCHY",
    "MAX_NAME_SIZE",
    "MIN_NAME_SIZE",
    "NULL_HIERARCHY",
    "OWNER_HIERARCHY",
    "PLATFORM_HIERARCHY",
    "check_name",
    "check_policy",
    "entity_name",
    "name_algorithm",
    "qualified_name",
]

MIN_NAME_SIZE = 2 + 20  # bytes, with SHA-1
MAX_NAME_SIZE = 2 + MAX_DIGEST_SIZE  # bytes

# Spec: TPM 2.0 Library Part 2, TPM_RH.
OWNER_HIERARCHY = 0x40000001
NULL_HIERARCHY = 0x40000007
ENDORSEMENT_HIERARCHY = 0x4000000B
PLATFORM_HIERARCHY = 0x4000000C


def entity_name(hash_name: str, public_area: bytes) -> bytes:
    """The Name of what ``public_area`` describes: 2 bytes and a digest.

    Raises:
        FormatError: an unknown hash.

    Spec: TPM 2.0 Library Part 1, Names.
    """
    return pack_u16(hash_by_name(hash_name).tpm_id) + digest(hash_name, public_area)


def qualified_name(hierarchy_handle: int, name: bytes) -> bytes:
    """The qualified Name of a primary object, as a signing key's stands in what it attests.

    Raises:
        FormatError: ``name`` is no Name.

    Spec: TPM 2.0 Library Part 1, Qualified Name of an Object.
    """
    return entity_name(name_algorithm(name), pack_u32(hierarchy_handle) + name)


def name_algorithm(name: bytes, where: str = "name") -> str:
    """The hash algorithm that a Name was made with.

    Raises:
        FormatError: ``name`` is no Name: an unknown algorithm, or not its digest's size.
    """
    algorithm = hash_by_id(int.from_bytes(name[:2], "big"), where)
    if len(name) != 2 + algorithm.size:
        message = "a Name with {} has {} bytes, got {}".format(algorithm.name, 2 + algorithm.size, len(name))
        raise FormatError(message, where=where)
    return algorithm.name


def check_policy(auth_policy: bytes, hash_name: str) -> None:
    """An authorisation policy is empty or a digest of the entity's name algorithm.

    Raises:
        FormatError: it has another size, or the algorithm is unknown.

    Spec: TPM 2.0 Library Part 2, TPMT_PUBLIC and TPMS_NV_PUBLIC, authPolicy.
    """
    size = hash_by_name(hash_name, "name_alg").size
    if len(auth_policy) not in (0, size):
        message = "expected 0 or {} bytes, got {}".format(size, len(auth_policy))
        raise FormatError(message, where="auth_policy")


def check_name(name: bytes, where: str = "name") -> bytes:
    """``name`` itself. Raises: FormatError when it is no Name."""
    name_algorithm(name, where)
    return name
