"""Reading and writing packed binary structures with exact lengths.

The TPM writes integers big-endian and prefixes buffers with a 16-bit size (TPM2B); the TCG event
log writes them little-endian. Nothing here knows any structure.
"""

from typing import Any

from xentpm_lib.errors import FormatError

__all__ = ["Reader", "pack_sized", "pack_u8", "pack_u16", "pack_u32", "pack_u64"]


class Reader:
    """A cursor over bytes that never reads past the end and tells where it stands when it fails.

    data: the whole structure.
    what: its name in messages, for instance ``TPMS_ATTEST``.
    byte_order: ``big`` (TPM) or ``little`` (event log).
    """

    __slots__ = ("_byte_order", "_data", "_what", "offset")

    def __init__(self, data: bytes, what: str, byte_order: str = "big") -> None:
        self.offset = 0
        self._data = data
        self._what = what
        self._byte_order: Any = byte_order  # Any: from_bytes wants a literal

    def error(self, message: str, offset: int) -> FormatError:
        """A FormatError about the byte at ``offset``; the caller raises it."""
        return FormatError("{}: {}".format(self._what, message), where="offset {}".format(offset))

    @property
    def remaining(self) -> int:
        """How many bytes are still to be read."""
        return len(self._data) - self.offset

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Raises:
            FormatError: fewer are left.
        """
        start, end = self.offset, self.offset + size
        if end > len(self._data):
            raise self.error("{} bytes wanted, {} left".format(size, self.remaining), start)
        self.offset = end
        return self._data[start:end]

    def u8(self) -> int:
        """The next byte. Raises: FormatError when none is left."""
        return self.take(1)[0]

    def u16(self) -> int:
        """The next 2 bytes as an unsigned integer. Raises: FormatError when fewer are left."""
        return int.from_bytes(self.take(2), self._byte_order)

    def u32(self) -> int:
        """The next 4 bytes as an unsigned integer. Raises: FormatError when fewer are left."""
        return int.from_bytes(self.take(4), self._byte_order)

    def u64(self) -> int:
        """The next 8 bytes as an unsigned integer. Raises: FormatError when fewer are left."""
        return int.from_bytes(self.take(8), self._byte_order)

    def sized(self, limit: int, minimum: int = 0) -> bytes:
        """A buffer with a 16-bit size before it (TPM2B), of ``minimum`` to ``limit`` bytes.

        Raises:
            FormatError: the size is out of range, or fewer bytes are left.
        """
        start = self.offset
        size = self.u16()
        if not minimum <= size <= limit:
            raise self.error("size {}, expected {} to {}".format(size, minimum, limit), start)
        return self.take(size)

    def end(self) -> None:
        """Nothing may be left. Raises: FormatError on trailing bytes."""
        if self.remaining:
            raise self.error("{} trailing bytes".format(self.remaining), self.offset)


def pack_u8(value: int) -> bytes:
    """``value`` as 1 byte. Raises: FormatError when it does not fit."""
    return _pack(value, 1)


def pack_u16(value: int, byte_order: str = "big") -> bytes:
    """``value`` as 2 bytes. Raises: FormatError when it does not fit."""
    return _pack(value, 2, byte_order)


def pack_u32(value: int, byte_order: str = "big") -> bytes:
    """``value`` as 4 bytes. Raises: FormatError when it does not fit."""
    return _pack(value, 4, byte_order)


def pack_u64(value: int) -> bytes:
    """``value`` as 8 bytes, big-endian. Raises: FormatError when it does not fit."""
    return _pack(value, 8)


def pack_sized(data: bytes, limit: int, minimum: int = 0) -> bytes:
    """``data`` with its 16-bit size before it (TPM2B).

    Raises:
        FormatError: it has not ``minimum`` to ``limit`` bytes.
    """
    if not minimum <= len(data) <= limit:
        raise FormatError("{} bytes, expected {} to {}".format(len(data), minimum, limit))
    return pack_u16(len(data)) + data


def _pack(value: int, size: int, byte_order: str = "big") -> bytes:
    if not 0 <= value < 1 << (8 * size):
        raise FormatError("{} does not fit into {} unsigned bytes".format(value, size))
    return value.to_bytes(size, "little" if byte_order == "little" else "big")
