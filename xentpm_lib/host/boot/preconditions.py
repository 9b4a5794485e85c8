"""What has to hold before a boot loader is touched. Each refusal names the reason and the next step."""

import os
from typing import Optional

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.efi import EfiVariables
from xentpm_lib.host.boot.layout import BootLayout
from xentpm_lib.host.paths import Paths

__all__ = [
    "refused",
    "require_esp",
    "require_root",
    "require_secure_boot_off",
    "require_tpm",
    "require_tools",
]

_TPM_2 = ("dev/tpmrm0", "sys/class/tpmrm/tpmrm0")
_NOTHING = " Nothing was changed."


def refused(reason: str, step: str) -> XenTpmError:
    """The error for what cannot work here. ``step``: what to do about it."""
    return XenTpmError(reason, step + _NOTHING, "XENTPM_BOOT")


def require_root() -> None:
    """Raises: XenTpmError ``XENTPM_BOOT`` for anybody but root."""
    if os.geteuid() != 0:
        raise refused("only root can change how this host boots", "Run it as root.")


def require_tpm(paths: Paths) -> None:
    """Raises: XenTpmError ``XENTPM_BOOT`` without a TPM 2.0."""
    if any(os.path.exists(paths.at(path)) for path in _TPM_2):
        return
    if _content(paths.at("sys/class/tpm/tpm0/tpm_version_major")) == "2":
        return
    if os.path.exists(paths.at("sys/class/tpm/tpm0")) or os.path.exists(paths.at("dev/tpm0")):
        raise refused(
            "the TPM of this host is not a TPM 2.0",
            "Switch it to TPM 2.0 in the BIOS, where that can be chosen; a TPM 1.2 is not supported.",
        )
    raise refused("there is no TPM 2.0 on this host", "Enable the TPM (also called fTPM or PTT) in the BIOS.")


def require_secure_boot_off(paths: Paths) -> None:
    """Raises: XenTpmError ``XENTPM_BOOT`` where firmware would not start an image that we made."""
    if EfiVariables(paths).secure_boot:
        raise refused(
            "Secure Boot is on, and an image that is made here is not signed by the vendor",
            "Switch Secure Boot off in the BIOS, or keep it and go without measured boot: own keys and MOK "
            "are not supported.",
        )


def require_esp(layout: BootLayout) -> str:
    """The ESP, which can be written. Raises: XenTpmError ``XENTPM_BOOT``."""
    if layout.esp is None:
        raise refused("the EFI system partition is not mounted", "Mount it: mount /boot/efi.")
    try:
        read_only = bool(os.statvfs(layout.esp).f_flag & os.ST_RDONLY)
    except OSError as error:
        raise refused(
            "{} cannot be looked at: {}".format(layout.esp, error.strerror), "Mount it again."
        ) from error
    if read_only:
        raise refused(
            "{} is mounted read-only".format(layout.esp),
            "Look for its errors in the kernel's messages, then: mount -o remount,rw {}.".format(layout.esp),
        )
    return layout.esp


def require_tools(layout: BootLayout) -> None:
    """Raises: XenTpmError ``XENTPM_BOOT`` without GRUB's modules or the tool that makes images of them."""
    if layout.modules is None:
        raise refused(
            "there are no GRUB modules with tpm.mod on this host",
            "Install the package of GRUB's EFI modules, or the supplemental pack with its own modules.",
        )
    if layout.mkimage is None:
        raise refused(
            "there is no grub-mkimage on this host",
            "Install GRUB's tools (grub-tools, grub2-tools or grub-common), or the supplemental pack, "
            "which may have its own.",
        )


def _content(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as file:
            return file.read(64).decode("ascii", "replace").strip()
    except OSError:
        return None
