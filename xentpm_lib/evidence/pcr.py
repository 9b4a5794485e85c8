"""PCR banks: which registers are meant, digests over them, extending and replaying.

A PC Client TPM has 24 registers in each bank; a bank is named by its hash algorithm. Registers 0
to 16 and 23 start as zeros; 17 to 22 start as all ones (FF), and a dynamic launch zeroes them.
"""

from functools import lru_cache
from typing import Dict, Iterable, List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import HASHES, digest, hash_by_id, hash_by_name
from xentpm_lib.evidence.wire import Reader, pack_u8, pack_u16, pack_u32

__all__ = [
    "MAX_SELECTION_TEXT",
    "PCR_COUNT",
    "PcrSelection",
    "PcrValues",
    "composite_digest",
    "extend",
    "replay",
    "start_values",
]

PCR_COUNT = 24  # registers in each bank
MAX_SELECTION_TEXT = 1024  # characters
_SELECT_SIZE = PCR_COUNT // 8  # bytes of a bank's bitmap
_DYNAMIC_PCRS = range(17, 23)
_ALL = tuple(range(PCR_COUNT))

PcrValues = Dict[str, Dict[int, bytes]]
"""Bank name to register number to value."""


class PcrSelection(NamedTuple):
    """Which registers of which banks, banks in the order given, registers ascending.

    Spec: TPM 2.0 Library Part 2, TPML_PCR_SELECTION and TPMS_PCR_SELECTION.
    """

    banks: Tuple[Tuple[str, Tuple[int, ...]], ...]

    @classmethod
    def from_text(cls, text: str) -> "PcrSelection":
        """Read tpm2-tools' notation: ``sha256:0,1,2+sha384:all``.

        Raises:
            FormatError: anything else; a bank or register twice; an empty or unknown bank.
        """
        if len(text) > MAX_SELECTION_TEXT:
            raise FormatError("longer than {} characters".format(MAX_SELECTION_TEXT), where="pcrs")
        banks = tuple(_bank_from_text(bank) for bank in text.split("+"))
        _check_banks(banks)
        return cls(banks)

    def to_text(self) -> str:
        """Write tpm2-tools' notation. A bank without registers, as a TPM may report, is ``none``."""
        return "+".join("{}:{}".format(bank, _indices_to_text(indices)) for bank, indices in self.banks)

    @classmethod
    def read(cls, reader: Reader) -> "PcrSelection":
        """Read a TPML_PCR_SELECTION where ``reader`` stands.

        Raises:
            FormatError: an unknown or repeated bank, or a bitmap that is not of 3 bytes.
        """
        start = reader.offset
        count = reader.u32()
        if count > len(HASHES):
            raise reader.error("{} PCR banks, at most {}".format(count, len(HASHES)), start)
        banks = tuple([_read_bank(reader) for _ in range(count)])
        if count > 1:  # a single one, whose registers are bits of a map, has nothing twice
            _check_banks(banks)
        return cls(banks)

    @classmethod
    def from_bytes(cls, data: bytes) -> "PcrSelection":
        """Parse a TPML_PCR_SELECTION. Raises: FormatError."""
        reader = Reader(data, "TPML_PCR_SELECTION")
        selection = cls.read(reader)
        reader.end()
        return selection

    def to_bytes(self) -> bytes:
        """The TPML_PCR_SELECTION. Raises: FormatError for a bank or register that cannot be."""
        _check_banks(self.banks)
        return pack_u32(len(self.banks)) + b"".join(_pack_bank(*bank) for bank in self.banks)

    def bank_names(self) -> Tuple[str, ...]:
        """The banks, in the order given."""
        return tuple(bank for bank, _ in self.banks)

    def indices(self, bank: str) -> Tuple[int, ...]:
        """The registers selected in ``bank``; none when it is not selected."""
        return dict(self.banks).get(bank, ())


def composite_digest(values: PcrValues, selection: PcrSelection, hash_name: str) -> bytes:
    """The digest that a quote signs: over the selected values, bank by bank, registers ascending.

    hash_name: the hash of the signing scheme.

    Raises:
        FormatError: a selected value is missing or has not its bank's size.

    Spec: TPM 2.0 Library Part 1, Selecting Multiple PCR; Part 3, TPM2_Quote.
    """
    parts: List[bytes] = []
    for bank, indices in selection.banks:
        size, of_bank = hash_by_name(bank).size, values.get(bank, {})
        for index in sorted(indices):
            value = of_bank.get(index)
            if value is None or len(value) != size:
                raise _wrong_value(value, size, bank, index)
            parts.append(value)
    return digest(hash_name, b"".join(parts))


def extend(bank: str, old: bytes, measurement: bytes) -> bytes:
    """The register's value after extending ``old`` by the digest ``measurement``.

    Raises:
        FormatError: one of them has not the bank's size.

    Spec: TPM 2.0 Library Part 1, Extend of a PCR.
    """
    size = hash_by_name(bank).size
    return digest(bank, _sized(old, size, "old value") + _sized(measurement, size, "digest"))


def start_values(bank: str, locality: int = 0, dynamic_launch: bool = False) -> Dict[int, bytes]:
    """What the 24 registers hold after a power cycle.

    locality: the one that TPM2_Startup came from, which register 0 starts with (0 to 4).
    dynamic_launch: registers 17 to 22 start as zeros, not as FF.

    Raises:
        FormatError: an unknown bank or a locality out of range.

    Spec: TPM 2.0 Library Part 3, TPM2_Startup; PC Client Platform TPM Profile, PCR Attributes.
    """
    size = hash_by_name(bank).size
    if not 0 <= locality <= 4:
        raise FormatError("locality {}, expected 0 to 4".format(locality))
    values = dict.fromkeys(_ALL, bytes(size))
    values[0] = pack_u8(locality).rjust(size, b"\0")
    if not dynamic_launch:
        values.update(dict.fromkeys(_DYNAMIC_PCRS, b"\xff" * size))
    return values


def replay(
    bank: str, events: Iterable[Tuple[int, bytes]], start: Optional[Dict[int, bytes]] = None
) -> Dict[int, bytes]:
    """The values of all registers after the events.

    events: (register, digest) in the order of extending.
    start: values to start from where they differ from ``start_values(bank)``.

    Raises:
        FormatError: a register over 23, or a digest that has not the bank's size.
    """
    size, values = hash_by_name(bank).size, start_values(bank)
    for index, value in (start or {}).items():
        values[index] = _sized(value, size, "old value")
    for index, measurement in events:
        if index not in values:
            raise FormatError("there is no PCR {}".format(index), where="events")
        values[index] = digest(bank, values[index] + _sized(measurement, size, "digest"))
    return values


def _bank_from_text(text: str) -> Tuple[str, Tuple[int, ...]]:
    name, colon, listed = text.partition(":")
    hash_by_name(name, where="pcrs")
    where = "pcrs.{}".format(name)
    if not colon or not listed:
        raise FormatError("no registers given, expected like sha256:0,1,2", where=where)
    if listed == "all":
        return name, _ALL
    indices = sorted(_index_from_text(item, where) for item in listed.split(","))
    return name, tuple(indices)


def _index_from_text(text: str, where: str) -> int:
    for index in _ALL:
        if text == str(index):
            return index
    raise FormatError("{} is no register, expected 0 to 23".format(ascii(text[:32])), where=where)


def _indices_to_text(indices: Tuple[int, ...]) -> str:
    if indices == _ALL:
        return "all"
    return ",".join(str(index) for index in indices) or "none"


def _check_banks(banks: Tuple[Tuple[str, Tuple[int, ...]], ...]) -> None:
    seen = set()
    for bank, indices in banks:
        where = "pcrs.{}".format(bank)
        if bank in seen:
            raise FormatError("the bank is given twice", where=where)
        if len(set(indices)) != len(indices):
            raise FormatError("a register is given twice", where=where)
        seen.add(bank)


def _read_bank(reader: Reader) -> Tuple[str, Tuple[int, ...]]:
    start = reader.offset
    name = hash_by_id(reader.u16(), "offset {}".format(start)).name
    start = reader.offset
    size = reader.u8()
    if size != _SELECT_SIZE:
        raise reader.error("a PCR bitmap of {} bytes, expected {}".format(size, _SELECT_SIZE), start)
    return name, _selected(reader.take(size))


@lru_cache(maxsize=64)
def _selected(bitmap: bytes) -> Tuple[int, ...]:
    bits = int.from_bytes(bitmap, "little")
    return tuple(index for index in _ALL if bits >> index & 1)


def _pack_bank(bank: str, indices: Tuple[int, ...]) -> bytes:
    for index in indices:
        if index not in _ALL:
            raise FormatError("there is no PCR {}".format(index), where="pcrs.{}".format(bank))
    bits = sum(1 << index for index in indices)
    return pack_u16(hash_by_name(bank).tpm_id) + pack_u8(_SELECT_SIZE) + bits.to_bytes(_SELECT_SIZE, "little")


def _wrong_value(value: Optional[bytes], size: int, bank: str, index: int) -> FormatError:
    message = "the value is missing"
    if value is not None:
        message = "expected {} bytes, got {}".format(size, len(value))
    return FormatError(message, where="pcrs.{}[{}]".format(bank, index))


def _sized(value: bytes, size: int, where: str) -> bytes:
    if len(value) != size:
        raise FormatError("expected {} bytes, got {}".format(size, len(value)), where=where)
    return value
