"""A boot entry of the firmware for the stock GRUB image: a host can be started by it from the boot menu.

``efibootmgr`` writes it, where dom0 has that program. The entry goes last: what the firmware starts by itself
does not change.
"""

import os
import re
from typing import List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.esp import mounts
from xentpm_lib.host.boot.files import read_file
from xentpm_lib.host.paths import Paths

__all__ = ["LABEL", "add_entry", "entry_tool", "remove_entries"]

LABEL = "XenServer without measured boot"
_TOOLS = ("usr/sbin/efibootmgr", "usr/bin/efibootmgr", "sbin/efibootmgr")
_LIMIT_S = 60
_ENTRY = re.compile(r"^Boot([0-9A-Fa-f]{4})\*? +([^\t]*)(.*)")


class _Entries(NamedTuple):
    """Numbers of entries, four hex digits each.

    ``order``: as the firmware tries them; ``ours``: those with our label and file.
    """

    order: Tuple[str, ...]
    ours: Tuple[str, ...]


def entry_tool(paths: Paths) -> Optional[str]:
    """The path of this dom0's ``efibootmgr``; None where it has none."""
    return next((path for path in map(paths.at, _TOOLS) if os.access(path, os.X_OK)), None)


def add_entry(paths: Paths, tool: str, esp: str, spare: str) -> str:
    """Have exactly one entry for the image ``spare`` on ``esp``, last in the order; what was done, in words.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when the firmware does not take it; the host boots as before.
    """
    relative = os.path.relpath(spare, esp)
    before = _entries(tool, relative)
    if not before.ours:
        disk, partition = _partition(paths, esp)
        words = ["-q", "-C", "-d", disk, "-p", partition, "-L", LABEL, "-l", _firmware_path(relative)]
        _run(tool, words)  # -C: a kill before the next call leaves the order as it was
    after = _entries(tool, relative)
    if not after.ours:
        raise _failed(tool, "it was told to add an entry and there is none")
    wanted = tuple(one for one in before.order if one not in after.ours) + after.ours
    if wanted != after.order:
        _run(tool, ["-q", "-o", ",".join(wanted)])
    return "Boot{} ({})".format(after.ours[0], LABEL)


def remove_entries(tool: str, file: str) -> Tuple[str, ...]:
    """Remove the entries with our label for ``file``, below the ESP; their numbers.

    Raises:
        XenTpmError: ``XENTPM_BOOT``.
    """
    ours = _entries(tool, file).ours
    for number in ours:
        _run(tool, ["-q", "-b", number, "-B"])
    return ours


def _firmware_path(relative: str) -> str:
    return "\\" + relative.replace("/", "\\")


def _entries(tool: str, file: str) -> _Entries:
    order: Tuple[str, ...] = ()
    ours: List[str] = []
    wanted = _firmware_path(file).lower()
    for line in _run(tool, ["-v"]).splitlines():
        found = _ENTRY.match(line)
        if line.startswith("BootOrder: "):
            order = tuple(one.strip().upper() for one in line[len("BootOrder: ") :].split(","))
        elif found and found.group(2).strip() == LABEL and wanted in found.group(3).lower():
            ours.append(found.group(1).upper())
    return _Entries(order, tuple(ours))


def _partition(paths: Paths, esp: str) -> Tuple[str, str]:
    """The disk of the ESP and the number of its partition."""
    place = "/" + os.path.relpath(esp, paths.root)
    device = next((one.device for one in mounts(paths) if one.place == place), "")
    block = os.path.realpath(paths.at("sys/class/block/" + os.path.basename(device))) if device else ""
    number = (read_file(block + "/partition", 64) or b"").decode("ascii", "replace").strip()
    if not number:
        raise XenTpmError(
            "the partition of {} cannot be found out".format(place),
            "Add the boot entry with efibootmgr yourself, if you want one.",
            "XENTPM_BOOT",
        )
    return "/dev/" + os.path.basename(os.path.dirname(block)), number


def _run(tool: str, options: List[str]) -> str:
    import subprocess

    try:
        done = subprocess.run(
            [tool] + options,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            timeout=_LIMIT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _failed(tool, str(error)) from error
    if done.returncode:
        raise _failed(tool, done.stderr.decode("utf-8", "replace").strip()[-300:])
    return done.stdout.decode("utf-8", "replace")


def _failed(tool: str, reason: str) -> XenTpmError:
    return XenTpmError(
        "{}: {}".format(tool, reason),
        "The host boots without the entry; the stock image can be put back from the ESP.",
        "XENTPM_BOOT",
    )
