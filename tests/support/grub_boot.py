"""Boot logs as a host computes them: PCR 8 with GRUB's commands and command lines, PCR 9 with the files.

    boot = GrubBoot()                                # Xen, kernel and initrd of one menu entry
    boot.boot_log()
    replace(boot, xen="dom0_mem=2G", files={...})    # another boot

Digests are those of what GRUB measures: of commands without the word that says of which kind they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.pcr import PcrValues, replay

__all__ = ["FILES", "INITRD", "KERNEL", "XEN", "GrubBoot"]

CONFIG, XEN = "/EFI/xenserver/grub.cfg", "/boot/xen.gz"
KERNEL, INITRD = "/boot/vmlinuz-4.19-xen", "/boot/initrd-4.19-xen.img"
FILES = {CONFIG: b"grub.cfg", XEN: b"xen 1", KERNEL: b"kernel 1", INITRD: b"initrd 1"}


@dataclass(frozen=True)
class GrubBoot:
    """One boot. first: commands ahead of the menu. xen, kernel: command lines. files: path to content."""

    first: tuple[str, ...] = ("set default=0", "set timeout=5")
    xen: str = "dom0_mem=2624M,max:2624M watchdog crashkernel=256M,below=4G console=vga"
    kernel: str = "root=LABEL=root-abc ro quiet"
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))

    def boot_log(self, *banks: str) -> tuple[BootEvent, ...]:
        """The events, with digests of these banks, of sha256 unless given."""
        banks = banks or ("sha256",)
        events = [(9, path, content) for path, content in self.files.items()]
        events += [(8, kind + text, text.encode()) for kind, text in self._commands()]
        return tuple(
            BootEvent(pcr, {bank: digest(bank, data) for bank in banks}, text) for pcr, text, data in events
        )

    def values(self) -> PcrValues:
        """What the boot leaves in PCR 8 and 9 of the bank sha256."""
        final = replay("sha256", ((one.pcr, one.digests["sha256"]) for one in self.boot_log()))
        return {"sha256": {pcr: final[pcr] for pcr in (8, 9)}}

    def _commands(self) -> list[tuple[str, str]]:
        _config, *paths = self.files
        loads = [f"multiboot2 {paths[0]} {self.xen}", f"module2 {paths[1]} {self.kernel}"]
        loads += [f"module2 {path}" for path in paths[2:]]
        body = "\n".join("\t" + load for load in loads)
        commands = [("grub_cmd: ", text) for text in self.first]
        commands.append(("grub_cmd: ", f"menuentry XenServer {{\n{body}\n}}"))
        commands.append(("grub_cmd: ", "setparams XenServer"))
        lines = [("kernel_cmdline: ", self.xen), ("module_cmdline: ", self.kernel)]
        lines += [("module_cmdline: ", "")] * len(paths[2:])
        for load, line in zip(loads, lines, strict=True):
            commands += [("grub_cmd: ", load), line]
        return commands
