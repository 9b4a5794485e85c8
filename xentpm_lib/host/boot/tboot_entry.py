"""The menu entry that boots Xen by tboot, as text in grub.cfg.

It is added by text edit, last, because entries are chosen by their number, and between two comment lines
that find it again. A tool that writes grub.cfg anew drops it; `xentpm-boot verify` tells that, and `enable`
adds it again.
"""

import re
from typing import Iterator, List, Match, NamedTuple, Optional, Tuple

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
_DEFAULT = re.compile(r"""^\s*(?:set\s+)?default=(?:"([^"$]*)"|'([^']*)'|([^"'\s$]*))\s*$""")
_REST = re.compile(r"^\s*((?:\$\{\w+\}|[^{}])*?)\s*\{\s*(?:#.*)?$")
_WORDS = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+""")
_OWN_OPTIONS = ("--id", "--hotkey", "$menuentry_id_option", "${menuentry_id_option}")  # and the word behind
_BLOCK = re.compile(r"(?:^|;|\bthen\b|\belse\b|\bdo\b)\s*(if|for|while|until|fi|done)\b")
_SOURCE = re.compile(r"(?:^|;|\bthen\b|\belse\b|\bdo\b)\s*(?:source|\.)\s")
_FUNCTION = re.compile(r"^\s*function\s")
_XEN = re.compile(r"^(\s*)multiboot2?\s+(\S.*)$")
_MODULE = re.compile(r"^(\s*)module2?\s+(\S.*)$")
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\$\{[^}]*\}|(?:^|\s)#.*""")


class Entry(NamedTuple):
    """A menu entry at the top of the menu: its number, its title, and the lines of its body.

    options: the words behind the title that a copy may have too; None where they cannot be read.
    name: what ``--id`` gives it; empty where there is none.
    """

    number: int
    title: str
    body: Tuple[str, ...]
    options: Optional[str] = ""
    name: str = ""


def entry_to_copy(text: str) -> Entry:
    """The entry that boots by default; ``text`` is without ours.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when there is none, or it cannot be told which.
    """
    found = list(_entries(text))
    if not found:
        raise refused("grub.cfg has no menu entry", "Look at what `xentpm-boot probe` says.")
    line = chosen_default(text)
    match = _DEFAULT.match(line)
    chosen = next((part for part in match.groups() if part is not None), "") if match else ""
    for entry in found:
        if chosen and chosen in (entry.title, entry.name):
            return entry
    number = int(chosen) if chosen.isdigit() and len(chosen) < 4 else 0
    if ">" in chosen or not _is_counted(text, number):
        raise refused(
            "it cannot be told which entry of grub.cfg boots by default",
            "Have grub.cfg name it by its title: set default='TITLE'.",
        )
    return next((entry for entry in found if entry.number == number), found[0])


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
    if base.options is None:
        raise refused(
            "the first line of the menu entry {} cannot be copied".format(ascii(base.title)),
            "End that line of grub.cfg with its {.",
        )
    if sinit is not None:
        lines.append("{}module2 {}".format(indent, sinit))
    title = "{} ({})".format(base.title.replace("'", ""), _SUFFIX)
    head = " ".join(filter(None, ("menuentry '{}'".format(title), base.options, "{")))
    return "\n".join([_BEGIN, head, *lines, "}", _END]) + "\n"


def with_entry(text: str, entry: str) -> str:
    """The configuration with ``entry`` as the last one, an earlier one of ours removed."""
    text = without_entry(text)
    return text + ("" if not text or text.endswith("\n") else "\n") + entry


def without_entry(text: str, entry: str = "") -> str:
    """The configuration without our entry, and nothing else changed.

    entry: the text of it that was added; by that it is found as well when one of its comment lines is lost.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when what is left of ours cannot be told from what is others'.
    """
    lines = text.split("\n")
    ours = entry.split("\n")[:-1]
    for known in filter(None, (ours, ours[:-1], ours[1:])):
        for at in range(len(lines) - len(known) + 1):
            if lines[at : at + len(known)] == known:
                del lines[at : at + len(known)]
                break
    while _BEGIN in lines:
        first = lines.index(_BEGIN)
        last = _end_of(lines, first + 1) + 1 if _is_ours(lines[first + 1 : first + 2]) else len(lines)
        if lines[last : last + 1] != [_END]:
            break
        del lines[first : last + 1]
    if _BEGIN in lines or _END in lines:
        raise refused(
            "grub.cfg was changed at our entry: the comment lines that begin with '# xentpm:' are not around "
            "it any more",
            "Remove these lines and the entry '({})' from grub.cfg, then call again.".format(_SUFFIX),
        )
    return "\n".join(lines)


def _is_ours(lines: List[str]) -> bool:
    head = _HEAD.match(lines[0]) if lines else None
    return head is not None and _title(head).endswith("({})".format(_SUFFIX))


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
    """The line that makes the last entry of ``text`` the default.

    Raises:
        XenTpmError: ``XENTPM_BOOT`` when its number is not the same at each boot.
    """
    number = list(_entries(text))[-1].number
    if not _is_counted(text, number):
        raise refused(
            "grub.cfg has entries that are not in every menu (inside an if, or of another file), so ours has "
            "no fixed number",
            "Leave out --default and choose the entry at the console.",
        )
    return 'set default="{}"'.format(number)


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
    """The entries at the top of the menu, but for submenus, which count."""
    return (entry for entry, _ in _places(text) if entry is not None)


def _is_counted(text: str, number: int) -> bool:
    """Whether the entry with this number has that number at every boot, as far as the text tells."""
    return all(sure for _, sure in list(_places(text))[: number + 1])


def _places(text: str) -> Iterator[Tuple[Optional[Entry], bool]]:
    """Each place of the menu, a submenu's without an entry, and whether all before and this one are there."""
    lines, at, number, depth, sure = text.split("\n"), 0, 0, 0, True
    while at < len(lines):
        head = _HEAD.match(lines[at])
        if head or re.match(r"^\s*submenu\s", lines[at]):
            last, sure = _end_of(lines, at), sure and depth == 0
            yield (_entry(number, head, lines[at + 1 : last]) if head else None), sure
            at, number = last, number + 1
        elif _FUNCTION.match(lines[at]):
            at = _end_of(lines, at)
        else:
            plain = _QUOTED.sub("", lines[at])
            depth += sum(-1 if word in ("fi", "done") else 1 for word in _BLOCK.findall(plain))
            sure = sure and _SOURCE.search(plain) is None
        at += 1


def _entry(number: int, head: Match[str], body: List[str]) -> Entry:
    rest = _REST.match(head.string[head.end() :])
    words = _WORDS.findall(rest.group(1)) if rest else []
    kept, name = [], ""
    while words:
        word = words.pop(0)
        if word in _OWN_OPTIONS:
            value = words.pop(0).strip("'\"") if words else ""
            name = name if word == "--hotkey" else value
        elif word.startswith("--id="):
            name = word[len("--id=") :].strip("'\"")
        elif not word.startswith("--hotkey="):
            kept.append(word)
    return Entry(number, _title(head), tuple(body), " ".join(kept) if rest else None, name)


def _title(head: Match[str]) -> str:
    return next(part for part in head.groups() if part is not None)


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
