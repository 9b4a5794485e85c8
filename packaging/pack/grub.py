"""GRUB modules and grub-mkimage for hosts that have none: the licence is GPL-3, so only when asked for."""

import glob
import os
import shutil

from pack.libraries import copy_libraries, relocate
from pack.tools import PackError, run

__all__ = ["copy_grub"]

_FOLDERS = ("/usr/lib/grub/x86_64-efi", "/usr/lib64/grub/x86_64-efi")
_NAMES = ("*.mod", "kernel.img", "moddep.lst")
_TOOLS = ("grub-mkimage", "grub2-mkimage")


def copy_grub(target: str, licences: str) -> str:
    """Copy this machine's modules for UEFI and its grub-mkimage to ``target``; returns GRUB's version.

    Raises:
        PackError: they are not on this machine, or GRUB was built without its module ``tpm``.
    """
    folder = next((path for path in _FOLDERS if os.path.exists(os.path.join(path, "tpm.mod"))), None)
    tool = next((path for path in map(shutil.which, _TOOLS) if path), None)
    if folder is None or tool is None:
        raise PackError(
            "this machine has no GRUB modules for UEFI with tpm.mod, or no grub-mkimage",
            "Install grub2-efi-x64-modules and grub2-tools (Debian: grub-efi-amd64-bin, grub-common).",
        )
    modules = os.path.join(target, "x86_64-efi")
    os.makedirs(modules)
    for pattern in _NAMES:
        for path in sorted(glob.glob(os.path.join(folder, pattern))):
            shutil.copyfile(path, os.path.join(modules, os.path.basename(path)))
    program = shutil.copyfile(tool, os.path.join(target, "grub-mkimage"))
    copy_libraries([tool], target)
    for path in [program] + sorted(glob.glob(os.path.join(target, "lib*.so*"))):
        relocate(path, "$ORIGIN")
    version = run([program, "--version"]).strip().split()[-1]
    with open(os.path.join(licences, "grub"), "w", encoding="utf-8") as file:
        file.write(
            "GNU GRUB {}, as the build machine had it: GNU General Public License, version 3 or later.\n"
            "Who gave you this pack has to give you its source too, when you ask.\n".format(version)
        )
    return version
