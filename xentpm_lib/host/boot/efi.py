"""What the firmware's variables tell: Secure Boot, and which boot entry started this dom0.

Spec: UEFI Specification, Boot Manager (EFI_LOAD_OPTION, globally defined variables) and Device Path
Protocol; Linux's efivarfs puts the 4 bytes of a variable's attributes in front of its value.
"""

import os
from typing import List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.wire import Reader
from xentpm_lib.host.boot.files import listed
from xentpm_lib.host.paths import Paths

__all__ = ["MAX_VARIABLE_SIZE", "EfiVariables", "LoadOption", "parse_load_option"]

MAX_VARIABLE_SIZE = 64 << 10  # bytes; a boot entry has about 100
EFIVARS = "sys/firmware/efi/efivars"
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_ATTRIBUTES_SIZE = 4
_ACTIVE = 1
_MAX_NODES = 64
_MEDIA, _HARD_DRIVE, _FILE_PATH = 4, 1, 4
_END, _END_ENTIRE, _END_INSTANCE = 0x7F, 0xFF, 0x01
_SIGNATURE_IS_GUID = 2


class LoadOption(NamedTuple):
    """A boot entry of the firmware.

    active: whether the firmware tries it by itself.
    description: what its boot menu shows.
    partition: the GUID of the GPT partition, lower case; None where the entry names none.
    file: the program there, with slashes: ``/EFI/xenserver/grubx64.efi``; None for the default of a disk.
    """

    active: bool
    description: str
    partition: Optional[str]
    file: Optional[str]


class EfiVariables:
    """The variables of the firmware that started the dom0 with these ``paths``; each is read when asked for.

    Nothing here raises: a variable that is absent or malformed is None, as one that firmware does not tell.
    """

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.at(EFIVARS)

    @property
    def readable(self) -> bool:
        """Whether there are variables at all: efivarfs is mounted."""
        return next(listed(self._folder), None) is not None

    @property
    def knows_secure_boot(self) -> bool:
        """Whether the firmware has Secure Boot, on or off: without it there are no such variables."""
        names = {os.path.basename(path) for path in listed(self._folder)}
        return any("{}-{}".format(name, _GLOBAL) in names for name in ("SecureBoot", "SetupMode"))

    @property
    def secure_boot(self) -> Optional[bool]:
        """Whether Secure Boot is on."""
        return self._flag("SecureBoot")

    @property
    def setup_mode(self) -> Optional[bool]:
        """Whether the firmware waits for its keys, so that Secure Boot cannot be on."""
        return self._flag("SetupMode")

    @property
    def boot_current(self) -> Optional[int]:
        """The number of the boot entry that started this dom0."""
        value = self._value("BootCurrent")
        return int.from_bytes(value, "little") if value is not None and len(value) == 2 else None

    @property
    def boot_order(self) -> Tuple[int, ...]:
        """The numbers of the boot entries in the order in which the firmware tries them."""
        value = self._value("BootOrder")
        if value is None or len(value) % 2:
            return ()
        return tuple(int.from_bytes(value[at : at + 2], "little") for at in range(0, len(value), 2))

    def option(self, number: int) -> Optional[LoadOption]:
        """The boot entry with this number."""
        value = self._value("Boot{:04X}".format(number))
        if value is None:
            return None
        try:
            return parse_load_option(value)
        except FormatError:
            return None

    @property
    def booted(self) -> Optional[LoadOption]:
        """The boot entry that started this dom0."""
        number = self.boot_current
        return None if number is None else self.option(number)

    def _flag(self, name: str) -> Optional[bool]:
        value = self._value(name)
        return {b"\0": False, b"\1": True}.get(value) if value is not None else None

    def _value(self, name: str) -> Optional[bytes]:
        try:
            with open(os.path.join(self._folder, "{}-{}".format(name, _GLOBAL)), "rb") as file:
                data = file.read(MAX_VARIABLE_SIZE + 1)
        except OSError:
            return None
        return data[_ATTRIBUTES_SIZE:] if _ATTRIBUTES_SIZE <= len(data) <= MAX_VARIABLE_SIZE else None


def parse_load_option(value: bytes) -> LoadOption:
    """Read an EFI_LOAD_OPTION, the value of a variable ``Boot####`` without efivarfs's attributes.

    Raises:
        FormatError: it is none.
    """
    reader = Reader(value, "boot entry", "little")
    attributes, path_size = reader.u32(), reader.u16()
    description = _text(reader)
    partition, file = _device_path(reader.take(path_size))
    return LoadOption(bool(attributes & _ACTIVE), description, partition, file)


def _text(reader: Reader) -> str:
    """UTF-16 up to and with its zero character."""
    units: List[bytes] = []
    while True:
        unit = reader.take(2)
        if unit == b"\0\0":
            return b"".join(units).decode("utf-16-le", "replace")
        units.append(unit)


def _device_path(data: bytes) -> Tuple[Optional[str], Optional[str]]:
    """The partition and the file that the first device path names."""
    reader = Reader(data, "device path", "little")
    partition: Optional[str] = None
    parts: List[str] = []
    for _ in range(_MAX_NODES):
        where = reader.offset
        kind, subtype, size = reader.u8(), reader.u8(), reader.u16()
        if size < 4:
            raise FormatError("device path: a node of {} bytes".format(size), where="offset {}".format(where))
        body = reader.take(size - 4)
        if kind == _END and subtype in (_END_ENTIRE, _END_INSTANCE):
            return partition, _joined(parts)
        if (kind, subtype) == (_MEDIA, _HARD_DRIVE):
            partition = _partition(body)
        elif (kind, subtype) == (_MEDIA, _FILE_PATH):
            parts.append(_text(Reader(body, "file path", "little")))
    raise FormatError("device path: more than {} nodes".format(_MAX_NODES))


def _partition(body: bytes) -> Optional[str]:
    from uuid import UUID

    reader = Reader(body, "hard drive", "little")
    reader.take(20)  # the partition's number, first block and length
    signature = reader.take(16)
    reader.u8()
    return str(UUID(bytes_le=signature)) if reader.u8() == _SIGNATURE_IS_GUID else None


def _joined(parts: List[str]) -> Optional[str]:
    names = [name for part in parts for name in part.replace("\\", "/").split("/") if name]
    return "/" + "/".join(names) if names else None
