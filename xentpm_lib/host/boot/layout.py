"""Where a host keeps what it boots from: GRUB's image, its configuration, its modules.

Known are XenServer and Citrix Hypervisor, XCP-ng 8 and 9, Debian and AlmaLinux. Firmware's own word on
which image it started goes before the known places; the image's own word on where its configuration is
goes before the folder that it lies in.
"""

import os
from typing import Iterator, List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot.efi import EfiVariables
from xentpm_lib.host.boot.esp import find_esp, partition_guid
from xentpm_lib.host.boot.files import any_case, is_file, listed, read_file
from xentpm_lib.host.boot.grub_image import MAX_IMAGE_SIZE, GrubImage, parse_grub_image
from xentpm_lib.host.boot.grub_stub import MAX_CONFIG_SIZE, next_config
from xentpm_lib.host.paths import Paths

__all__ = ["BootLayout", "read_grub_image"]

_VENDORS = ("xenserver", "xcp-ng", "almalinux", "debian", "centos", "redhat", "BOOT")
_GRUB, _REMOVABLE = "grubx64.efi", "EFI/BOOT/BOOTX64.EFI"
_LEGACY_CONFIGS = ("boot/grub/grub.cfg", "boot/grub2/grub.cfg")
_MODULES = (
    "usr/lib/grub/x86_64-efi",
    "usr/lib/grub2/x86_64-efi",
    "usr/lib64/grub/x86_64-efi",
    "usr/share/grub2/x86_64-efi",
    "opt/xensource/tpm/grub/x86_64-efi",
)
_NEEDED_MODULES = ("tpm.mod", "kernel.img", "moddep.lst")
_TOOLS = tuple(
    "usr/{}/{}".format(folder, name)
    for name in ("grub-mkimage", "grub2-mkimage")
    for folder in ("bin", "sbin")
)
_PACK_TOOL = "opt/xensource/tpm/grub/grub-mkimage"
_MAX_HOPS = 4  # from one configuration to the next
_MAX_DEPTH, _MAX_ESP_FILES = 8, 4096


class BootLayout(NamedTuple):
    """All are paths as ``open`` takes them, below the dom0's root; None for what was not found.

    uefi: whether UEFI started this dom0; if not, esp, image and copies are empty.
    esp: where the EFI system partition is mounted.
    config: the grub.cfg with the menu.
    image: the GRUB image that started this dom0, where firmware tells, else the one that should have.
    copies: images elsewhere on the ESP with the same bytes, for instance EFI/BOOT/BOOTX64.EFI.
    modules: a folder of GRUB modules with tpm.mod, kernel.img and moddep.lst.
    mkimage: the program that makes images of them.
    """

    uefi: bool
    esp: Optional[str]
    config: Optional[str]
    image: Optional[str]
    copies: Tuple[str, ...]
    modules: Optional[str]
    mkimage: Optional[str]

    @classmethod
    def find(cls, paths: Paths) -> "BootLayout":
        """Look for all of it. Nothing is raised for what is not there."""
        modules = next((path for path in map(paths.at, _MODULES) if _has_modules(path)), None)
        mkimage = next((path for path in map(paths.at, _TOOLS + (_PACK_TOOL,)) if _is_program(path)), None)
        if not os.path.isdir(paths.at("sys/firmware/efi")):
            config = next((path for path in map(paths.at, _LEGACY_CONFIGS) if is_file(path)), None)
            return cls(False, None, config, None, (), modules, mkimage)
        esp = find_esp(paths)
        image = _image(esp, paths) if esp else None
        config = _config(paths, esp, image) if esp else None
        copies = tuple(_copies(esp, image)) if esp and image else ()
        return cls(True, esp, config, image, copies, modules, mkimage)


def read_grub_image(path: Optional[str]) -> Optional[GrubImage]:
    """The GRUB image in a file; None where there is none, or it is no GRUB image."""
    data = read_file(path, MAX_IMAGE_SIZE)
    try:
        return None if data is None else parse_grub_image(data)
    except FormatError:
        return None


def _has_modules(folder: str) -> bool:
    return all(is_file(os.path.join(folder, name)) for name in _NEEDED_MODULES)


def _is_program(path: str) -> bool:
    return is_file(path) and os.access(path, os.X_OK)


def _image(esp: str, paths: Paths) -> Optional[str]:
    for relative in _image_places(paths, esp):
        path = any_case(esp, relative)
        if path and read_grub_image(path) is not None:
            return path
    return None


def _image_places(paths: Paths, esp: str) -> Iterator[str]:
    booted = EfiVariables(paths).booted
    if booted is not None and booted.partition in (None, partition_guid(paths, esp) or booted.partition):
        started = booted.file or _REMOVABLE
        yield started
        yield os.path.join(os.path.dirname(started), _GRUB)  # where it was shim that firmware started
    for vendor in _VENDORS:
        yield "EFI/{}/{}".format(vendor, _GRUB)
    yield _REMOVABLE


def _config(paths: Paths, esp: str, image: Optional[str]) -> Optional[str]:
    found = next((path for path in _first_configs(paths, esp, image) if is_file(path)), None)
    if found is None:
        return None
    for _ in range(_MAX_HOPS):
        text = read_file(found, MAX_CONFIG_SIZE) or b""
        following = next_config(text, _prefix(paths, esp, found))
        path = (_below_root(paths, following) or any_case(esp, following)) if following else None
        if path is None or path == found:
            break
        found = path
    return found


def _first_configs(paths: Paths, esp: str, image: Optional[str]) -> Iterator[str]:
    grub = read_grub_image(image)
    if grub is not None and image is not None:
        yield from _configs_of_image(paths, esp, grub)
        yield os.path.join(os.path.dirname(image), "grub.cfg")
    for vendor in _VENDORS:
        path = any_case(esp, "EFI/{}/grub.cfg".format(vendor))
        if path:
            yield path


def _configs_of_image(paths: Paths, esp: str, grub: GrubImage) -> Iterator[str]:
    """What the image's own configuration names, then the grub.cfg at its prefix, on the ESP or elsewhere."""
    folder = grub.prefix.rpartition(")")[2]
    inside = grub.prefix.startswith("(memdisk)")
    own = (grub.memdisk_file(folder + "/grub.cfg") if inside else None, grub.config)
    named = [next_config(text, folder) for text in own if text]
    for relative in named + ([] if inside else [folder + "/grub.cfg"]):
        if relative:
            on_esp = any_case(esp, relative)
            if on_esp:
                yield on_esp
            below_root = _below_root(paths, relative)
            if below_root:
                yield below_root


def _prefix(paths: Paths, esp: str, config: str) -> str:
    """The folder of a configuration as GRUB names it on its device."""
    base = esp if config.startswith(esp + "/") else paths.root
    return "/" + os.path.relpath(os.path.dirname(config), base)


def _below_root(paths: Paths, relative: str) -> Optional[str]:
    """A path on GRUB's root device: dom0's root, or a /boot of its own."""
    names = relative.strip("/")
    if ".." in names.split("/"):
        return None
    for place in (names, "boot/" + names):
        if is_file(paths.at(place)):
            return paths.at(place)
    return None


def _copies(esp: str, image: str) -> Iterator[str]:
    data = read_file(image, MAX_IMAGE_SIZE)
    for path in _efi_files(esp):
        if path != image and data is not None and read_file(path, len(data)) == data:
            yield path


def _efi_files(esp: str) -> List[str]:
    found: List[str] = []
    folders = [(esp, 0)]
    while folders and len(found) < _MAX_ESP_FILES:
        folder, depth = folders.pop()
        for path in listed(folder):
            if os.path.islink(path):
                continue
            if os.path.isdir(path) and depth < _MAX_DEPTH:
                folders.append((path, depth + 1))
            elif path.lower().endswith(".efi") and is_file(path):
                found.append(path)
    return sorted(found)
