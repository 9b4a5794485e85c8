"""Real GRUB images, made by the system's grub-mkimage and grub-mkstandalone, and trees to boot from them."""

import os
import shutil
import struct
import subprocess
import uuid

from xentpm_lib.host.paths import Paths

MODULES = "/usr/lib/grub/x86_64-efi"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
#: What XenServer's and XCP-ng's images have inside, as far as it matters here; ``tpm`` is not among it.
STOCK = ("normal", "part_gpt", "part_msdos", "fat", "ext2", "search", "search_label", "multiboot2")
PARTITION = "6a898cc3-1dd2-11b2-99a6-080020736631"


def make_image(path, modules=STOCK, prefix="/EFI/xenserver", config=None):
    """Make a GRUB image; returns its bytes. ``modules`` is the wish: GRUB adds what they depend on."""
    os.makedirs(os.path.dirname(str(path)), exist_ok=True)
    words = ["grub-mkimage", "-O", "x86_64-efi", "-o", str(path), "-p", prefix]
    if config is not None:
        with open(str(path) + ".cfg", "w") as file:
            file.write(config)
        words += ["-c", str(path) + ".cfg"]
    subprocess.check_call(words + list(modules))
    if config is not None:
        os.unlink(str(path) + ".cfg")
    with open(str(path), "rb") as file:
        return file.read()


def make_standalone(path, config, modules=("tpm", "gzio")):
    """Make an image whose modules and configuration are in a memdisk; returns its bytes."""
    with open(str(path) + ".cfg", "w") as file:
        file.write(config)
    subprocess.check_call(
        ["grub-mkstandalone", "-O", "x86_64-efi", "-o", str(path), "--modules=" + " ".join(modules)]
        + ["--install-modules=" + " ".join(modules), "--locales=", "--themes=", "--fonts="]
        + ["boot/grub/grub.cfg=" + str(path) + ".cfg"]
    )
    with open(str(path), "rb") as file:
        return file.read()


def load_option(file, description="XenServer", partition=PARTITION, active=True):
    """The value of a variable Boot####."""
    nodes = b""
    if partition is not None:
        guid = uuid.UUID(partition).bytes_le
        nodes += struct.pack("<BBHIQQ16sBB", 4, 1, 42, 4, 2048, 1048576, guid, 2, 2)
    if file is not None:
        name = file.replace("/", "\\").encode("utf-16-le") + b"\0\0"
        nodes += struct.pack("<BBH", 4, 4, 4 + len(name)) + name
    nodes += struct.pack("<BBH", 0x7F, 0xFF, 4)
    text = description.encode("utf-16-le") + b"\0\0"
    return struct.pack("<IH", int(active), len(nodes)) + text + nodes


class HostTree:
    """The files of a host below ``root``; whatever is written here is real, nothing is there by itself."""

    def __init__(self, root, uefi=True):
        self.paths = Paths.of_config(os.path.join(str(root), "opt/xensource/tpm/config"))
        self.esp = self.paths.at("boot/efi")
        if uefi:
            os.makedirs(self.paths.at("sys/firmware/efi/efivars"))
            os.makedirs(os.path.join(self.esp, "EFI"))

    def write(self, relative, data):
        """Write text or bytes to a file; returns its path."""
        path = self.paths.at(relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data if isinstance(data, bytes) else data.encode())
        return path

    def variable(self, name, value):
        """Set a variable of the firmware."""
        self.write("sys/firmware/efi/efivars/{}-{}".format(name, GLOBAL), b"\6\0\0\0" + value)

    def boots(self, file, number=3, **rest):
        """Have the firmware say that it booted ``file``."""
        self.variable("BootCurrent", struct.pack("<H", number))
        self.variable("BootOrder", struct.pack("<HH", number, 0))
        self.variable("Boot{:04X}".format(number), load_option(file, **rest))

    def image(self, relative, **wanted):
        """Make a GRUB image on the ESP; returns its path."""
        path = os.path.join(self.esp, relative)
        make_image(path, **wanted)
        return path

    def grub_modules(self, relative="usr/lib/grub/x86_64-efi"):
        """The system's GRUB modules, as links."""
        folder = self.paths.at(relative)
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        shutil.copytree(MODULES, folder)
        return folder
