"""The header of a crypto-agile event log: which banks it has, and how large their digests are.

Spec: TCG PC Client Platform Firmware Profile, TCG_EfiSpecIDEvent.
"""

from typing import Dict, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import HASHES, hash_by_name
from xentpm_lib.evidence.wire import Reader, pack_u8, pack_u16, pack_u32

__all__ = ["MAX_BANKS", "MAX_EVENT_DIGEST_SIZE", "SPEC_ID", "bank_id", "pack_spec_id", "read_spec_id"]

SPEC_ID = b"Spec ID Event03\0"
MAX_BANKS = 16
MAX_EVENT_DIGEST_SIZE = 128  # bytes, of an algorithm that is unknown here

_PLATFORM_SIZE = 8  # bytes: platform class (4); minor and major version, errata, size of UINTN
_PC_CLIENT_2_0 = b"\0\0\0\0" + b"\0\2\0\2"
_KNOWN = {algorithm.tpm_id: algorithm for algorithm in HASHES}
_HEX_PREFIX = "0x"


def read_spec_id(data: bytes) -> Dict[int, Tuple[str, int]]:
    """Parse the header event's data: algorithm identifier to bank name and digest size in bytes.

    Raises:
        FormatError: no bank or over 16, one twice, a digest size that cannot be, trailing bytes.
    """
    reader = Reader(data, "Spec ID event", "little")
    reader.take(len(SPEC_ID) + _PLATFORM_SIZE)
    start = reader.offset
    count = reader.u32()
    if not 1 <= count <= MAX_BANKS:
        raise reader.error("{} banks, expected 1 to {}".format(count, MAX_BANKS), start)
    banks: Dict[int, Tuple[str, int]] = {}
    for _ in range(count):
        start = reader.offset
        identifier, size = reader.u16(), reader.u16()
        if identifier in banks:
            raise reader.error("bank 0x{:04x} is declared twice".format(identifier), start)
        if not _is_possible(identifier, size):
            raise reader.error("bank 0x{:04x} with digests of {} bytes".format(identifier, size), start)
        banks[identifier] = _bank_name(identifier), size
    reader.take(reader.u8())  # the vendor's own information
    reader.end()
    return banks


def pack_spec_id(banks: Dict[str, int]) -> bytes:
    """The header event's data for a PC client without information of its vendor.

    banks: bank name to digest size in bytes.

    Raises:
        FormatError: a bank name that is neither a hash algorithm nor an identifier.
    """
    sizes = [pack_u16(bank_id(bank), "little") + pack_u16(size, "little") for bank, size in banks.items()]
    count = pack_u32(len(sizes), "little")
    return SPEC_ID + _PC_CLIENT_2_0 + count + b"".join(sizes) + pack_u8(0)


def bank_id(bank: str) -> int:
    """The algorithm identifier of a bank: ``sha256`` or, for one unknown here, ``0x00ab``.

    Raises:
        FormatError: it is neither.
    """
    if not bank.startswith(_HEX_PREFIX):
        return hash_by_name(bank, "banks").tpm_id
    try:
        return int(bank, 16)
    except ValueError:
        raise FormatError("{} is no algorithm identifier".format(ascii(bank[:32])), where="banks") from None


def _is_possible(identifier: int, size: int) -> bool:
    known = _KNOWN.get(identifier)
    return size == known.size if known else 1 <= size <= MAX_EVENT_DIGEST_SIZE


def _bank_name(identifier: int) -> str:
    known = _KNOWN.get(identifier)
    return known.name if known else "0x{:04x}".format(identifier)
