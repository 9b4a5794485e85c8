"""What changed behind a PCR value, in words: from the logs, where they lead to the values, and only then."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import parse_event_log
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.findings import Finding
from xentpm_lib.verifier.records import ReferenceValues
from xentpm_lib.verifier.reference.diff import EventChange, event_changes
from xentpm_lib.verifier.reference.event_text import event_line
from xentpm_lib.verifier.reference.measured import Register, measurements
from xentpm_lib.verifier.reference.words import change_lines

__all__ = ["Shown", "changed_register", "event_at"]

_WHERE = re.compile(r"([a-z0-9_]+):([0-9]{1,2})")
_EVENT = re.compile(r"event_log\[([0-9]{1,5})\]")
_NO_LOG = (
    "No log tells which part of it changed: most Xen hosts have none."
    " Compare the host's files with those of a good host."
)
_CONFIGURATION = "boot configuration"
_FILES = (  # in the name of a file that a boot loader reads, and what it is then
    ("grub.cfg", _CONFIGURATION),
    ("initrd", "dom0 initrd"),
    ("initramfs", "dom0 initrd"),
    ("vmlinuz", "dom0 kernel"),
    ("tboot", "tboot"),
    ("xen", "Xen"),
)
_COMMAND_LINE = "command line of "
_LINES = ("kernel_cmdline:", "module_cmdline:")  # what GRUB's log calls the two kinds
_LOADERS = ("multiboot2", "module2", "linux", "multiboot", "module")
_GRUB_COMMANDS, _GRUB_FILES = 8, 9


class Shown(Protocol):
    """What a host has shown: ``VerifiedEvidence`` is that."""

    @property
    def pcrs(self) -> PcrValues:
        """The signed values."""

    @property
    def event_log(self) -> bytes | None:
        """The firmware's log, not proven."""

    @property
    def boot_log(self) -> tuple[BootEvent, ...] | None:
        """The computed log, not proven."""


def changed_register(
    found: Finding, shown: Shown | None, references: Sequence[ReferenceValues], logs: Mapping[str, bytes]
) -> tuple[list[str], str]:
    """What the logs tell of a PCR_CHANGED: sentences, and the component if they narrow it down, else "".

    references: of the host. logs: SHA-256, hex, to the firmware event logs that they name.
    """
    match = _WHERE.fullmatch(found.where)
    if match is None:
        return [], ""
    register = match.group(1), int(match.group(2))
    reference = _compared(found, register, references)
    if shown is None or reference is None:
        return [_NO_LOG], ""
    before = measurements(reference.pcrs, logs.get(reference.event_log), reference.boot_log)
    after = measurements(shown.pcrs, shown.event_log, shown.boot_log)
    if register not in before or register not in after:
        return [_NO_LOG], ""
    changes = event_changes(before[register], after[register])
    return change_lines(changes), _narrowed(register[1], changes)


def _compared(
    found: Finding, register: Register, references: Sequence[ReferenceValues]
) -> ReferenceValues | None:
    """The newest reference whose value is the expected one."""
    bank, pcr = register
    fitting = [one for one in references if one.pcrs.get(bank, {}).get(pcr, b"").hex() == found.expected]
    return max(fitting, key=lambda one: (one.retired_at is None, one.created_at), default=None)


def _narrowed(pcr: int, changes: Sequence[EventChange]) -> str:
    """What the changed files and commands are, where their names tell; empty where one does not.

    The name is the one from the known-good boot, where there is one: the other is a claim of the host.
    """
    texts = [event.text for event in (one.a or one.b for one in changes) if event is not None]
    if pcr == _GRUB_FILES:
        names = [_file_name(text) for text in texts]
    elif pcr == _GRUB_COMMANDS:
        names = [_command_name(text, before) for text, before in zip(texts, ["", *texts], strict=False)]
        if any(name.startswith(_COMMAND_LINE) for name in names):  # then the menu entry is another, too
            names = [name for name in names if name != _CONFIGURATION]
    else:
        names = [""]
    return ", ".join(dict.fromkeys(names)) if all(names) else ""


def _file_name(path: str) -> str:
    name = path.rpartition("/")[2]
    return next((what for part, what in _FILES if part in name), "")


def _command_name(text: str, before: str) -> str:
    """What a GRUB command is about. before: the changed event before it, the command with the file's name."""
    if not text.startswith(_LINES):
        return _CONFIGURATION if text.startswith("grub_cmd:") else ""
    words = before.split()
    file = _file_name(words[2]) if len(words) > 2 and words[1] in _LOADERS else ""
    return _COMMAND_LINE + (file or ("Xen or tboot" if text.startswith(_LINES[0]) else "a module"))


def event_at(where: str, shown: Shown) -> str:
    """The event that a finding at ``event_log[N]`` is about, in words; empty for another place."""
    match = _EVENT.fullmatch(where)
    if match is None or shown.event_log is None:
        return ""
    try:
        events = parse_event_log(shown.event_log).events
    except FormatError:
        return ""
    number = int(match.group(1))
    return f"PCR {events[number].pcr}, {event_line(events[number])}" if number < len(events) else ""
