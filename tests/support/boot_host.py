"""A host that boots by GRUB, as a tree of files, and ``xentpm-boot`` on it, called here or in a process."""

import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import sys

from support.debian_files import installed
from support.grub_images import HostTree, make_image
from support.sinit import make_sinit
from xentpm_lib.host.boot import cli

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGE, COPY = "boot/efi/EFI/xenserver/grubx64.efi", "boot/efi/EFI/BOOT/BOOTX64.EFI"
SPARE, CONFIG = "boot/efi/EFI/xenserver/grubx64-stock.efi", "boot/efi/EFI/xenserver/grub.cfg"
SETUP = "var/lib/xentpm/boot/setup.json"
SMALL = ("normal", "part_gpt", "fat")
"""Modules of an image that is made quickly."""
MENU = """serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set default="0"
set timeout=5
menuentry 'XCP-ng' {
\tsearch --label --set root root-abcdef
\tmultiboot2 /boot/xen.gz dom0_mem=2048M console=vga,com1
\tmodule2 /boot/vmlinuz-4.19-xen root=LABEL=root-abcdef ro
\tmodule2 /boot/initrd-4.19-xen.img
}
menuentry 'XCP-ng (Safe Mode)' {
\tsearch --label --set root root-abcdef
\tmultiboot2 /boot/xen.gz nosmp
\tmodule2 /boot/vmlinuz-4.19-xen root=LABEL=root-abcdef ro
\tmodule2 /boot/initrd-4.19-xen.img
}
"""


class BootHost(HostTree):
    """A host with UEFI, a TPM 2.0, GRUB's modules and tool, and a stock image that does not measure."""

    def __init__(self, root, stock=SMALL, modules=None, menu=MENU):
        super().__init__(root)
        self.root = str(root)
        self.stock = self.image("EFI/xenserver/grubx64.efi", modules=stock)
        os.makedirs(self.paths.at("boot/efi/EFI/BOOT"))
        shutil.copy(self.stock, self.paths.at(COPY))
        folder = self.paths.at("usr/lib/grub")
        os.makedirs(folder)
        os.symlink(modules or "/usr/lib/grub/x86_64-efi", os.path.join(folder, "x86_64-efi"))
        self.program("usr/bin/grub-mkimage", 'exec /usr/bin/grub-mkimage "$@"')
        self.write(CONFIG, menu)
        self.write("boot/xen.gz", gzip.compress(b"Xen"))
        self.write("dev/tpmrm0", "")
        self.variable("SecureBoot", b"\0")
        os.makedirs(self.paths.at("run"))
        os.makedirs(self.paths.at("var/lib"))
        self.restart()

    def program(self, relative, script):
        """Put a shell script there, to be run as a program."""
        os.chmod(self.write(relative, "#!/bin/sh\n{}\n".format(script)), 0o755)

    def restart(self):
        """Another boot: /run is empty, the kernel has another id of it."""
        self._boot = getattr(self, "_boot", 0) + 1
        shutil.rmtree(self.paths.at("run"))
        os.makedirs(self.paths.at("run"))
        self.write("proc/sys/kernel/random/boot_id", "00000000-0000-4000-8000-{:012d}\n".format(self._boot))

    def update(self, modules=(*SMALL, "echo"), relative=IMAGE):
        """What an update does: the vendor's new image in the place of what is there; its bytes."""
        return make_image(self.paths.at(relative), modules=modules)

    def read(self, relative):
        """The bytes of a file; None where there is none."""
        try:
            with open(self.paths.at(relative), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def snapshot(self):
        """Every file below the root with the SHA-256 of its bytes, but for /run and /dev."""
        found = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(folder, name)
                relative = os.path.relpath(path, self.root)
                if not relative.startswith(("run/", "dev/")) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        found[relative] = hashlib.sha256(file.read()).hexdigest()
        return found

    def command(self, *words):
        """The command line that starts ``xentpm-boot`` in a process of its own."""
        return [sys.executable, "-m", "xentpm_lib.host.boot.cli", "--config", self.paths.config, *words]

    def start(self, *words, **options):
        """Run it in a process of its own: exit status, stdout, stderr."""
        done = subprocess.run(
            [*options.pop("before", ()), *self.command(*words)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            **options,
        )
        return done.returncode, done.stdout, done.stderr

    def call(self, *words):
        """Run it in this process: the exit status."""
        return cli.main(["--config", self.paths.config, *words])


TBOOT_CONFIG = "boot/grub/grub.cfg"
TBOOT_MENU = """serial --unit=0 --speed=115200
set default="1"
if [ -n "$override_entry" ]; then
	set default=$override_entry
fi
menuentry 'Other' {
	chainloader +1
}
menuentry 'XenServer' {
	search --label --set root root-ylhdxw
	multiboot2 /boot/xen.gz dom0_mem=2624M console=vga,com1
	module2 /boot/vmlinuz-4.19-xen root=LABEL=root-ylhdxw ro console=hvc0
	module2 /boot/initrd-4.19-xen.img
}
"""


def make_tboot_host(root):
    """A legacy BIOS host with TXT, a Xen with tboot support, tboot, and the SINIT module for its chipset."""
    host = BootHost(root)
    shutil.rmtree(host.paths.at("sys/firmware"))
    shutil.rmtree(host.esp)
    host.write(TBOOT_CONFIG, TBOOT_MENU)
    host.write(
        "boot/xen.gz", gzip.compress(b"\0004.13.4-10.1\0TBOOT: found shared page at phys addr %#lx:\n")
    )
    shutil.copy(installed("tboot", "/boot/tboot.gz"), host.paths.at("boot/tboot.gz"))
    host.write("boot/sinit.bin", make_sinit())
    host.write("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu smx\n")
    with open(host.write("dev/mem", b""), "r+b") as file:
        file.seek(0xFED30110)
        file.write(struct.pack("<HHHH", 0x8086, 0xB005, 1, 0))
        file.truncate(0xFED30000 + 4096)
    return host
