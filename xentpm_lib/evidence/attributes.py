"""Attribute bits of TPM objects and of NV indices, and their names for people.

Spec: TPM 2.0 Library Part 2, TPMA_OBJECT and TPMA_NV.
"""

from typing import Tuple

from xentpm_lib.errors import FormatError

__all__ = [
    "ADMIN_WITH_POLICY",
    "DECRYPT",
    "ENCRYPTED_DUPLICATION",
    "FIRMWARE_LIMITED",
    "FIXED_PARENT",
    "FIXED_TPM",
    "NO_DA",
    "NV_AUTHREAD",
    "NV_AUTHWRITE",
    "NV_CLEAR_STCLEAR",
    "NV_GLOBALLOCK",
    "NV_NO_DA",
    "NV_ORDERLY",
    "NV_OWNERREAD",
    "NV_OWNERWRITE",
    "NV_PLATFORMCREATE",
    "NV_POLICYREAD",
    "NV_POLICYWRITE",
    "NV_POLICY_DELETE",
    "NV_PPREAD",
    "NV_PPWRITE",
    "NV_READLOCKED",
    "NV_READ_STCLEAR",
    "NV_TYPE_MASK",
    "NV_WRITEALL",
    "NV_WRITEDEFINE",
    "NV_WRITELOCKED",
    "NV_WRITE_STCLEAR",
    "NV_WRITTEN",
    "RESTRICTED",
    "SENSITIVE_DATA_ORIGIN",
    "SIGN",
    "ST_CLEAR",
    "SVN_LIMITED",
    "USER_WITH_AUTH",
    "X509_SIGN",
    "check_nv_attributes",
    "check_object_attributes",
    "nv_attribute_names",
    "object_attribute_names",
]

FIXED_TPM = 1 << 1
ST_CLEAR = 1 << 2
FIXED_PARENT = 1 << 4
SENSITIVE_DATA_ORIGIN = 1 << 5
USER_WITH_AUTH = 1 << 6
ADMIN_WITH_POLICY = 1 << 7
FIRMWARE_LIMITED = 1 << 8
SVN_LIMITED = 1 << 9
NO_DA = 1 << 10
ENCRYPTED_DUPLICATION = 1 << 11
RESTRICTED = 1 << 16
DECRYPT = 1 << 17
SIGN = 1 << 18
X509_SIGN = 1 << 19

NV_PPWRITE = 1 << 0
NV_OWNERWRITE = 1 << 1
NV_AUTHWRITE = 1 << 2
NV_POLICYWRITE = 1 << 3
NV_TYPE_MASK = 0xF << 4  # 0 for an ordinary index
NV_POLICY_DELETE = 1 << 10
NV_WRITELOCKED = 1 << 11
NV_WRITEALL = 1 << 12
NV_WRITEDEFINE = 1 << 13
NV_WRITE_STCLEAR = 1 << 14
NV_GLOBALLOCK = 1 << 15
NV_PPREAD = 1 << 16
NV_OWNERREAD = 1 << 17
NV_AUTHREAD = 1 << 18
NV_POLICYREAD = 1 << 19
NV_NO_DA = 1 << 25
NV_ORDERLY = 1 << 26
NV_CLEAR_STCLEAR = 1 << 27
NV_READLOCKED = 1 << 28
NV_WRITTEN = 1 << 29
NV_PLATFORMCREATE = 1 << 30
NV_READ_STCLEAR = 1 << 31

_OBJECT_NAMES = (
    (FIXED_TPM, "fixedTPM"),
    (ST_CLEAR, "stClear"),
    (FIXED_PARENT, "fixedParent"),
    (SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
    (USER_WITH_AUTH, "userWithAuth"),
    (ADMIN_WITH_POLICY, "adminWithPolicy"),
    (FIRMWARE_LIMITED, "firmwareLimited"),
    (SVN_LIMITED, "svnLimited"),
    (NO_DA, "noDA"),
    (ENCRYPTED_DUPLICATION, "encryptedDuplication"),
    (RESTRICTED, "restricted"),
    (DECRYPT, "decrypt"),
    (SIGN, "sign"),
    (X509_SIGN, "x509sign"),
)
_NV_NAMES = (
    (NV_PPWRITE, "PPWRITE"),
    (NV_OWNERWRITE, "OWNERWRITE"),
    (NV_AUTHWRITE, "AUTHWRITE"),
    (NV_POLICYWRITE, "POLICYWRITE"),
    (NV_POLICY_DELETE, "POLICY_DELETE"),
    (NV_WRITELOCKED, "WRITELOCKED"),
    (NV_WRITEALL, "WRITEALL"),
    (NV_WRITEDEFINE, "WRITEDEFINE"),
    (NV_WRITE_STCLEAR, "WRITE_STCLEAR"),
    (NV_GLOBALLOCK, "GLOBALLOCK"),
    (NV_PPREAD, "PPREAD"),
    (NV_OWNERREAD, "OWNERREAD"),
    (NV_AUTHREAD, "AUTHREAD"),
    (NV_POLICYREAD, "POLICYREAD"),
    (NV_NO_DA, "NO_DA"),
    (NV_ORDERLY, "ORDERLY"),
    (NV_CLEAR_STCLEAR, "CLEAR_STCLEAR"),
    (NV_READLOCKED, "READLOCKED"),
    (NV_WRITTEN, "WRITTEN"),
    (NV_PLATFORMCREATE, "PLATFORMCREATE"),
    (NV_READ_STCLEAR, "READ_STCLEAR"),
)
_OBJECT_BITS = sum(bit for bit, _ in _OBJECT_NAMES)
_NV_BITS = sum(bit for bit, _ in _NV_NAMES) | NV_TYPE_MASK


def object_attribute_names(attributes: int) -> Tuple[str, ...]:
    """The names of the bits that are set, spelled as the specification does: ``fixedTPM``."""
    return tuple(name for bit, name in _OBJECT_NAMES if attributes & bit)


def nv_attribute_names(attributes: int) -> Tuple[str, ...]:
    """The names of the bits that are set, spelled as the specification does: ``OWNERWRITE``."""
    return tuple(name for bit, name in _NV_NAMES if attributes & bit)


def check_object_attributes(attributes: int) -> None:
    """Raises: FormatError when a reserved bit of TPMA_OBJECT is set."""
    _check(attributes, _OBJECT_BITS)


def check_nv_attributes(attributes: int) -> None:
    """Raises: FormatError when a reserved bit of TPMA_NV is set."""
    _check(attributes, _NV_BITS)


def _check(attributes: int, defined: int) -> None:
    if attributes & ~defined:
        raise FormatError("reserved bits 0x{:x} are set".format(attributes & ~defined), where="attributes")
