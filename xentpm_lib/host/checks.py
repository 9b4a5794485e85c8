"""The checks of the preparation check that need the files of dom0 only."""

from typing import Iterator, List, Tuple

from xentpm_lib import __version__
from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.layout import BootLayout, read_grub_image
from xentpm_lib.host.boot.txt import smx_offered
from xentpm_lib.host.boot.verification import boot_setup
from xentpm_lib.host.dom0 import Dom0
from xentpm_lib.host.paths import Paths
from xentpm_lib.host.status import FAILED, OK, UNKNOWN, WARNING, Check

__all__ = ["dom0_checks"]

_UNREADABLE = "the processor's flags cannot be read"
_NOT_OFFERED = "not offered by the processor or switched off"
_SMX = {True: (OK, "yes"), False: (WARNING, _NOT_OFFERED), None: (UNKNOWN, "cannot be read; Xen may hide it")}

_SETUP = {
    "active": (OK, ""),
    "pending": (WARNING, "Restart the host."),
    "undone": (WARNING, "Run: xentpm-boot enable. Then restart the host."),
}


def dom0_checks(paths: Paths) -> Iterator[Check]:
    """One check after the other."""
    dom0 = Dom0(paths)
    for check in (_identifiers, _boot_mode, _secure_boot):
        yield check(dom0)
    yield _boot_image(paths)
    yield _boot_setup(paths)
    for check in (_event_log, _aes_ni):
        yield check(dom0)
    yield _smx(dom0, paths)
    yield Check("pack_version", "xentpm", OK, __version__)


def _identifiers(dom0: Dom0) -> Check:
    title = "Host identifiers"
    try:
        seen = "host {}, system {}".format(dom0.host_uuid, dom0.system_uuid)
    except XenTpmError as error:
        return Check("identifiers", title, FAILED, error.message, error.hint)
    return Check("identifiers", title, OK, seen)


def _boot_mode(dom0: Dom0) -> Check:
    return Check("boot_mode", "Boot mode", OK, "UEFI" if dom0.is_uefi() else "legacy BIOS")


def _secure_boot(dom0: Dom0) -> Check:
    title, state = "Secure Boot", dom0.secure_boot()
    if state is None:
        return Check("secure_boot", title, UNKNOWN if dom0.is_uefi() else OK, "the firmware does not tell")
    return Check("secure_boot", title, OK, "on" if state else "off")


def _boot_image(paths: Paths) -> Check:
    """Tells only: what has to be done follows from what the TPM shows (``grub_measured``)."""
    title, layout = "GRUB image", BootLayout.find(paths)
    image = read_grub_image(layout.image)
    if image is None:
        return Check("boot_image", title, OK, "none found" if layout.uefi else "none: legacy BIOS")
    does = "measures" if image.measures else "does not measure: no tpm module inside"
    return Check("boot_image", title, OK, "{} {}".format(layout.image, does))


def _boot_setup(paths: Paths) -> Check:
    name, title = "measured_boot_setup", "Measured boot set-up"
    try:
        setup = boot_setup(paths)
    except XenTpmError as error:
        return Check(name, title, FAILED, error.message, error.hint)
    if setup is None:
        return Check(name, title, OK, "not set up by xentpm-boot")
    state, advice = _SETUP[setup.state]
    return Check(name, title, state, "{} {}: {}".format(*setup), advice)


def _event_log(dom0: Dom0) -> Check:
    title = "Firmware event log"
    try:
        log = dom0.event_log()
    except XenTpmError as error:
        return Check("event_log", title, WARNING, error.message, error.hint)
    if log is None:
        return Check("event_log", title, OK, "none, as in most Xen hosts; quotes are complete without it")
    return Check("event_log", title, OK, "{} bytes".format(len(log)))


def _aes_ni(dom0: Dom0) -> Check:
    state, seen = _flag_state(dom0.cpu_flags(), "aes")
    advice = "" if state != WARNING else "Enable AES-NI in the BIOS: encryption is slow without it."
    return Check("aes_ni", "AES-NI", state, seen, advice)


def _smx(dom0: Dom0, paths: Paths) -> Check:
    state, seen = _SMX[smx_offered(paths)]
    if state == WARNING and dom0.is_uefi():
        state = OK  # UEFI and GRUB can measure everything without a dynamic launch
    advice = (
        "" if state != WARNING else "A dynamic launch needs it: enable Intel TXT in the BIOS if you want one."
    )
    return Check("smx", "SMX (Intel TXT)", state, seen, advice)


def _flag_state(flags: List[str], flag: str) -> Tuple[str, str]:
    if not flags:
        return UNKNOWN, _UNREADABLE
    return (OK, "yes") if flag in flags else (WARNING, _NOT_OFFERED)
