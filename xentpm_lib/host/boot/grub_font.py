"""Whether GRUB takes a file for a font."""

import io
from typing import BinaryIO, Set

from xentpm_lib.host.boot.grub_files import HostFile

__all__ = ["is_font"]

_SIZES = frozenset((b"MAXW", b"MAXH", b"ASCE", b"DESC"))  # two bytes that are not zero
_MAX_SECTIONS = 64


def is_font(file: HostFile) -> bool:
    """Whether it has what GRUB asks of a font: its magic, an index of characters, and four sizes.

    Spec: GNU GRUB developers' manual, PFF2 font file format.
    """
    try:
        with io.BytesIO(file.data) if file.data is not None else open(file.path, "rb") as stream:
            return stream.read(12) == b"FILE\0\0\0\4PFF2" and _has_sections(stream)
    except (OSError, OverflowError, ValueError):
        return False


def _has_sections(stream: BinaryIO) -> bool:
    found: Set[bytes] = set()
    for _ in range(_MAX_SECTIONS):
        head = stream.read(8)
        if head and len(head) < 8:
            return False
        name, size = head[:4], int.from_bytes(head[4:], "big")
        if not head or name == b"DATA":
            break
        if name in _SIZES:
            if size != 2 or not any(stream.read(2)):
                return False
        elif name == b"CHIX" and size % 9:
            return False
        else:
            stream.seek(size, 1)
        found.add(name)
    return _SIZES <= found
