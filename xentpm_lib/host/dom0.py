"""What the files of a dom0 tell: identifiers, the event log, how it booted."""

import os
from typing import Dict, List, Optional

from xentpm_lib.errors import FormatError, XenTpmError
from xentpm_lib.evidence.encoding import check_uuid
from xentpm_lib.host.paths import Paths

__all__ = ["MAXIMUM_EVENT_LOG_BYTES", "Dom0"]

MAXIMUM_EVENT_LOG_BYTES = 2 << 20  # as evidence.event_log.MAX_EVENT_LOG_SIZE
_MAXIMUM_FILE_BYTES = 1 << 20
_EVENT_LOG = "sys/kernel/security/tpm0/binary_bios_measurements"
_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


class Dom0:
    """The dom0 with these ``paths``; every property reads its file when it is asked for."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    @property
    def host_uuid(self) -> str:
        """The host's XAPI UUID, lower case.

        Raises:
            XenTpmError: ``XENTPM_DOM0`` when the inventory does not tell it.
        """
        return self._uuid(
            self.inventory().get("INSTALLATION_UUID", ""),
            "INSTALLATION_UUID in {}".format(self._paths.at("etc/xensource-inventory")),
            "xentpm runs in the dom0 of a XenServer, Citrix Hypervisor or XCP-ng host.",
        )

    @property
    def system_uuid(self) -> str:
        """The SMBIOS UUID of the machine, lower case.

        Raises:
            XenTpmError: ``XENTPM_DOM0`` when it cannot be read.
        """
        data = self._read("sys/class/dmi/id/product_uuid", _MAXIMUM_FILE_BYTES) or b""
        return self._uuid(
            data.decode("ascii", "replace").strip(),
            "The SMBIOS UUID in {}".format(self._paths.at("sys/class/dmi/id/product_uuid")),
            "Run as root; on a machine whose firmware gives none, ask its maker for a BIOS update.",
        )

    @staticmethod
    def _uuid(text: str, what: str, hint: str) -> str:
        if not text:
            raise XenTpmError("{} cannot be read".format(what), hint, "XENTPM_DOM0")
        try:
            return check_uuid(text.lower(), "uuid")
        except FormatError as error:
            raise XenTpmError("{} is no UUID".format(what), hint, "XENTPM_DOM0") from error

    def inventory(self) -> Dict[str, str]:
        """``/etc/xensource-inventory``: names and values without quotes; empty where there is none."""
        data = self._read("etc/xensource-inventory", _MAXIMUM_FILE_BYTES) or b""
        pairs = (line.partition("=") for line in data.decode("utf-8", "replace").splitlines() if "=" in line)
        return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}

    def event_log(self) -> Optional[bytes]:
        """The firmware's TCG event log, None where dom0 has none (most Xen hosts).

        Raises:
            XenTpmError: ``XENTPM_DOM0`` when it is larger than 2 MiB.
        """
        data = self._read(_EVENT_LOG, MAXIMUM_EVENT_LOG_BYTES + 1)
        if data is not None and len(data) > MAXIMUM_EVENT_LOG_BYTES:
            raise XenTpmError(
                "The event log has more than {} bytes".format(MAXIMUM_EVENT_LOG_BYTES),
                "Quotes are sent without it.",
                "XENTPM_DOM0",
            )
        return data or None

    def cpu_flags(self) -> List[str]:
        """The first processor's flags; empty where they cannot be read."""
        data = self._read("proc/cpuinfo", _MAXIMUM_FILE_BYTES) or b""
        for line in data.decode("ascii", "replace").splitlines():
            if line.startswith("flags"):
                return line.partition(":")[2].split()
        return []

    def is_uefi(self) -> bool:
        """Whether firmware started this dom0 by UEFI."""
        return os.path.isdir(self._paths.at("sys/firmware/efi"))

    def secure_boot(self) -> Optional[bool]:
        """Whether UEFI Secure Boot is on; None where the firmware does not tell."""
        data = self._read(_SECURE_BOOT, 16)
        return None if data is None or len(data) != 5 else data[4] == 1

    def _read(self, relative: str, limit: int) -> Optional[bytes]:
        try:
            with open(self._paths.at(relative), "rb") as file:
                return file.read(limit)
        except OSError:
            return None
