"""The files that a simulated host boots from, and which of them stands for which component."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.errors import UsageError

__all__ = ["COMMAND_LINES", "FILES", "BootFiles"]

FILES = ("firmware", "boot-loader", "xen", "kernel", "initrd")
COMMAND_LINES = ("xen-cmdline", "kernel-cmdline")

_UEFI_LOADER = "/EFI/xenserver/grubx64.efi"  # as the boot partition's file system has it
_BIOS_LOADER = "/grub/i386-pc/core.img"
_EFI_PARTITION = "boot/efi"
_XEN_ARGUMENTS = (
    "dom0_mem=2624M,max:2624M watchdog ucode=scan dom0_max_vcpus=1-16 crashkernel=256M,below=4G "
    "console=vga vga=mode-0x0311"
)
_KERNEL_ARGUMENTS = (
    "root=LABEL={label} ro nolvm hpet=disable console=hvc0 console=tty0 quiet vga=785 splash "
    "plymouth.ignore-serial-consoles"
)
_ENTRY = """\
menuentry '{title}' {{
\tsearch --label --set root {label}
\tmultiboot2 /boot/xen.gz {xen}
\tmodule2 /boot/vmlinuz-4.19-xen {kernel}
\tmodule2 /boot/initrd-4.19-xen.img
}}
"""
_TBOOT_ENTRY = """\
menuentry 'XenServer (Trusted Boot)' {{
\tsearch --label --set root {label}
\tmultiboot2 /boot/tboot.gz logging=serial,memory
\tmodule2 /boot/xen.gz {xen}
\tmodule2 /boot/vmlinuz-4.19-xen {kernel}
\tmodule2 /boot/initrd-4.19-xen.img
\tmodule2 /boot/SINIT_ACM.bin
}}
"""
_CONFIG = """\
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set default={default}
set timeout=5
"""


@dataclass(frozen=True)
class BootFiles:
    """Where a host has them, and what is in them when it is new."""

    root: Path
    txt: bool

    @property
    def config(self) -> Path:
        """grub.cfg."""
        return self.root / ("boot/grub/grub.cfg" if self.txt else f"{_EFI_PARTITION}/EFI/xenserver/grub.cfg")

    @property
    def boot_loader_path(self) -> str:
        """The boot loader's path as firmware sees it."""
        return _BIOS_LOADER if self.txt else _UEFI_LOADER

    def file(self, component: str) -> Path:
        """Return the file that is the component. Raises: UsageError when there is no such component."""
        loader = ("boot" if self.txt else _EFI_PARTITION) + self.boot_loader_path
        paths = {
            "firmware": "boot/firmware/firmware.bin",
            "boot-loader": loader,
            "xen": "boot/xen.gz",
            "kernel": "boot/vmlinuz-4.19-xen",
            "initrd": "boot/initrd-4.19-xen.img",
        }
        if component not in paths:
            known = ", ".join(FILES + COMMAND_LINES)
            raise UsageError(f"there is no component {component!r}", f"the components are: {known}")
        return self.root / paths[component]

    def read(self, path: str) -> bytes:
        """Read a file by its path in grub.cfg. Raises: UsageError when it cannot be read."""
        target = self.root / path.lstrip("/")
        if not path.startswith("/") or ".." in Path(path).parts:
            raise UsageError(f"the boot loader cannot find {path}", "paths in grub.cfg begin with /")
        try:
            return target.read_bytes()
        except OSError as error:
            raise UsageError(f"the boot loader cannot read {target}: {error.strerror}") from error

    @property
    def config_path(self) -> str:
        """The path of grub.cfg that :meth:`read` takes."""
        return "/" + self.config.relative_to(self.root).as_posix()

    def write_new(self, label: str) -> None:
        """Write what a freshly installed host has. ``label`` is its root file system's. Raises: OSError."""
        for component in FILES:
            _write(self.file(component), _content(component))
        if self.txt:
            _write(self.root / "boot/tboot.gz", _content("tboot"))
            _write(self.root / "boot/SINIT_ACM.bin", _content("SINIT"))
        _write(self.config, self._config_text(label).encode())

    def _config_text(self, label: str) -> str:
        values = {"label": label, "xen": _XEN_ARGUMENTS, "kernel": _KERNEL_ARGUMENTS.format(label=label)}
        serial = dict(values, xen=f"com1=115200,8n1 console=com1,vga {_XEN_ARGUMENTS}")
        safe = dict(values, xen=f"nosmp noreboot noirqbalance no-mce no-bootscrub {_XEN_ARGUMENTS}")
        entries = [
            _ENTRY.format(title="XenServer", **values),
            _ENTRY.format(title="XenServer (Serial)", **serial),
            _ENTRY.format(title="XenServer in Safe Mode", **safe),
        ]
        if self.txt:
            entries.append(_TBOOT_ENTRY.format(**values))
        return _CONFIG.format(default=len(entries) - 1 if self.txt else 0) + "".join(entries)


def root_label(host: str) -> str:
    """Return the label of a host's root file system: its installer draws six letters, so hosts differ."""
    return "root-" + "".join(chr(ord("a") + byte % 26) for byte in hashlib.sha256(host.encode()).digest()[:6])


def disk_guid(host: str) -> uuid.UUID:
    """Return the GUID of a host's disk."""
    return uuid.uuid5(uuid.NAMESPACE_URL, "xentpm:disk:" + host)


def _content(name: str, size: int = 16384) -> bytes:
    """Return bytes that stand for a program: a readable first line, then noise; the same on every host."""
    return f"simulated {name} 1.0\n".encode() + hashlib.shake_128(name.encode()).digest(size)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
