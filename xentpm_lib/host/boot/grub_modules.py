"""Which module of GRUB has which command, and what a module needs."""

from typing import Dict, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot.grub_syntax import boot_error

__all__ = ["COMMAND_MODULES", "dependencies", "read_terminals"]

#: command: module; those of the kernel itself and of ``normal`` are not here
COMMAND_MODULES = {
    "[": "test",
    "test": "test",
    "true": "true",
    "false": "true",
    "echo": "echo",
    "search": "search",
    "search.file": "search_fs_file",
    "search.fs_label": "search_label",
    "search.fs_uuid": "search_fs_uuid",
    "load_env": "loadenv",
    "save_env": "loadenv",
    "list_env": "loadenv",
    "source": "configfile",
    ".": "configfile",
    "configfile": "configfile",
    "multiboot": "multiboot",
    "module": "multiboot",
    "multiboot2": "multiboot2",
    "module2": "multiboot2",
    "linux": "linux",
    "initrd": "linux",
    "linuxefi": "linuxefi",
    "initrdefi": "linuxefi",
    "chainloader": "chain",
    "boot": "boot",
    "loadfont": "font",
    "background_image": "gfxterm_background",
    "serial": "serial",
    "terminal_input": "terminal",
    "terminal_output": "terminal",
    "sleep": "sleep",
    "fwsetup": "efifwsetup",
    "play": "play",
}


def dependencies(module: bytes) -> Tuple[str, ...]:
    """The modules that a module (ELF-64) needs, in the order in which GRUB loads them.

    Raises:
        XenTpmError: it is no such module.
    """
    try:
        return _dependencies(module)
    except (FormatError, ValueError, IndexError, OverflowError) as error:
        raise boot_error("a GRUB module is damaged: {}".format(error)) from error


def read_terminals(data: bytes) -> Dict[str, str]:
    """What ``terminal.lst`` says: ``i`` for input or ``o`` for output, and a terminal's name: its module."""
    pairs = [line.partition(":")[::2] for line in data.decode("latin-1").split("\n") if ":" in line]
    return {name.strip(): module.strip() for name, module in pairs}


def _dependencies(module: bytes) -> Tuple[str, ...]:
    if module[:5] != b"\x7fELF\x02":
        raise ValueError("no 64-bit ELF")
    start, size = _number(module, 0x28, 8), _number(module, 0x3A, 2)
    count, names = _number(module, 0x3C, 2), _number(module, 0x3E, 2)
    strings = _number(module, start + names * size + 0x18, 8)
    for index in range(count):
        header = start + index * size
        name = strings + _number(module, header, 4)
        if module[name : name + 9] == b".moddeps\0":
            offset, length = _number(module, header + 0x18, 8), _number(module, header + 0x20, 8)
            return tuple(
                part.decode("ascii") for part in module[offset : offset + length].split(b"\0") if part
            )
    return ()


def _number(data: bytes, offset: int, size: int) -> int:
    if offset + size > len(data):
        raise ValueError("it ends too early")
    return int.from_bytes(data[offset : offset + size], "little")
