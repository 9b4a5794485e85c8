"""The file system of a simulated host's dom0, as far as the plugin and its clients look at it."""

from __future__ import annotations

import os
import stat
import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

import xentpm_lib
from xentpm_lib.errors import UsageError

__all__ = [
    "CONFIG",
    "LIBRARY",
    "PLUGIN",
    "Identity",
    "default_plugin",
    "install_software",
    "replace_program",
    "set_tcti",
    "with_interpreter",
    "write_tree",
]

PLUGIN = "etc/xapi.d/plugins/tpm"
CONFIG = "opt/xensource/tpm/config"
LIBRARY = "opt/xensource/tpm/lib"
DMI = "sys/class/dmi/id"

_MAX_SHEBANG = 127  # bytes; Linux before 5.1 takes no more
_SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_EMPTY = ("run", "var/lib/xentpm", "var/log", "tmp", "sys/kernel/security")
_FLAGS = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge cmov pat clflush mmx fxsr sse sse2 ht nx lm"
_INVENTORY = """\
PRODUCT_BRAND='XenServer'
PRODUCT_NAME='xenenterprise'
PRODUCT_VERSION='8.4.0'
PRODUCT_VERSION_TEXT='8'
PRODUCT_VERSION_TEXT_SHORT='8'
PLATFORM_NAME='XCP'
PLATFORM_VERSION='3.4.0'
COMPANY_NAME='Cloud Software Group, Inc.'
COMPANY_NAME_SHORT='Cloud Software Group'
BUILD_NUMBER='stream'
KERNEL_VERSION='4.19.0+1'
XEN_VERSION='4.17.5'
INSTALLATION_DATE='2024-01-01 00:00:00.000000'
PRIMARY_DISK='/dev/disk/by-id/simulated'
BACKUP_PARTITION='/dev/disk/by-id/simulated-part2'
INSTALLATION_UUID='{uuid}'
CONTROL_DOMAIN_UUID='{domain}'
DEFAULT_SR_PHYSDEVS='/dev/disk/by-id/simulated-part3'
DOM0_MEM='2624'
DOM0_VCPUS='16'
MANAGEMENT_INTERFACE='xenbr0'
MANAGEMENT_ADDRESS_TYPE='IPv4'
"""


@dataclass(frozen=True)
class Identity:
    """Who a host is: its name, and the uuid that XAPI knows it by."""

    name: str
    uuid: str

    def other_uuid(self, purpose: str) -> str:
        """Return a UUID of this host for another purpose than XAPI's."""
        return str(uuid.uuid5(uuid.UUID(self.uuid), purpose))


def write_tree(root: Path, identity: Identity, txt: bool) -> None:
    """Write all but configuration, software and boot files. Raises: OSError."""
    for folder in _EMPTY:
        (root / folder).mkdir(parents=True, exist_ok=True)
    inventory = _INVENTORY.format(uuid=identity.uuid, domain=identity.other_uuid("control domain"))
    _write(root / "etc/xensource-inventory", inventory)
    _write(root / "etc/hostname", identity.name + "\n")
    flags = f"{_FLAGS} aes{' smx vmx' if txt else ''}"
    _write(root / "proc/cpuinfo", f"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: {flags}\n")
    for name, text in _system_tables(identity).items():
        _write(root / DMI / name, text + "\n")
    if not txt:
        variable = root / _SECURE_BOOT
        variable.parent.mkdir(parents=True, exist_ok=True)
        variable.write_bytes(b"\x06\x00\x00\x00\x00")  # attributes, then: off


def _system_tables(identity: Identity) -> dict[str, str]:
    return {
        "sys_vendor": "XenTPM Simulator",
        "product_name": "Simulated Server",
        "product_serial": "SIM-" + identity.other_uuid("serial number")[:8].upper(),
        "product_uuid": identity.other_uuid("SMBIOS"),
    }


def write_config(root: Path, values: dict[str, str]) -> None:
    """Write the plugin's configuration file, readable by its owner only. Raises: OSError."""
    path = root / CONFIG
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{key}={value}\n" for key, value in values.items())
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
        out.write("# A simulated host. The password's SHA-1, see docs/administer.md\n" + text)


def set_tcti(root: Path, tcti: str) -> None:
    """Correct the address of the software TPM where the configuration has another one's. Raises: OSError."""
    path = root / CONFIG
    lines = path.read_bytes().split(b"\n")
    wanted = f"tcti={tcti}".encode()
    changed = [wanted if line.startswith(b"tcti=swtpm:path=") else line for line in lines]
    if changed != lines:
        path.write_bytes(b"\n".join(changed))


def default_plugin() -> Path:
    """Return the project's plugin, beside the package in a checkout."""
    return Path(xentpm_lib.__file__).resolve().parent.parent / "plugins" / "tpm"


def install_software(root: Path, plugin: Path, python: str) -> None:
    """Copy the plugin, to be run by ``python``, and link the library. May be done again.

    Raises: UsageError when there is no plugin, OSError.
    """
    try:
        source = plugin.read_bytes()
    except OSError as error:
        hint = "run the simulator from a checkout, or name the plugin's file"
        raise UsageError(f"cannot read the plugin {plugin}: {error.strerror}", hint) from error
    target = root / PLUGIN
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_program(target, with_interpreter(source, python))
    link = root / LIBRARY / "xentpm_lib"
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(Path(xentpm_lib.__file__).resolve().parent)


def with_interpreter(source: bytes, python: str = sys.executable) -> bytes:
    """Return a script with its first line replaced by one that runs ``python -I``.

    The kernel takes no blank and no long path there: then a shell starts Python, which sees the shell's
    lines as a string.
    """
    body = source.split(b"\n", 1)[1] if source.startswith(b"#!") else source
    path = os.fsencode(python)
    line = b"#!" + path + b" -I\n"
    if len(line) > _MAX_SHEBANG or any(blank in path for blank in b" \t"):
        line = b"#!/bin/sh\n'''exec' \"" + path + b'" -I "$0" "$@"\n\' \'\'\'\n'
    return line + body


def replace_program(target: Path, content: bytes) -> None:
    """Write a program that all may run, in one step. Raises: OSError."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_bytes(content)
    temporary.chmod(stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH)
    temporary.replace(target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
