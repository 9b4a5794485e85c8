"""Everything that the files of a host and its firmware tell about how it boots; the TPM is not asked."""

from typing import NamedTuple, Optional

from xentpm_lib.host.boot.efi import EfiVariables, LoadOption
from xentpm_lib.host.boot.grub_image import GrubImage
from xentpm_lib.host.boot.layout import BootLayout, read_grub_image
from xentpm_lib.host.boot.menu_text import MenuEntry
from xentpm_lib.host.boot.txt import Txt, find_txt
from xentpm_lib.host.boot.xen import XenImage, booted_entry, find_xen, running_version
from xentpm_lib.host.paths import Paths

__all__ = ["BootFacts"]

_PACK_FIRST = "Install the supplemental pack with GRUB's modules, then run: xentpm-boot enable"
_ENABLE = "Run: xentpm-boot enable. Then restart the host."


class BootFacts(NamedTuple):
    """What was found; None where it was not.

    option: the firmware's boot entry that started this dom0.
    entry: the default entry of GRUB's menu, as far as its text tells.
    running_xen: the version of the Xen that runs now.
    """

    layout: BootLayout
    grub: Optional[GrubImage]
    secure_boot: Optional[bool]
    setup_mode: Optional[bool]
    option: Optional[LoadOption]
    entry: Optional[MenuEntry]
    xen: Optional[XenImage]
    running_xen: Optional[str]
    txt: Txt

    @classmethod
    def find(cls, paths: Paths) -> "BootFacts":
        """Look for all of it. Nothing is raised for what is not there."""
        layout, efi = BootLayout.find(paths), EfiVariables(paths)
        entry = booted_entry(layout)
        return cls(
            layout=layout,
            grub=read_grub_image(layout.image),
            secure_boot=efi.secure_boot,
            setup_mode=efi.setup_mode,
            option=efi.booted,
            entry=entry,
            xen=find_xen(paths, layout, entry),
            running_xen=running_version(paths),
            txt=find_txt(paths),
        )

    @property
    def measures(self) -> bool:
        """Whether the GRUB image on disk measures what it does and reads."""
        return self.grub is not None and self.grub.measures

    @property
    def how_to_measure(self) -> str:
        """The next step towards a measured boot, for a host that has none."""
        if self.layout.uefi:
            return self._on_uefi()
        if self.xen is not None and self.xen.tboot and self.txt.smx:
            return _ENABLE
        if self.xen is not None and self.xen.tboot is False:
            return "This Xen is built without tboot support: install the host so that it boots by UEFI."
        if self.txt.smx is False:
            return "Enable Intel TXT in the BIOS, or install the host so that it boots by UEFI."
        return "See what is missing with: xentpm-boot enable --dry-run"

    def _on_uefi(self) -> str:
        if self.grub is None:
            return "See what is missing with: xentpm-boot enable --dry-run"
        if self.secure_boot:
            return "Switch Secure Boot off in the BIOS, then run: xentpm-boot enable"
        if self.layout.modules is None or self.layout.mkimage is None:
            return _PACK_FIRST
        return _ENABLE
