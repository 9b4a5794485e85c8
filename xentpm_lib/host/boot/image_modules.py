"""Which GRUB modules a measuring image needs: those of the stock image, ``tpm``, and what grub.cfg asks for.

What is not inside the image would be loaded from the disk later, which works only where the module folder
of the same GRUB lies at the image's prefix: on a XenServer's ESP there is none.
"""

import os
import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot import durable
from xentpm_lib.host.boot.files import read_file
from xentpm_lib.host.paths import Paths

__all__ = ["MEASURING", "Wanted", "statements", "wanted_modules"]

MEASURING = "tpm"
_ALWAYS = (MEASURING, "normal", "part_gpt", "part_msdos", "fat", "search")
#: command: module, for a folder without command.lst
_COMMANDS = {
    "[": "test",
    "chainloader": "chain",
    "configfile": "configfile",
    "echo": "echo",
    "halt": "halt",
    "initrd": "linux",
    "linux": "linux",
    "load_env": "loadenv",
    "module": "multiboot",
    "module2": "multiboot2",
    "multiboot": "multiboot",
    "multiboot2": "multiboot2",
    "reboot": "reboot",
    "save_env": "loadenv",
    "search": "search",
    "serial": "serial",
    "set": "",
    "sleep": "sleep",
    "terminal_input": "terminal",
    "terminal_output": "terminal",
    "test": "test",
}
_SEARCHES = {
    "--label": "search_label",
    "-l": "search_label",
    "--fs-uuid": "search_fs_uuid",
    "-u": "search_fs_uuid",
    "--file": "search_fs_file",
    "-f": "search_fs_file",
}
_FILE_SYSTEMS = {
    "btrfs": "btrfs",
    "ext2": "ext2",
    "ext3": "ext2",
    "ext4": "ext2",
    "vfat": "fat",
    "xfs": "xfs",
}
_COMPRESSED = ((b"\x1f\x8b", "gzio"), (b"\xfd7zXZ\0", "xzio"), (b"\x28\xb5\x2f\xfd", "zstdio"))
_WORD = re.compile(r"^(?:(?:if|elif|then|else|while|until|do|!|\{)\s+)*([A-Za-z_\[][\w-]*)(?=\s|$)")
_MAXIMUM_BYTES = 1 << 20


class Wanted(NamedTuple):
    """``modules``: names, each once. ``added``: those of them that the stock image does not have."""

    modules: Tuple[str, ...]
    added: Tuple[str, ...]


def wanted_modules(paths: Paths, folder: str, stock: Tuple[str, ...], config: Optional[str]) -> Wanted:
    """The modules for an image that boots by the grub.cfg at ``config`` with the modules in ``folder``.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` naming the modules that ``folder`` does not have.
    """
    names: List[str] = list(stock)
    names += _ALWAYS
    if config is not None:
        text = durable.read(config, _MAXIMUM_BYTES).decode("utf-8", "replace")
        names += _of_config(text, folder)
        names += _of_compressed(paths, text)
    names += _of_mounts(paths)
    modules = tuple(dict.fromkeys(names))
    missing = [name for name in modules if not os.path.isfile(_module(folder, name))]
    if missing:
        raise XenTpmError(
            "{} lacks modules that this host's boot needs: {}".format(folder, ", ".join(missing)),
            "Install the host's own GRUB modules (the package grub-efi-modules or the like). "
            "Nothing was changed.",
            "XENTPM_BOOT",
        )
    return Wanted(modules, tuple(name for name in modules if name not in stock))


def statements(text: str) -> Iterator[str]:
    """The commands of a grub.cfg, one after the other, comments and continuation lines resolved."""
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield from re.split(r"\s*(?:;|&&|\|\|)\s*", stripped)


def _of_config(text: str, folder: str) -> Iterator[str]:
    commands = _commands(folder)
    for statement in statements(text):
        found = _WORD.match(statement)
        word, words = found.group(1) if found else "", statement.split()
        if word == "insmod":  # one that is not there is skipped by GRUB too
            yield from (name for name in words[1:] if _has(folder, name))
        elif commands.get(word):
            yield commands[word]
        if word == "search":
            options = [one.partition("=")[0] for one in words]
            yield from (module for option, module in _SEARCHES.items() if option in options)
        if word.startswith("terminal") and "serial" in words:
            yield "serial"


def _has(folder: str, name: str) -> bool:
    return re.match(r"^[A-Za-z0-9_]+$", name) is not None and os.path.isfile(_module(folder, name))


def _module(folder: str, name: str) -> str:
    return os.path.join(folder, name + ".mod")


def _commands(folder: str) -> Dict[str, str]:
    """Which module has which command, as GRUB's own list beside its modules says; else as we know it."""
    data = read_file(os.path.join(folder, "command.lst"), _MAXIMUM_BYTES)
    if data is None:
        return _COMMANDS
    pairs = (line.lstrip("*").partition(": ") for line in data.decode("ascii", "replace").splitlines())
    return dict(_COMMANDS, **{name: module.strip() for name, _, module in pairs if module})


def _of_compressed(paths: Paths, text: str) -> Iterator[str]:
    """The decompressor of every file that is loaded compressed: GRUB reads Xen's header, not gzip's."""
    for statement in statements(text):
        words = statement.split()
        if len(words) > 1 and words[0] in ("multiboot", "multiboot2", "module", "module2"):
            for name in words[1:]:
                if name.startswith("/"):
                    yield from _decompressor(paths, name)
                    break


def _decompressor(paths: Paths, name: str) -> Iterator[str]:
    for place in (name.lstrip("/"), "boot" + name):
        try:
            with open(paths.at(place), "rb") as file:
                head = file.read(8)
        except OSError:
            continue
        yield from (module for magic, module in _COMPRESSED if head.startswith(magic))
        return


def _of_mounts(paths: Paths) -> Iterator[str]:
    """The file systems of / and /boot, and what is below them."""
    table = (read_file(paths.at("proc/mounts"), _MAXIMUM_BYTES) or b"").decode("utf-8", "replace")
    for fields in map(str.split, table.splitlines()):
        if len(fields) > 2 and fields[1] in ("/", "/boot") and fields[0].startswith("/dev/"):
            if fields[2] in _FILE_SYSTEMS:
                yield _FILE_SYSTEMS[fields[2]]
            if fields[0].startswith("/dev/md"):
                yield from ("mdraid09", "mdraid1x")
            elif fields[0].startswith("/dev/mapper/"):
                yield "lvm"
