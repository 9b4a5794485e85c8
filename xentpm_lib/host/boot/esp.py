"""The EFI system partition: where it is mounted, and whether it is the one that is meant.

A mount point without its partition is an ordinary folder, and a package may have put files there. So what
dom0's table of mounts says goes first; where a tree has no such table, a folder ``EFI`` tells.
"""

import os
import re
from typing import Iterator, NamedTuple, Optional

from xentpm_lib.host.boot.files import any_case, listed, read_file
from xentpm_lib.host.paths import Paths

__all__ = ["Mount", "esp_id", "find_esp", "mounts", "partition_guid"]

_PLACES = ("boot/efi", "efi", "boot")
_FAT = ("vfat", "msdos", "fat")
_MAX_TABLE_BYTES = 1 << 20
_GUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_BY_GUID, _BY_SERIAL = "dev/disk/by-partuuid", "dev/disk/by-uuid"


class Mount(NamedTuple):
    """A line of the table of mounts. ``place``: as dom0 has it, with a slash in front."""

    device: str
    place: str
    kind: str


def mounts(paths: Paths) -> Iterator[Mount]:
    """The file systems that this dom0 has mounted; nothing where it does not tell."""
    table = (read_file(paths.at("proc/mounts"), _MAX_TABLE_BYTES) or b"").decode("utf-8", "replace")
    for fields in map(str.split, table.splitlines()):
        if len(fields) > 2:
            yield Mount(fields[0], fields[1].replace("\\040", " "), fields[2])


def find_esp(paths: Paths) -> Optional[str]:
    """Where the ESP is mounted; None where it is not."""
    table = {mount.place: mount for mount in mounts(paths)}
    for place in _PLACES:
        folder = paths.at(place)
        if table:
            mount = table.get(_place(paths, folder))
            if mount is None or mount.kind not in _FAT or not os.path.isdir(folder):
                continue
            if place == "boot" and _programs(paths) is None:
                continue
        elif (_programs(paths) if place == "boot" else any_case(folder, "EFI")) is None:
            continue
        return folder
    return None


def esp_id(paths: Paths, esp: str) -> str:
    """What tells this ESP from another one; empty where it cannot be told.

    That is ``partuuid:`` with the partition's GUID, else ``uuid:`` with the file system's serial number.
    """
    for kind, links in (("partuuid", _BY_GUID), ("uuid", _BY_SERIAL)):
        name = _name_of(paths, links, esp)
        if name:
            return "{}:{}".format(kind, name)
    return ""


def partition_guid(paths: Paths, esp: str) -> Optional[str]:
    """The GUID of the ESP's GPT partition, lower case; None where it cannot be told, or it has none."""
    name = _name_of(paths, _BY_GUID, esp)
    return name if _GUID.match(name) else None


def _place(paths: Paths, folder: str) -> str:
    relative = os.path.relpath(os.path.realpath(folder), os.path.realpath(paths.root))
    return "/" + relative


def _programs(paths: Paths) -> Optional[str]:
    """The folder EFI of an ESP at /boot. An empty /boot/efi is not it: it is where an ESP is mounted."""
    found = any_case(paths.at("boot"), "EFI")
    if found is None or next(listed(found), None) is None:
        return None
    return None if any_case(found, "EFI") else found


def _name_of(paths: Paths, links: str, esp: str) -> str:
    place = _place(paths, esp)
    device = next((one.device for one in mounts(paths) if one.place == place), "")
    if not device.startswith("/dev/"):
        return ""
    wanted = os.path.basename(os.path.realpath(paths.at(device[1:])))
    for link in listed(paths.at(links)):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if os.path.basename(target) == wanted:
            return os.path.basename(link).lower()
    return ""
