"""What an event of a log says about itself, as one line for people.

The text is a claim: only the event's digest is what was measured. It is ASCII without control characters
whatever the log holds, so that nothing in it can repaint a terminal.

Spec: TCG PC Client Platform Firmware Profile, Event Descriptions; UEFI Specification, Device Path Protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.event_log import Event
from xentpm_lib.evidence.event_types import (
    EV_ACTION,
    EV_EFI_ACTION,
    EV_EFI_BOOT_SERVICES_APPLICATION,
    EV_EFI_PLATFORM_FIRMWARE_BLOB,
    EV_EFI_VARIABLE_DRIVER_CONFIG,
    EV_IPL,
    EV_S_CRTM_VERSION,
    EV_SEPARATOR,
    event_type_name,
)

__all__ = ["MAX_LINE", "event_line", "is_digest_of", "is_own_digest", "is_whole", "one_line"]

MAX_LINE = 4096  # characters
_CUT = " ... (cut here)"
_GRUB_KINDS = (b"grub_cmd: ", b"kernel_cmdline: ", b"module_cmdline: ")
_EFI_VARIABLES = (EV_EFI_VARIABLE_DRIVER_CONFIG, 0x80000002, 0x8000000C, 0x800000E0)
_EFI_IMAGES = (EV_EFI_BOOT_SERVICES_APPLICATION, 0x80000004, 0x80000005)
_EFI_PARTITIONS = (0x80000006, 0x8000000D)
_MAX_SHOWN_VALUE = 16  # bytes of a variable that are shown in hex
_MEDIA_FILE_PATH = (4, 4)  # type and subtype of a device path node
_NODE_HEAD = 4  # bytes


def event_line(event: Event) -> str:
    """The event in words: ``/boot/xen.gz``, ``variable SecureBoot = 01``, else its type and size."""
    describe = _DESCRIPTIONS.get(event.type)
    said = None if describe is None else describe(event.data)
    return one_line(said or "") or f"{event_type_name(event.type)}, {len(event.data)} bytes"


def is_own_digest(event: Event, bank: str) -> bool:
    """Whether the digest is that of the event's data, so that its text is not only a claim."""
    return is_digest_of(event.data, event.digests.get(bank), bank)


def is_digest_of(data: bytes, wanted: bytes | None, bank: str) -> bool:
    """Whether ``data`` was measured; of GRUB's commands, what is behind the word for their kind."""
    commands = [data[len(kind) :].rstrip(b"\0") for kind in _GRUB_KINDS if data.startswith(kind)]
    try:
        return any(digest(bank, one) == wanted for one in (data, *commands))
    except FormatError:
        return False


def one_line(text: str) -> str:
    """Text as one line of printable ASCII, at most ``MAX_LINE`` characters; others become ``\\xNN``."""
    flat = " ".join(text.split())
    shown = "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in flat)
    return shown if len(shown) <= MAX_LINE else shown[: MAX_LINE - len(_CUT)] + _CUT


def is_whole(line: str) -> bool:
    """Whether nothing of the text was cut off."""
    return len(line) < MAX_LINE or not line.endswith(_CUT)


def _plain(data: bytes) -> str | None:
    return data.rstrip(b"\0").decode("ascii", "backslashreplace") or "(nothing)"


def _utf16(data: bytes) -> str:
    return data.decode("utf-16-le", "backslashreplace").rstrip("\0")


def _separator(data: bytes) -> str:
    return "end of what firmware measures" if data in (bytes(4), b"\xff" * 4) else "firmware error"


def _version(data: bytes) -> str:
    return f"firmware version {_utf16(data)!a}"


def _variable(data: bytes) -> str | None:
    """UEFI_VARIABLE_DATA: GUID, lengths of name and value, name, value."""
    if len(data) < 32:
        return None
    characters, size = struct.unpack_from("<QQ", data, 16)
    end = 32 + 2 * characters
    if characters == 0 or end + size != len(data):
        return None
    name, value = _utf16(data[32:end]), data[end:]
    shown = value.hex() if size <= _MAX_SHOWN_VALUE else f"({size} bytes)"
    return f"variable {name} = {shown or '(empty)'}"


def _image(data: bytes) -> str | None:
    """UEFI_IMAGE_LOAD_EVENT: location, length, link address, device path."""
    if len(data) < 32:
        return None
    size, path = struct.unpack_from("<Q", data, 24)[0], data[32:]
    names, offset = [], 0
    while size == len(path) and offset + _NODE_HEAD <= len(path):
        kind, subtype, length = struct.unpack_from("<BBH", path, offset)
        if length < _NODE_HEAD:
            break
        if (kind, subtype) == _MEDIA_FILE_PATH:
            names.append(_utf16(path[offset + _NODE_HEAD : offset + length]))
        offset += length
    return "program " + "".join(names) if names else None


def _firmware(data: bytes) -> str | None:
    if len(data) != 16:
        return None
    start, size = struct.unpack("<QQ", data)
    return f"firmware volume at 0x{start:x}, {size} bytes"


_Description = Callable[[bytes], "str | None"]
_DESCRIPTIONS: dict[int, _Description] = {
    EV_IPL: _plain,
    EV_ACTION: _plain,
    EV_EFI_ACTION: _plain,
    EV_SEPARATOR: _separator,
    EV_S_CRTM_VERSION: _version,
    EV_EFI_PLATFORM_FIRMWARE_BLOB: _firmware,
    **dict.fromkeys(_EFI_VARIABLES, _variable),
    **dict.fromkeys(_EFI_IMAGES, _image),
    **dict.fromkeys(_EFI_PARTITIONS, lambda data: "partition table"),
}
