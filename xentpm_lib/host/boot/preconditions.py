"""What has to hold before a boot loader is touched. Each refusal names the reason and the next step."""

import os
from typing import Optional

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.efi import EfiVariables
from xentpm_lib.host.boot.esp import esp_id, find_esp, partition_guid
from xentpm_lib.host.boot.layout import BootLayout
from xentpm_lib.host.boot.setup_state import Setup
from xentpm_lib.host.paths import Paths

__all__ = [
    "refused",
    "require_esp",
    "require_own_disk",
    "require_root",
    "require_root_to_read",
    "require_same_esp",
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


def require_root_to_read() -> None:
    """Raises: XenTpmError ``XENTPM_BOOT`` for anybody but root, who alone sees what was set up."""
    if os.geteuid() != 0:
        raise XenTpmError("only root can see how measured boot is set up", "Run as root.", "XENTPM_BOOT")


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
    """Raises: XenTpmError ``XENTPM_BOOT`` where firmware would not, or might not, start what we made."""
    efi = EfiVariables(paths)
    if efi.secure_boot:
        raise refused(
            "Secure Boot is on, and an image that is made here is not signed by the vendor",
            "Switch Secure Boot off in the BIOS, or keep it and go without measured boot: own keys and MOK "
            "are not supported.",
        )
    if efi.secure_boot is False or efi.setup_mode:  # without its keys firmware checks nothing
        return
    if not efi.readable:
        raise refused(
            "it cannot be told whether Secure Boot is on: the firmware's variables are not mounted",
            "Mount efivarfs: mount -t efivarfs efivarfs /sys/firmware/efi/efivars.",
        )
    if efi.knows_secure_boot:
        raise refused(
            "it cannot be told whether Secure Boot is on: the firmware's variables do not say",
            "Look at Secure Boot in the BIOS, switch it off and restart.",
        )


def require_own_disk(paths: Paths, esp: str) -> None:
    """Raises: XenTpmError ``XENTPM_BOOT`` where this boot came from another partition than ``esp``."""
    booted, here = EfiVariables(paths).booted, partition_guid(paths, esp)
    if booted is None or None in (booted.partition, here) or booted.partition == here:
        return
    raise refused(
        "this host was started from partition {}, and {} is partition {}".format(booted.partition, esp, here),
        "If that was a rescue disk, restart the host from its own disk and call again. Otherwise mount the "
        "partition that it boots from at {}.".format(esp),
    )


def require_same_esp(paths: Paths, setup: Setup) -> str:
    """The ESP that measured boot was set up on.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when it is not mounted, or another one is.
    """
    esp = find_esp(paths)
    place = setup.esp or "boot/efi"
    if esp is None:
        raise refused("the EFI system partition is not mounted", "Mount it: mount /{}.".format(place))
    if setup.esp and esp != paths.at(setup.esp):
        raise refused(
            "the EFI system partition is at {}, and measured boot was set up at /{}".format(esp, place),
            "Mount it there.",
        )
    now = esp_id(paths, esp)
    if setup.esp_id and now and now != setup.esp_id:
        raise refused(
            "{} is another partition ({}) than measured boot was set up on ({})".format(
                esp, now, setup.esp_id
            ),
            "Mount the host's own EFI system partition there.",
        )
    return esp


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
            "Install the package of GRUB's EFI modules, or a pack that was built with WITH_GRUB=1.",
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
