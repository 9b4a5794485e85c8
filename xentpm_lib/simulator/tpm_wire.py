"""Raw TPM 2.0 commands, for what firmware, boot loader and test bench say to a simulated host's TPM.

Spec: TPM 2.0 Library, Part 3: Commands. Only what a boot needs; password authorisation with an empty
password throughout. The dom0 layers do not use this: they talk through tpm2-pytss.
"""

import struct
from typing import Dict, Tuple

from xentpm_lib.errors import TpmError

__all__ = [
    "BANK_IDS",
    "check_response",
    "get_random",
    "nv_read",
    "nv_read_public",
    "parse_nv_data",
    "parse_nv_size",
    "parse_pcr",
    "pcr_extend",
    "pcr_read",
    "shutdown",
    "with_password",
    "without_authorisation",
]

BANK_IDS = {"sha1": 0x0004, "sha256": 0x000B, "sha384": 0x000C, "sha512": 0x000D}

HEADER_SIZE = 10  # bytes: tag, size, code
PCR_COUNT = 24
RC_NV_HANDLE = 0x18B  # TPM_RC_HANDLE, first handle: there is no such index

_ST_NO_SESSIONS = 0x8001
_ST_SESSIONS = 0x8002
_RS_PW = 0x40000009
_EMPTY_PASSWORD = struct.pack(">IHBH", _RS_PW, 0, 0, 0)
_SU_CLEAR = 0x0000

_CC_NV_READ = 0x0000014E
_CC_SHUTDOWN = 0x00000145
_CC_NV_READ_PUBLIC = 0x00000169
_CC_GET_RANDOM = 0x0000017B
_CC_PCR_READ = 0x0000017E
_CC_PCR_EXTEND = 0x00000182


def without_authorisation(code: int, body: bytes = b"") -> bytes:
    """Build a command that needs no authorisation; ``body`` is its handles and parameters."""
    return struct.pack(">HII", _ST_NO_SESSIONS, HEADER_SIZE + len(body), code) + body


def with_password(code: int, handles: bytes, parameters: bytes, sessions: int = 1) -> bytes:
    """Build a command that the empty password authorises, for each of ``sessions`` handles."""
    area = _EMPTY_PASSWORD * sessions
    body = handles + struct.pack(">I", len(area)) + area + parameters
    return struct.pack(">HII", _ST_SESSIONS, HEADER_SIZE + len(body), code) + body


def check_response(what: str, response: bytes) -> bytes:
    """Return what follows the header of a TPM's answer to ``what`` (a command's name).

    Raises: TpmError when the answer is no answer or tells of a failure; ``rc`` holds the code.
    """
    if len(response) < HEADER_SIZE:
        raise TpmError("{}: the TPM's answer has {} bytes, less than a header".format(what, len(response)))
    _, size, code = struct.unpack(">HII", response[:HEADER_SIZE])
    if size != len(response):
        raise TpmError("{}: the TPM's answer has {} bytes and says {}".format(what, len(response), size))
    if code != 0:
        raise TpmError("{}: the TPM answered 0x{:03x}".format(what, code), rc=code)
    return response[HEADER_SIZE:]


def get_random(count: int) -> bytes:
    """Build TPM2_GetRandom for ``count`` bytes."""
    return without_authorisation(_CC_GET_RANDOM, struct.pack(">H", count))


def shutdown() -> bytes:
    """Build TPM2_Shutdown(CLEAR), which an operating system sends before the power goes."""
    return without_authorisation(_CC_SHUTDOWN, struct.pack(">H", _SU_CLEAR))


def pcr_extend(pcr: int, digests: Dict[str, bytes]) -> bytes:
    """Build TPM2_PCR_Extend of one PCR by one digest a bank (``{"sha256": 32 bytes}``)."""
    parameters = struct.pack(">I", len(digests))
    for bank, digest in digests.items():
        parameters += struct.pack(">H", BANK_IDS[bank]) + digest
    return with_password(_CC_PCR_EXTEND, struct.pack(">I", pcr), parameters)


def pcr_read(bank: str, pcr: int) -> bytes:
    """Build TPM2_PCR_Read of one PCR of one bank."""
    bitmap = (1 << pcr).to_bytes(PCR_COUNT // 8, "little")
    return without_authorisation(_CC_PCR_READ, struct.pack(">IHB", 1, BANK_IDS[bank], len(bitmap)) + bitmap)


def parse_pcr(bank: str, pcr: int, answer: bytes) -> bytes:
    """Return the digest in a checked answer to :func:`pcr_read`.

    Raises: TpmError when the bank is not active.
    """
    start = 4 + 4 + 2 + 1 + PCR_COUNT // 8  # update counter; selection of one bank
    if len(answer) < start + 6 or struct.unpack(">I", answer[start : start + 4])[0] != 1:
        raise TpmError("PCR {} cannot be read: is the {} bank active?".format(pcr, bank))
    return _sized("TPM2_PCR_Read", answer[start + 4 :])[0]


def nv_read_public(index: int) -> bytes:
    """Build TPM2_NV_ReadPublic."""
    return without_authorisation(_CC_NV_READ_PUBLIC, struct.pack(">I", index))


def parse_nv_size(answer: bytes) -> int:
    """Return the data size, in bytes, that a checked answer to :func:`nv_read_public` tells."""
    public, _ = _sized("TPM2_NV_ReadPublic", answer)
    return int(struct.unpack(">H", public[-2:])[0])


def nv_read(index: int, size: int) -> bytes:
    """Build TPM2_NV_Read of ``size`` bytes, authorised by the index itself with an empty password."""
    return with_password(_CC_NV_READ, struct.pack(">II", index, index), struct.pack(">HH", size, 0))


def parse_nv_data(answer: bytes) -> bytes:
    """Return the bytes in a checked answer to :func:`nv_read`."""
    return _sized("TPM2_NV_Read", answer[4:])[0]


def _sized(what: str, data: bytes) -> Tuple[bytes, bytes]:
    """Split a TPM2B from what follows it."""
    size = int.from_bytes(data[:2], "big")
    if len(data) < 2 + size:
        raise TpmError("{}: the TPM's answer ends early".format(what))
    return data[2 : 2 + size], data[2 + size :]
