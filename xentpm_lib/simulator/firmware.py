"""What a host's firmware measures before it starts the boot loader, and when the boot loader is done.

PCR 0 firmware, 1 its settings and the machine's serial numbers, 2 option ROMs, 4 boot loader, 5 partition
table, 7 Secure Boot; separators in 0 to 7. PCR 1 and 5 differ from host to host, as on real machines.
The boot loader's digest is over the whole file; real firmware takes its Authenticode digest.

Spec: TCG PC Client Platform Firmware Profile 1.05, sections 3.3.4 and 10.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.simulator.measurement import Measurement, measure

__all__ = ["FirmwareView", "after_boot_loader", "legacy_boot", "uefi_boot"]

EV_POST_CODE = 0x00000001
EV_SEPARATOR = 0x00000004
EV_ACTION = 0x00000005
EV_S_CRTM_VERSION = 0x00000008
EV_PLATFORM_CONFIG_FLAGS = 0x0000000A
EV_IPL = 0x0000000D
EV_IPL_PARTITION_DATA = 0x0000000E
EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
EV_EFI_VARIABLE_BOOT = 0x80000002
EV_EFI_BOOT_SERVICES_APPLICATION = 0x80000003
EV_EFI_GPT_EVENT = 0x80000006
EV_EFI_ACTION = 0x80000007
EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008
EV_EFI_HANDOFF_TABLES = 0x80000009

_GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
_SECURE_BOOT_VARIABLES = (("PK", _GLOBAL), ("KEK", _GLOBAL), ("db", _SECURITY), ("dbx", _SECURITY))
_FLASH_BASE = 0xFF000000
_SEPARATED_PCRS = range(8)


@dataclass(frozen=True)
class FirmwareView:
    """What the firmware sees of the machine."""

    firmware: bytes
    """The firmware volume; its first line is the version."""
    settings: bytes
    """SMBIOS tables: serial numbers and the like."""
    disk: uuid.UUID
    """The disk's GUID."""
    boot_loader: bytes
    boot_loader_path: str
    """Where the boot partition has it, as in ``/EFI/xenserver/grubx64.efi``."""
    secure_boot: bool

    @property
    def version(self) -> str:
        """The firmware's version: at most 64 characters of its first line."""
        return self.firmware.split(b"\n", 1)[0][:64].decode("ascii", "replace")

    @classmethod
    def of(cls, root: Path, firmware: Path, boot_loader: Path, path: str, disk: uuid.UUID) -> FirmwareView:
        """Look at the files of a host. Raises: OSError."""
        variable = root / "sys/firmware/efi/efivars" / f"SecureBoot-{_GLOBAL}"
        tables = ("sys_vendor", "product_name", "product_serial", "product_uuid")
        settings = b"".join((root / "sys/class/dmi/id" / name).read_bytes() for name in tables)
        secure = variable.exists() and variable.read_bytes()[4:] == b"\x01"
        return cls(firmware.read_bytes(), settings, disk, boot_loader.read_bytes(), path, secure)


def uefi_boot(view: FirmwareView) -> list[Measurement]:
    """Return what UEFI firmware measures up to and including the boot loader."""
    blob = struct.pack("<QQ", _FLASH_BASE, len(view.firmware))
    measured = [
        measure(0, EV_S_CRTM_VERSION, view.version.encode("utf-16-le") + b"\0\0"),
        measure(0, EV_EFI_PLATFORM_FIRMWARE_BLOB, view.firmware, blob),
        _variable(7, EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot", _GLOBAL, bytes([view.secure_boot])),
    ]
    for name, guid in _SECURE_BOOT_VARIABLES:
        measured.append(_variable(7, EV_EFI_VARIABLE_DRIVER_CONFIG, name, guid, b""))
    measured += [
        measure(1, EV_EFI_HANDOFF_TABLES, view.settings, b"SMBIOS"),
        _variable(1, EV_EFI_VARIABLE_BOOT, "BootOrder", _GLOBAL, b"\0\0"),
        _variable(1, EV_EFI_VARIABLE_BOOT, "Boot0000", _GLOBAL, _boot_option(view)),
        measure(4, EV_EFI_ACTION, b"Calling EFI Application from Boot Option"),
    ]
    measured += _separators()
    table = b"EFI PART" + view.disk.bytes_le
    image = struct.pack("<QQQ", 0x100000, len(view.boot_loader), 0) + _sized(_file_path(view))
    measured.append(measure(5, EV_EFI_GPT_EVENT, table))
    measured.append(measure(4, EV_EFI_BOOT_SERVICES_APPLICATION, view.boot_loader, image))
    return measured


def after_boot_loader() -> list[Measurement]:
    """Return what UEFI firmware measures when the boot loader hands over to the kernel."""
    actions = (b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success")
    return [measure(5, EV_EFI_ACTION, action) for action in actions]


def legacy_boot(view: FirmwareView) -> list[Measurement]:
    """Return what a BIOS measures up to and including the boot loader."""
    measured = [
        measure(0, EV_S_CRTM_VERSION, view.version.encode("utf-16-le") + b"\0\0"),
        measure(0, EV_POST_CODE, view.firmware, b"POST CODE"),
        measure(1, EV_PLATFORM_CONFIG_FLAGS, view.settings, b"SMBIOS"),
        measure(4, EV_ACTION, b"Calling INT 19h"),
    ]
    measured += _separators()
    measured.append(measure(4, EV_IPL, view.boot_loader, b"Boot loader"))
    measured.append(measure(5, EV_IPL_PARTITION_DATA, view.disk.bytes_le))
    return measured


def _separators() -> list[Measurement]:
    return [measure(pcr, EV_SEPARATOR, bytes(4)) for pcr in _SEPARATED_PCRS]


def _variable(pcr: int, event_type: int, name: str, guid: uuid.UUID, value: bytes) -> Measurement:
    """Measure a UEFI_VARIABLE_DATA."""
    text = name.encode("utf-16-le")
    return measure(pcr, event_type, guid.bytes_le + struct.pack("<QQ", len(name), len(value)) + text + value)


def _boot_option(view: FirmwareView) -> bytes:
    """Return an EFI_LOAD_OPTION: active, with its device path."""
    path = _file_path(view)
    return struct.pack("<IH", 1, len(path)) + "XenServer\0".encode("utf-16-le") + path


def _file_path(view: FirmwareView) -> bytes:
    """Return a device path of one file node and the end node."""
    name = (view.boot_loader_path.replace("/", "\\") + "\0").encode("utf-16-le")
    return struct.pack("<BBH", 4, 4, 4 + len(name)) + name + b"\x7f\xff\x04\0"


def _sized(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data
