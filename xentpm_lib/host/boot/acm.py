"""Intel's authenticated code modules (ACM): is a file a SINIT module, and for which machines.

Spec: Intel TXT Software Development Guide, appendix A (Intel TXT Execution Technology Authenticated Code
Modules).
"""

from typing import List, NamedTuple, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.wire import Reader

__all__ = ["MAX_ACM_SIZE", "ChipsetId", "ProcessorId", "SinitModule", "parse_sinit_module"]

MAX_ACM_SIZE = 4 << 20  # bytes; SINIT modules have 40 to 700 KiB
_CHIPSET_MODULE, _INTEL, _SINIT = 2, 0x8086, (1, 9)
_KEY_SIZE_OFFSET, _HEADER_START = 120, 128
_UUID = bytes.fromhex("aa3ac07fa746db182eac698f8d417f5a")
_PROCESSOR_LIST_VERSION = 4
_MAX_IDS = 256
_NOT_PRODUCTION = 0xC000


class ChipsetId(NamedTuple):
    """A chipset: PCI vendor and device, and its revision, exact or as a mask of revisions."""

    vendor: int
    device: int
    revision: int
    revision_is_mask: bool = False

    def covers(self, machine: "ChipsetId") -> bool:
        """Whether a machine's chipset is one of these."""
        if (self.vendor, self.device) != (machine.vendor, machine.device):
            return False
        return (
            bool(self.revision & machine.revision)
            if self.revision_is_mask
            else self.revision == machine.revision
        )


class ProcessorId(NamedTuple):
    """Processors whose CPUID signature under ``mask`` is ``signature``; the platform's bits are not kept."""

    signature: int
    mask: int

    def covers(self, signature: int) -> bool:
        """Whether a processor is one of these."""
        return signature & self.mask == self.signature


class SinitModule(NamedTuple):
    """A SINIT module: its date as 8 digits ``20240131``, and the machines that it is for.

    processors: empty in old modules, which do not tell.
    debug: signed for debugging or before production, so that production machines refuse it.
    """

    date: str
    chipsets: Tuple[ChipsetId, ...]
    processors: Tuple[ProcessorId, ...]
    debug: bool


def parse_sinit_module(data: bytes) -> SinitModule:
    """Read a SINIT module of at most 4 MiB. Its signature is not checked here; the processor does.

    Raises:
        FormatError: it is none.
    """
    if len(data) > MAX_ACM_SIZE:
        raise FormatError("a SINIT module of {} bytes, at most {}".format(len(data), MAX_ACM_SIZE))
    head = _at(data, 0)
    kind, _subtype, header_size = head.u16(), head.u16(), head.u32()
    head.take(6)
    flags, vendor, date, size = head.u16(), head.u32(), head.u32(), head.u32()
    if kind != _CHIPSET_MODULE or vendor != _INTEL:
        raise FormatError("no authenticated code module of Intel", where="offset 0")
    if size * 4 != len(data):
        raise FormatError("{} bytes, its header says {}".format(len(data), size * 4), where="offset 24")
    sizes = _at(data, _KEY_SIZE_OFFSET)
    sizes.u32()
    info_offset = 4 * (header_size + sizes.u32())
    if info_offset < _HEADER_START:
        raise FormatError("a header of {} bytes".format(info_offset), where="offset 4")
    chipsets, processors = _info(data, info_offset)
    return SinitModule("{:08x}".format(date), chipsets, processors, bool(flags & _NOT_PRODUCTION))


def _info(data: bytes, offset: int) -> Tuple[Tuple[ChipsetId, ...], Tuple[ProcessorId, ...]]:
    table = _at(data, offset)
    if table.take(16) != _UUID:
        raise FormatError("no information table", where="offset {}".format(offset))
    kind, version = table.u8(), table.u8()
    if kind not in _SINIT:
        raise FormatError("a module of type {}, no SINIT".format(kind), where="offset {}".format(offset + 16))
    table.take(2)
    chipset_list = table.u32()
    table.take(16)  # versions and capabilities
    processor_list = table.u32() if version >= _PROCESSOR_LIST_VERSION else 0
    return tuple(_chipsets(data, chipset_list)), tuple(_processors(data, processor_list))


def _chipsets(data: bytes, offset: int) -> List[ChipsetId]:
    reader = _at(data, offset)
    found = []
    for _ in range(_count(reader)):
        flags, vendor, device, revision = reader.u32(), reader.u16(), reader.u16(), reader.u16()
        reader.take(6)
        found.append(ChipsetId(vendor, device, revision, bool(flags & 1)))
    return found


def _processors(data: bytes, offset: int) -> List[ProcessorId]:
    if not offset:
        return []
    reader = _at(data, offset)
    found = []
    for _ in range(_count(reader)):
        found.append(ProcessorId(reader.u32(), reader.u32()))
        reader.take(16)
    return found


def _count(reader: Reader) -> int:
    where, count = reader.offset, reader.u32()
    if not 1 <= count <= _MAX_IDS:
        raise reader.error("a list of {} machines, at most {}".format(count, _MAX_IDS), where)
    return count


def _at(data: bytes, offset: int) -> Reader:
    reader = Reader(data, "SINIT module", "little")
    reader.take(offset)
    return reader
