"""Modules that look like Intel's SINIT modules to whoever reads their headers; none would ever run."""

import struct

from xentpm_lib.host.boot.acm import ChipsetId

CHIPSET = ChipsetId(0x8086, 0xB005, 1, True)
_HEADER, _SCRATCH = 161, 143  # 32-bit words
UUID = bytes.fromhex("aa3ac07fa746db182eac698f8d417f5a")


def make_sinit(
    chipsets=(CHIPSET,), processors=(), kind=1, date=0x20240131, flags=0, vendor=0x8086, uuid=UUID
):
    """The bytes of a module for these chipsets and (signature, mask) of processors."""
    info = 4 * (_HEADER + _SCRATCH)
    chipset_list = info + 48
    processor_list = chipset_list + 4 + 16 * len(chipsets)
    tail = struct.pack("<I", len(chipsets))
    for one in chipsets:
        tail += struct.pack("<IHHHHI", int(one.revision_is_mask), one.vendor, one.device, one.revision, 0, 0)
    if processors:
        tail += struct.pack("<I", len(processors))
        for signature, mask in processors:
            tail += struct.pack("<IIQQ", signature, mask, 0, 0)
    table = uuid + struct.pack(
        "<BBHIIIIIII", kind, 4, 48, chipset_list, 7, 0x20000, 0x6E, 0, processor_list if processors else 0, 0
    )
    table = table[:48]
    size = info + len(table) + len(tail)
    padding = -size % 64
    head = struct.pack("<HHIIHHIII", 2, 0, _HEADER, 0, one.device, flags, vendor, date, (size + padding) // 4)
    head += bytes(120 - len(head)) + struct.pack("<II", 64, _SCRATCH)
    return head + bytes(info - len(head)) + table + tail + bytes(padding)
