"""The menu entry that boots Xen by tboot, as text in grub.cfg.

It is added by text edit, last, because entries are chosen by their number, and between two comment lines
that find it again. A tool that writes grub.cfg anew drops it; `xentpm-boot verify` tells that, and `enable`
adds it again.
"""

import re
from typing import Iterator, List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.preconditions import refused

__all__ = [
    "Entry",
    "chosen_default",
    "default_line",
    "entry_problem",
    "entry_to_copy",
    "made_entry",
    "with_default",
    "with_entry",
    "without_entry",
]

_BEGIN = "# xentpm: begin. This entry boots by tboot; xentpm-boot disable removes it."
_END = "# xentpm: end."
_SUFFIX = "measured by tboot"
_TBOOT_ARGUMENTS = "logging=serial,memory"
_HEAD = re.compile(r"""^\s*menuentry\s+(?:'([^']*)'|"([^"]*)"|(\S+))""")
_DEFAULT = re.compile(r"""^\s*set\s+default=(["']?)([^"'\s$]*)\1\s*$""")
_XEN = re.compile(r"^(\s*)multiboot2?\s+(\S.*)$")
_MODULE = re.compile(r"^(\s*)module2?\s+(\S.*)$")
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\$\{[^}]*\}|(?:^|\s)#.*""")


class Entry(NamedTuple):
    """A menu entry at the top of the menu: its number, its title, and the lines of its body."""

    number: int
    title: str
    body: Tuple[str, ...]


def entry_to_copy(text: str) -> Entry:
    """The entry that boots by default, ours left out of account.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when there is none.
    """
    found = list(_entries(without_entry(text)))
    line = chosen_default(text)
    match = _DEFAULT.match(line)
    chosen = match.group(2) if match else "0"
    for entry in found:
        if chosen in (str(entry.number), entry.title):
            return entry
    if not found:
        raise refused("grub.cfg has no menu entry", "Look at what `xentpm-boot probe` says.")
    return found[0]


def made_entry(base: Entry, tboot: str, sinit: Optional[str]) -> str:
    """The text of the entry that boots by tboot what ``base`` boots, with the same words behind each file.

    tboot, sinit: as GRUB names the files; ``sinit`` None where the BIOS brings the module.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when ``base`` does not boot Xen with modules.
    """
    lines, indent, xen, modules = [], "\t", 0, 0  # type: List[str], str, int, int
    for line in base.body:
        program, module = _XEN.match(line), _MODULE.match(line)
        if program:
            indent, xen = program.group(1), xen + 1
            lines.append("{}multiboot2 {} {}".format(indent, tboot, _TBOOT_ARGUMENTS))
            lines.append("{}module2 {}".format(indent, program.group(2)))
        elif module:
            modules += 1
            lines.append("{}module2 {}".format(*module.groups()))
        else:
            lines.append(line)
    if xen != 1 or not modules or "tboot" in base.title:
        raise refused(
            "the entry that boots by default ({}) does not boot Xen with multiboot and modules".format(
                ascii(base.title)
            ),
            "Make the entry that boots Xen the default, then call again.",
        )
    if sinit is not None:
        lines.append("{}module2 {}".format(indent, sinit))
    title = "{} ({})".format(base.title.replace("'", ""), _SUFFIX)
    return "\n".join([_BEGIN, "menuentry '{}' {{".format(title), *lines, "}", _END]) + "\n"


def with_entry(text: str, entry: str) -> str:
    """The configuration with ``entry`` as the last one, an earlier one of ours removed."""
    text = without_entry(text)
    return text + ("" if not text or text.endswith("\n") else "\n") + entry


def without_entry(text: str) -> str:
    """The configuration without our entry, and nothing else changed."""
    first = text.find(_BEGIN + "\n")
    last = text.find(_END + "\n", first) if first >= 0 else -1
    return text if last < 0 else text[:first] + text[last + len(_END) + 1 :]


def chosen_default(text: str) -> str:
    """The last line that sets the default entry by number or title; empty where there is none."""
    return next((line for line in reversed(text.split("\n")) if _DEFAULT.match(line)), "")


def with_default(text: str, line: str) -> str:
    """The configuration with ``line`` in the place of the one that sets the default.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when there is none.
    """
    now = chosen_default(text)
    if not now:
        raise refused(
            "grub.cfg has no line set default=", "Leave out --default and choose the entry at the console."
        )
    lines = text.split("\n")
    lines[len(lines) - 1 - lines[::-1].index(now)] = line
    return "\n".join(lines)


def default_line(text: str) -> str:
    """The line that makes the last entry of ``text`` the default."""
    return 'set default="{}"'.format(list(_entries(text))[-1].number)


def entry_problem(text: str, entry: str, base: Entry) -> str:
    """Why the ``entry`` that was added to ``text`` does not stand any more; empty where it does.

    base: the entry that boots by default, of which it has to be a copy still.
    """
    if entry not in text:
        return "the entry that boots by tboot is gone, or another one"
    lines = entry.split("\n")
    for line in base.body:
        found = _XEN.match(line) or _MODULE.match(line)
        if found and "{}module2 {}".format(*found.groups()) not in lines:
            return "the entry that boots by default is another one by now than the one by tboot"
    return ""


def _entries(text: str) -> Iterator[Entry]:
    """The entries at the top of the menu; a submenu counts as one."""
    lines, at, number = text.split("\n"), 0, 0
    while at < len(lines):
        head = _HEAD.match(lines[at])
        if head or re.match(r"^\s*submenu\s", lines[at]):
            last = _end_of(lines, at)
            if head:
                title = next(part for part in head.groups() if part is not None)
                yield Entry(number, title, tuple(lines[at + 1 : last]))
            at, number = last, number + 1
        at += 1


def _end_of(lines: List[str], first: int) -> int:
    depth, begun = 0, False
    for at in range(first, len(lines)):
        plain = _QUOTED.sub("", lines[at])
        depth += plain.count("{") - plain.count("}")
        begun = begun or "{" in plain
        if begun and depth <= 0:
            return at
    raise XenTpmError(
        "the menu entry in line {} of grub.cfg does not end".format(first + 1),
        "Mend grub.cfg. Nothing was changed.",
        "XENTPM_BOOT",
    )
