"""What the measurements of GRUB are about, by what its log and the boot log say of each: files and commands.

PCR 9 has a file for each event, named by its path; PCR 8 has the commands and, behind each command that loads
something, the command line that it hands over. A name is for people; only digests are proven.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["COMMANDS_PCR", "COMMAND_LINE", "CONFIGURATION", "event_names", "event_subject", "without_kind"]

COMMANDS_PCR = 8
"""The register of GRUB's commands; its files are in the next one."""

CONFIGURATION = "boot configuration"
COMMAND_LINE = "command line of "
"""Begins what a command line is called: ``command line of Xen``."""

_COMMAND, _KERNEL, _MODULE = "grub_cmd:", "kernel_cmdline:", "module_cmdline:"
_FILES = (  # in the name of a file that a boot loader reads, and what it is then
    ("grub.cfg", CONFIGURATION),
    ("grubenv", CONFIGURATION),
    (".mod", "GRUB module"),
    ("initrd", "dom0 initrd"),
    ("initramfs", "dom0 initrd"),
    ("vmlinuz", "dom0 kernel"),
    ("sinit", "SINIT module"),
    ("tboot", "tboot"),
    ("xen", "Xen"),
)
_LOADERS = ("multiboot2", "module2", "linux", "multiboot", "module")


def event_names(texts: Iterable[str]) -> list[str]:
    """What each event of a register is about: ``dom0 initrd``, ``command line of Xen``; or empty.

    texts: of all events of the register, in order: a command line is that of the file loaded before it.
    """
    names, file = [], ""
    for text in texts:
        words = text.split()
        if text.startswith(_COMMAND):
            file = words[2] if len(words) > 2 and words[1] in _LOADERS else ""
            names.append(CONFIGURATION)
        elif text.startswith(_KERNEL):
            names.append(COMMAND_LINE + (_file_name(file) or "Xen or tboot"))
        elif text.startswith(_MODULE):
            names.append(COMMAND_LINE + (_file_name(file) or "a module"))
        else:
            names.append(_file_name(text) if text.startswith(("/", "(")) else "")
    return names


def event_subject(text: str, name: str) -> str:
    """Equal for two events that stand for the same thing in two boots, also when their words differ."""
    words = text.split()
    if not text.startswith(_COMMAND):
        kind = words[0] if text.startswith((_KERNEL, _MODULE)) else ""
        return f"{kind} {name}" if name else text
    command, first = [*words, "", ""][1:3]
    if command == "set":
        return f"{command} {first.partition('=')[0]}"
    if command == "menuentry":
        return text.partition("{")[0]
    return f"{command} {_file_name(first) or first}" if command in _LOADERS else command


def without_kind(text: str) -> str:
    """A command line without the word in front of it; ``(empty)`` when it has none."""
    return text.partition(":")[2].strip() or "(empty)"


def _file_name(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return next((what for part, what in _FILES if part in name), "")
