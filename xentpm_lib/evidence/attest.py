"""TPMS_ATTEST: what a TPM signs, as a quote or as the certified content of an NV index.

Spec: TPM 2.0 Library Part 2, TPMS_ATTEST, TPMS_QUOTE_INFO, TPMS_NV_CERTIFY_INFO.
"""

import struct
from typing import NamedTuple, Optional

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import MAX_DIGEST_SIZE
from xentpm_lib.evidence.key_parameters import read_id
from xentpm_lib.evidence.names import MAX_NAME_SIZE, check_name
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.evidence.wire import Reader, pack_sized, pack_u8, pack_u16, pack_u32, pack_u64

__all__ = [
    "ATTEST_MAGIC",
    "MAX_ATTEST_SIZE",
    "MAX_EXTRA_DATA_SIZE",
    "MAX_NV_CONTENTS_SIZE",
    "Attest",
    "NvCertifyInfo",
    "QuoteInfo",
]

ATTEST_MAGIC = 0xFF544347  # TPM_GENERATED_VALUE, with which nothing starts that software can have signed
MAX_EXTRA_DATA_SIZE = 2 + MAX_DIGEST_SIZE  # bytes, the size of a TPMT_HA
MAX_NV_CONTENTS_SIZE = 2048  # bytes, the largest NV buffer that TPMs have
MAX_ATTEST_SIZE = 2304  # bytes; the largest possible one has 2,217

_CLOCK_AND_VERSION = struct.Struct(">QIIBQ")  # TPMS_CLOCK_INFO and the firmware version behind it
_SAFE_OFFSET = 16  # bytes into it
_TYPES = {"nv_certify": 0x8014, "quote": 0x8018}


class QuoteInfo(NamedTuple):
    """What a quote says: which PCRs, and the digest of their values (hash of the signing scheme)."""

    selection: PcrSelection
    pcr_digest: bytes


class NvCertifyInfo(NamedTuple):
    """What an NV index held: its Name, and ``contents`` from byte ``offset`` on."""

    index_name: bytes
    offset: int
    contents: bytes


class Attest(NamedTuple):
    """A statement of a TPM. True only when a signature over its bytes by a trusted key is valid.

    type: ``quote`` (then ``quote`` is there) or ``nv_certify`` (then ``nv`` is there).
    qualified_signer: the signing key's qualified Name.
    extra_data: the caller's nonce, 0 to 66 bytes.
    clock: milliseconds that the TPM has been powered; never goes back when ``safe``.
    firmware_version: 64 bits, as the manufacturer counts.
    """

    type: str
    qualified_signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware_version: int
    quote: Optional[QuoteInfo] = None
    nv: Optional[NvCertifyInfo] = None

    @classmethod
    def from_bytes(cls, data: bytes) -> "Attest":
        """Parse a TPMS_ATTEST of one of the two types.

        Raises:
            FormatError: wrong magic, another type, or anything not as specified.
        """
        reader = Reader(data, "TPMS_ATTEST")
        attest = _read_attest(reader)
        reader.end()
        return attest

    def to_bytes(self) -> bytes:
        """The TPMS_ATTEST. Raises: FormatError for a field that cannot be."""
        attested = _pack_attested(self)
        parts = (
            pack_u32(ATTEST_MAGIC),
            pack_u16(_TYPES[self.type]),
            _pack_name(self.qualified_signer, "qualified_signer"),
            pack_sized(self.extra_data, MAX_EXTRA_DATA_SIZE),
            pack_u64(self.clock),
            pack_u32(self.reset_count),
            pack_u32(self.restart_count),
            pack_u8(1 if self.safe else 0),
            pack_u64(self.firmware_version),
            attested,
        )
        return b"".join(parts)


def _read_attest(reader: Reader) -> Attest:
    magic = reader.u32()
    if magic != ATTEST_MAGIC:
        raise reader.error("magic 0x{:08x}, expected 0x{:08x}".format(magic, ATTEST_MAGIC), 0)
    kind = read_id(reader, _TYPES, "type")
    signer, extra_data = _read_name(reader), reader.sized(MAX_EXTRA_DATA_SIZE)
    start = reader.offset
    clock, resets, restarts, safe, firmware = _CLOCK_AND_VERSION.unpack(reader.take(_CLOCK_AND_VERSION.size))
    if safe > 1:
        raise reader.error("{} is neither yes (1) nor no (0)".format(safe), start + _SAFE_OFFSET)
    quote = _read_quote(reader) if kind == "quote" else None
    nv = _read_nv(reader) if kind == "nv_certify" else None
    return Attest(kind, signer, extra_data, clock, resets, restarts, safe == 1, firmware, quote, nv)


def _read_quote(reader: Reader) -> QuoteInfo:
    return QuoteInfo(PcrSelection.read(reader), reader.sized(MAX_DIGEST_SIZE))


def _read_nv(reader: Reader) -> NvCertifyInfo:
    return NvCertifyInfo(_read_name(reader), reader.u16(), reader.sized(MAX_NV_CONTENTS_SIZE))


def _pack_attested(attest: Attest) -> bytes:
    if attest.type == "quote" and attest.quote is not None and attest.nv is None:
        return attest.quote.selection.to_bytes() + pack_sized(attest.quote.pcr_digest, MAX_DIGEST_SIZE)
    if attest.type == "nv_certify" and attest.nv is not None and attest.quote is None:
        name, contents = _pack_name(attest.nv.index_name, "nv.index_name"), attest.nv.contents
        return name + pack_u16(attest.nv.offset) + pack_sized(contents, MAX_NV_CONTENTS_SIZE)
    raise FormatError("type {} does not fit what is attested".format(ascii(attest.type)), where="type")


def _read_name(reader: Reader) -> bytes:
    where = "offset {}".format(reader.offset)
    return check_name(reader.sized(MAX_NAME_SIZE), where)


def _pack_name(name: bytes, where: str) -> bytes:
    return pack_sized(check_name(name, where), MAX_NAME_SIZE)
