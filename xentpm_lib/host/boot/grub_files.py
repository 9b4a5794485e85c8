"""Which file of dom0 a path in GRUB's configuration means.

GRUB knows devices by names of its own (``hd0,gpt4``) and finds them by label, UUID or a file. Dom0 knows
where the same file systems are mounted. Where it does not tell (a folder that only looks like a dom0), every
path is tried below the EFI system partition, the root and ``/boot``.
"""

import os
import stat
from typing import Dict, Iterator, List, NamedTuple, Optional

from xentpm_lib.host.boot.grub_syntax import boot_error
from xentpm_lib.host.paths import Paths

__all__ = ["ELSEWHERE", "GrubFiles", "HostFile"]

ELSEWHERE = "hd?,gpt?"  # a device whose name in GRUB is not known
_MAX_LINKS = 8  # GRUB follows no more
_MAX_MOUNTINFO = 1024 * 1024  # bytes


class HostFile(NamedTuple):
    """A regular file of dom0, by its path; or with its content, when it is inside GRUB's image."""

    path: str
    data: Optional[bytes] = None


class _Mount(NamedTuple):
    """A file system. number: ``8:4``. point: where it is mounted, below the root, without slashes around."""

    number: str
    point: str
    type: str


class GrubFiles:
    """The files of a dom0, found as GRUB finds them.

    esp: where the EFI system partition is mounted, below the root; None where GRUB boots from the root.
    disk: GRUB's name for the disk that it was started from, ``hd0``.
    """

    def __init__(self, paths: Paths, esp: Optional[str], disk: str = "hd0") -> None:
        self._paths, self._esp, self._disk = paths, esp, disk
        self._mounts = list(_mounts(paths))
        self.boot_number = next((one.number for one in self._mounts if one.point == (esp or "")), None)
        self.boot_partition = self._partition(self.boot_number)
        self.boot_device = "{},{}".format(disk, self.boot_partition or "gpt4")
        self.knows_disks = self.boot_partition is not None

    def find_device(self, kind: str, key: str) -> Optional[str]:
        """The device with this ``label`` or ``uuid``; None where there is none."""
        folder = self._paths.at("dev/disk/by-" + kind)
        if not os.path.isdir(folder):
            return ELSEWHERE
        for name in sorted(os.listdir(folder)):
            text = _unescape(name)
            if text == key or (kind == "uuid" and text.lower() == key.lower()):
                block = os.path.basename(os.readlink(os.path.join(folder, name)))
                number = _line(self._paths.at("sys/class/block/{}/dev".format(block)))
                return self._device(number) if number else ELSEWHERE
        return None

    def devices_with(self, path: str) -> List[str]:
        """The mounted devices that have this file, in GRUB's order as far as that can be known."""
        if not self.knows_disks:
            return [name for name in (self.boot_device, ELSEWHERE) if self._has(name, path)]
        names = sorted({self._device(one.number) for one in self._mounts if _is_disk(one)})
        return [name for name in names if self._has(name, path)]

    def find(self, device: str, path: str) -> Optional[str]:
        """The path in dom0 of a file or folder on a device; None where there is none.

        Raises:
            XenTpmError: dom0 has not mounted the device, or it is none that this can know.
        """
        if ".." in path.split("/") or not path.startswith("/"):
            raise boot_error("the path {} is not interpreted".format(ascii(path[:100])))
        points = self._points(device)
        if not points:
            raise boot_error(
                "{} is on ({}), which dom0 has not mounted".format(
                    ascii(path[:100]), ascii(device[:40])[1:-1]
                ),
                "Mount it, or boot from a file system that dom0 mounts.",
            )
        return next((found for found in (self._resolve(point, path) for point in points) if found), None)

    def _has(self, device: str, path: str) -> bool:
        found = self.find(device, path)
        return found is not None and os.path.isfile(found)

    def _points(self, device: str) -> List[str]:
        """The folders below the root in which a device's files are."""
        if device == self.boot_device and (self._esp is not None or not self.knows_disks):
            return [self._esp or ""]
        if device == ELSEWHERE or not self.knows_disks:
            return ["", "boot"] + ([self._esp] if self._esp else [])
        found = [one.point for one in self._mounts if self._device(one.number) == device]
        return sorted(found, key=len)[:1]

    def _device(self, number: str) -> str:
        if number == self.boot_number:
            return self.boot_device
        partition = self._partition(number)
        if partition is None:
            return ELSEWHERE if not self.knows_disks else "{}?{}".format(self._disk, number)
        same = self._disk_of(number) == self._disk_of(self.boot_number)
        return "{},{}".format(self._disk if same else "hd?" + (self._disk_of(number) or ""), partition)

    def _disk_of(self, number: Optional[str]) -> Optional[str]:
        folder = self._paths.at("sys/dev/block/{}".format(number))
        return os.path.basename(os.path.dirname(os.path.realpath(folder))) if number else None

    def _partition(self, number: Optional[str]) -> Optional[str]:
        partition = _line(self._paths.at("sys/dev/block/{}/partition".format(number))) if number else None
        if not partition or not partition.isdigit():
            return None
        udev = _text(self._paths.at("run/udev/data/b{}".format(number)))
        return ("msdos" if "E:ID_PART_ENTRY_SCHEME=dos" in udev.splitlines() else "gpt") + partition

    def _resolve(self, point: str, path: str) -> Optional[str]:
        """A path on the file system mounted at ``point``, links followed as within it alone."""
        top = self._paths.at(point) if point else self._paths.root
        names, links = path.split("/")[::-1], 0
        found: List[str] = []
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            if name == "..":
                found = found[:-1]
                continue
            here = os.path.join(top, *(found + [name]))
            try:
                mode = os.lstat(here).st_mode
            except (OSError, ValueError):
                return None
            if stat.S_ISLNK(mode):
                links += 1
                target = os.readlink(here)
                if links > _MAX_LINKS:
                    return None
                found = [] if target.startswith("/") else found
                names.extend(target.split("/")[::-1])
            else:
                found.append(name)
        return self._on_device(top, os.path.join(top, *found))

    def _on_device(self, top: str, path: str) -> Optional[str]:
        """The path, unless another file system is mounted over it: GRUB sees what is below."""
        if self.knows_disks and os.stat(path).st_dev != os.stat(top).st_dev:
            return None
        return path


def _is_disk(mount: _Mount) -> bool:
    return not mount.number.startswith("0:")


def _mounts(paths: Paths) -> Iterator[_Mount]:
    """What is mounted as a whole, by the kernel's list; the last word on a folder wins."""
    found: Dict[str, _Mount] = {}
    for line in _text(paths.at("proc/self/mountinfo")).splitlines():
        words = line.split(" ")
        if len(words) > 7 and words[3] == "/" and "-" in words[6:]:
            point = _unescape(words[4]).strip("/")
            kind = words[words.index("-", 6) + 1 : words.index("-", 6) + 2]
            found[point] = _Mount(words[2], point, kind[0] if kind else "")
    return iter(found.values())


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_MOUNTINFO).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _line(path: str) -> Optional[str]:
    lines = _text(path).splitlines()
    return lines[0].strip() if lines else None


def _unescape(text: str) -> str:
    r"""Undo ``\040`` of the kernel and ``\x20`` of udev."""
    import re

    plain = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match.group(1), 16)), text)
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8) & 255), plain)
