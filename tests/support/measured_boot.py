"""What the boot of a `SoftwareAttester` measures."""

from __future__ import annotations

from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.event_log import Event

__all__ = ["BOOT", "boot_events"]

_SEPARATOR, _ACTION, _VERSION, _IPL, _VARIABLE = 0x04, 0x80000007, 0x08, 0x0D, 0x80000001

BOOT: tuple[tuple[int, int, bytes], ...] = (
    (0, _VERSION, "1.0\0".encode("utf-16-le")),
    (0, 0x80000008, b"firmware volume"),
    (7, _VARIABLE, "SecureBoot".encode("utf-16-le") + b"\0"),
    (1, 0x80000009, b"SMBIOS, serial {serial}"),
    (2, 0x80000004, b"option ROM"),
    (4, _ACTION, b"Calling EFI Application from Boot Option"),
) + tuple((pcr, _SEPARATOR, bytes(4)) for pcr in range(8))
BOOT += (
    (5, 0x80000006, b"partition table"),
    (4, 0x80000003, b"grubx64.efi"),
    (8, _IPL, b"grub_cmd: multiboot2 /boot/xen.gz dom0_mem=4096M"),
    (9, _IPL, b"/boot/xen.gz"),
    (9, _IPL, b"/boot/vmlinuz-4.19-xen"),
    (9, _IPL, b"/boot/initrd-4.19-xen.img"),
    (5, _ACTION, b"Exit Boot Services Invocation"),
    (5, _ACTION, b"Exit Boot Services Returned with Success"),
)
"""What a boot measures: register, event type, what is measured; ``{serial}`` differs from host to host."""


def boot_events(
    serial: str, banks: tuple[str, ...], boot: tuple[tuple[int, int, bytes], ...] = BOOT
) -> tuple[Event, ...]:
    """The events of a boot; each digest is the digest of the event's data."""
    data = [(pcr, kind, text.replace(b"{serial}", serial.encode())) for pcr, kind, text in boot]
    return tuple(
        Event(pcr, kind, {bank: digest(bank, text) for bank in banks}, text) for pcr, kind, text in data
    )
