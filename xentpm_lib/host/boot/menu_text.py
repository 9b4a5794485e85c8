"""A look at the text of a grub.cfg: what its default entry boots.

This is a look, no interpretation: conditions and functions are passed over. What GRUB will really run, and
measure, is computed elsewhere.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Tuple

__all__ = ["MenuEntry", "default_entry", "menu_entries"]

_MAX_ENTRIES = 200
_TITLE = re.compile(r"""\s*(?:menuentry|submenu)\s+(?:'([^']*)'|"([^"]*)"|(\S+))""")
_DEFAULT = re.compile(r"""\s*(?:set\s+)?default=(?:"([^"]*)"|'([^']*)'|([^"'\s]*))\s*$""")
_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
_LOADERS = ("multiboot2", "multiboot", "xen_hypervisor", "chainloader", "linux", "linuxefi")
_MODULES = ("module2", "module", "xen_module", "initrd", "initrdefi")


class MenuEntry(NamedTuple):
    """An entry of GRUB's menu: the first program that it loads, and the modules behind it.

    loader: the command that loads the program: ``multiboot2``, ``chainloader``, ``linux``, …
    program, modules: each a file as GRUB names it, and the words after it.
    """

    title: str
    loader: str
    program: Tuple[str, str]
    modules: Tuple[Tuple[str, str], ...]

    @property
    def is_tboot(self) -> bool:
        """Whether tboot is loaded first, and Xen after it."""
        return "tboot" in self.program[0].rpartition("/")[2]

    @property
    def xen(self) -> Optional[str]:
        """The file of Xen; None where the entry boots something else."""
        file = self._from_xen()[0][0] if self._from_xen() else ""
        return file if "xen" in file.rpartition("/")[2].lower() else None

    @property
    def kernel(self) -> Optional[str]:
        """The file of the kernel, dom0's where there is a Xen; None where GRUB does not load it."""
        return self._module(1)

    @property
    def initrd(self) -> Optional[str]:
        """The file of the initrd, dom0's where there is a Xen; None where GRUB does not load it."""
        return self._module(2)

    def _from_xen(self) -> Tuple[Tuple[str, str], ...]:
        return self.modules if self.is_tboot else (self.program,) + self.modules

    def _module(self, index: int) -> Optional[str]:
        files = self._from_xen()
        index -= self.xen is None  # without Xen the kernel goes first
        return files[index][0] if index < len(files) and files[index][0] else None


def menu_entries(text: str) -> List[MenuEntry]:
    """The entries at the top of the menu. A submenu counts as one; what it loads is that of its first."""
    entries: List[MenuEntry] = []
    depth, title, body = 0, "", []  # type: Tuple[int, str, List[str]]
    for line in text.splitlines():
        stripped = line.strip()
        head = _TITLE.match(line)
        if head and depth == 0 and stripped.endswith("{"):
            depth, title, body = 1, next(group for group in head.groups() if group is not None), []
        elif depth:
            depth += stripped.endswith("{") - (stripped == "}")
            body.append(stripped)
            if depth == 0 and len(entries) < _MAX_ENTRIES:
                entries.append(_entry(title, body))
    return entries


def default_entry(text: str) -> Optional[MenuEntry]:
    """The entry that ``set default=`` names by number or title, else the first; None in an empty menu."""
    entries = menu_entries(text)
    found = [match.groups() for match in map(_DEFAULT.match, text.splitlines()) if match]
    settings = [next(part for part in parts if part is not None) for parts in found]
    named = [word for word in settings if "$" not in word]  # the others are for one boot, by grubenv
    wanted = named[-1] if named else "0"
    by_title: Dict[str, MenuEntry] = {entry.title: entry for entry in reversed(entries)}
    if wanted in by_title:
        return by_title[wanted]
    index = int(wanted) if wanted.isdigit() and len(wanted) < 4 else 0
    return entries[index] if index < len(entries) else entries[0] if entries else None


def _entry(title: str, body: List[str]) -> MenuEntry:
    loader, program = "", ("", "")
    modules: List[Tuple[str, str]] = []
    for line in body:
        words = [word for word in _WORD.findall(line) if not word.startswith("--")]
        if len(words) < 2:
            continue
        file = words[1].strip("\"'").rpartition(")")[2], " ".join(words[2:])
        if words[0] in _LOADERS and not loader:
            loader, program = words[0], file
        elif words[0] in _MODULES:
            modules.append(file)
    return MenuEntry(title, loader, program, tuple(modules))
