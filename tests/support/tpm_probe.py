"""What a software TPM holds and lets in, asked with raw commands: without any of the code under test."""

import struct
from typing import Dict, List, Optional

from xentpm_lib.errors import TpmError
from xentpm_lib.simulator import tpm_wire
from xentpm_lib.simulator.swtpm import Swtpm

OWNER, LOCKOUT, ENDORSEMENT = 0x40000001, 0x4000000A, 0x4000000B
TAG_INDEX = 0x01C10110
VOLATILE = {"transient objects": 0x80000000, "loaded sessions": 0x02000000, "saved sessions": 0x03000000}
PERSISTENT = 0x81000000
_CLEAR, _CHANGE_AUTH, _CLOCK_RATE, _LOCK_RESET, _GET_CAPABILITY = 0x126, 0x129, 0x130, 0x139, 0x17A
_CAP_HANDLES, _CAP_PROPERTIES, _PERMANENT, _MOST = 1, 6, 0x200, 254
_PASSWORD_SESSION = 0x40000009
_AUTH_CODES = (0x98E, 0x9A2, 0x921)


def handles(tpm: Swtpm, first: int) -> List[int]:
    """The TPM's handles of the kind of ``first``."""
    body = struct.pack(">III", _CAP_HANDLES, first, _MOST)
    answer = tpm.run("GetCapability", tpm_wire.without_authorisation(_GET_CAPABILITY, body))
    (count,) = struct.unpack(">I", answer[5:9])
    return list(struct.unpack(">{}I".format(count), answer[9:]))


def leftovers(tpm: Swtpm) -> Dict[str, List[int]]:
    """The transient objects and sessions in the TPM by their kind; empty where it holds none."""
    found = {kind: handles(tpm, first) for kind, first in VOLATILE.items()}
    return {kind: some for kind, some in found.items() if some}


def tag(tpm: Swtpm) -> Optional[bytes]:
    """The content of the asset tag's index; None where it is not there or was never written."""
    try:
        size = tpm_wire.parse_nv_size(tpm.run("NV_ReadPublic", tpm_wire.nv_read_public(TAG_INDEX)))
        return tpm_wire.parse_nv_data(tpm.run("NV_Read", tpm_wire.nv_read(TAG_INDEX, size)))
    except TpmError as error:
        if error.rc in (tpm_wire.RC_NV_HANDLE, 0x14A):
            return None
        raise


def owner_is(tpm: Swtpm, auth: bytes) -> bool:
    """Whether the owner's authorisation is ``auth``; changes nothing."""
    return _accepted(tpm, _authorised(_CLOCK_RATE, OWNER, auth, b"\x00"))


def lockout_is_set(tpm: Swtpm) -> bool:
    """Whether the lockout authorisation is anything but empty; no try is spent."""
    body = struct.pack(">III", _CAP_PROPERTIES, _PERMANENT, 1)
    answer = tpm.run("GetCapability", tpm_wire.without_authorisation(_GET_CAPABILITY, body))
    return bool(struct.unpack(">I", answer[-4:])[0] & 0x4)


def lockout_is(tpm: Swtpm, auth: bytes) -> bool:
    """Whether the lockout authorisation is ``auth``. A wrong one locks it: ask once."""
    return _accepted(tpm, _authorised(_LOCK_RESET, LOCKOUT, auth, b""))


def change_auth(tpm: Swtpm, hierarchy: int, old: bytes, new: bytes) -> None:
    """TPM2_HierarchyChangeAuth."""
    tpm.run("HierarchyChangeAuth", _authorised(_CHANGE_AUTH, hierarchy, old, _sized(new)))


def clear(tpm: Swtpm, lockout_auth: bytes) -> None:
    """TPM2_Clear: no owner, no keys of ours, no tag. The endorsement seed and its certificates stay."""
    tpm.run("Clear", _authorised(_CLEAR, LOCKOUT, lockout_auth, b""))


def _authorised(code: int, handle: int, auth: bytes, parameters: bytes) -> bytes:
    area = struct.pack(">IHB", _PASSWORD_SESSION, 0, 0) + _sized(auth)
    body = struct.pack(">II", handle, len(area)) + area + parameters
    return struct.pack(">HII", 0x8002, 10 + len(body), code) + body


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _accepted(tpm: Swtpm, command: bytes) -> bool:
    try:
        tpm.run("authorised command", command)
    except TpmError as error:
        if error.rc in _AUTH_CODES:
            return False
        raise
    return True
