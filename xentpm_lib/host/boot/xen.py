"""The Xen that a host boots: its file, its version, and whether it can be launched by tboot.

tboot hands its shared page to Xen; a Xen built without ``CONFIG_TBOOT`` ignores it and leaves the machine
half in a measured environment, so such a Xen is not started by tboot. XCP-ng builds it without.
"""

import os
import re
import zlib
from typing import NamedTuple, Optional

from xentpm_lib.host.boot.files import any_case, is_file, read_file
from xentpm_lib.host.boot.grub_stub import MAX_CONFIG_SIZE
from xentpm_lib.host.boot.layout import BootLayout
from xentpm_lib.host.boot.menu_text import MenuEntry, default_entry
from xentpm_lib.host.dom0 import Dom0
from xentpm_lib.host.paths import Paths

__all__ = ["XenImage", "booted_entry", "file_of", "find_xen", "running_version"]

_MAX_FILE, _MAX_PROGRAM = 64 << 20, 128 << 20  # bytes, as on disk and decompressed; Xen has about 1 and 3 MiB
_GZIP, _GZIP_WINDOW = b"\x1f\x8b", 31
_TBOOT_MESSAGE = b"TBOOT: found shared page at phys addr"
_VERSION = re.compile(rb"\0(4\.\d{1,3}\.\d{1,3}[-+.~\w]{0,60})\0")


class XenImage(NamedTuple):
    """A file of Xen.

    path: as ``open`` takes it.
    compressed: whether it is gzip, which GRUB can load only with ``gzio``.
    version: as the file tells it, None where it does not.
    tboot: whether tboot can launch it; None where it cannot be told.
    """

    path: str
    compressed: bool
    version: Optional[str]
    tboot: Optional[bool]


def booted_entry(layout: BootLayout) -> Optional[MenuEntry]:
    """The default entry of the host's grub.cfg."""
    text = read_file(layout.config, MAX_CONFIG_SIZE)
    return None if text is None else default_entry(text.decode("utf-8", "replace"))


def file_of(paths: Paths, layout: BootLayout, name: str) -> Optional[str]:
    """The dom0 path of a file that GRUB names: on the root disk, on a /boot of its own, on the ESP."""
    relative = name.lstrip("/")
    if ".." in relative.split("/"):
        return None
    for place in (paths.at(relative), paths.at("boot/" + relative)):
        if is_file(place):
            return place
    return any_case(layout.esp, relative) if layout.esp else None


def find_xen(paths: Paths, layout: BootLayout, entry: Optional[MenuEntry]) -> Optional[XenImage]:
    """The Xen of a menu entry; None where the entry boots none or its file is not there."""
    path = file_of(paths, layout, entry.xen) if entry and entry.xen else None
    data = read_file(path, _MAX_FILE)
    if path is None or data is None:
        return None
    compressed = data.startswith(_GZIP)
    program = _decompressed(data) if compressed else data
    version = _VERSION.search(program) if program else None
    return XenImage(
        path,
        compressed,
        version.group(1).decode("ascii", "replace") if version else None,
        _tboot(path, program),
    )


def running_version(paths: Paths) -> Optional[str]:
    """The version of the Xen that runs now, of the inventory where Linux does not tell it."""
    parts = [
        read_file(paths.at("sys/hypervisor/version/" + name), 4096) for name in ("major", "minor", "extra")
    ]
    if parts[0] is not None and parts[1] is not None:
        major, minor, extra = ((part or b"").decode("ascii", "replace").strip() for part in parts)
        return "{}.{}{}".format(major, minor, extra)
    return Dom0(paths).inventory().get("XEN_VERSION") or None


def _decompressed(data: bytes) -> Optional[bytes]:
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        program = unpacker.decompress(data, _MAX_PROGRAM)
    except zlib.error:
        return None
    return program if unpacker.eof else None


def _tboot(path: str, program: Optional[bytes]) -> Optional[bool]:
    real = os.path.realpath(path)
    stem, ending = os.path.splitext(real)
    config = read_file((stem if ending in (".gz", ".efi") else real) + ".config", MAX_CONFIG_SIZE)
    if config is not None and b"CONFIG_TBOOT=y" in config.splitlines():
        return True
    return None if program is None else _TBOOT_MESSAGE in program
