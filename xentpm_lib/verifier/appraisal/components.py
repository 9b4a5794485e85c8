"""What each PCR stands for, in words, by how the host boots.

Spec: TCG PC Client Platform Firmware Profile, section 3.3.4 (PCR 0 to 7); GRUB's manual, Measured Boot
(8, 9); tboot's README, legacy PCR map (17 to 19).
"""

from __future__ import annotations

from types import MappingProxyType

from xentpm_lib.verifier.policy.model import BootPath

__all__ = ["component"]

_FIRMWARE = {
    0: "firmware code",
    1: "firmware settings and serial numbers",
    2: "option ROMs",
    3: "option ROM settings",
    4: "boot loader",
    5: "partition table and boot manager settings",
    6: "platform events of the maker",
    7: "Secure Boot settings",
    15: "asset tag",
    16: "debugging register",
    17: "dynamic launch: SINIT module and launch policy",
    18: "dynamic launch: first program",
    19: "dynamic launch: further modules",
    20: "dynamic launch: trusted system",
    21: "dynamic launch: trusted system",
    22: "asset tag (dynamic launch)",
    23: "application register",
}
_GRUB = {
    **_FIRMWARE,
    8: "boot configuration: GRUB commands, Xen and dom0 kernel command lines",
    9: "Xen, dom0 kernel or initrd",
}
_TXT = {
    **_FIRMWARE,
    17: "SINIT module and launch policy",
    18: "tboot or Xen",
    19: "dom0 kernel or initrd",
}
_COMPONENTS = MappingProxyType(
    {BootPath.UEFI_GRUB: _GRUB, BootPath.TXT: _TXT, BootPath.FIRMWARE: _FIRMWARE},
)


def component(boot: BootPath, pcr: int) -> str:
    """What is measured into ``pcr`` of a host that boots so: ``firmware code``, ``boot loader`` …"""
    return _COMPONENTS[boot].get(pcr, f"measured by the running system (PCR {pcr})")
