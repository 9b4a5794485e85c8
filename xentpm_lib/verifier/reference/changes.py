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
from xentpm_lib.verifier.reference.grub_names import COMMAND_LINE, CONFIGURATION
from xentpm_lib.verifier.reference.measured import Register, claimed_events, measurements
from xentpm_lib.verifier.reference.words import change_lines

__all__ = ["Shown", "changed_register", "changed_since_boot", "event_at"]

_WHERE = re.compile(r"([a-z0-9_]+):([0-9]{1,2})")
_EVENT = re.compile(r"event_log\[([0-9]{1,5})\]")
_NO_LOG = (
    "No log tells which part of it changed: most Xen hosts have none."
    " Compare the host's files with those of a good host."
)
_GRUB_COMMANDS, _GRUB_FILES = 8, 9
_NO_LOG_SINCE = "No log of this boot tells which: compare the files' dates."
_ON_DISK = "By the host's own word, since this boot:"


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
    register = _register(found)
    if register is None:
        return [], ""
    reference = _compared(found, register, references)
    if shown is None or reference is None:
        return [_NO_LOG], ""
    before = measurements(reference.pcrs, logs.get(reference.event_log), reference.boot_log)
    after = measurements(shown.pcrs, shown.event_log, shown.boot_log)
    if register not in before or register not in after:
        return [_NO_LOG], ""
    changes = event_changes(before[register], after[register])
    return change_lines(changes, register[1]), _narrowed(register[1], changes)


def changed_since_boot(
    found: Finding, shown: Shown | None, references: Sequence[ReferenceValues], logs: Mapping[str, bytes]
) -> tuple[list[str], str]:
    """What a BOOT_LOG_MISMATCH is about, as ``changed_register``: the host's files beside what it booted.

    What it booted is known by a log that leads to the signed value, of the host or of a reference. What its
    files are now is its own word.
    """
    register = _register(found)
    if register is None or shown is None or shown.boot_log is None:
        return [], ""
    before = measurements(shown.pcrs, shown.event_log)
    reference = _compared(found, register, references)
    if register not in before and reference is not None:
        before = measurements(reference.pcrs, logs.get(reference.event_log), reference.boot_log)
    if register not in before:
        return [_NO_LOG_SINCE], ""
    changes = event_changes(before[register], claimed_events(register, shown.boot_log))
    return [_ON_DISK, *change_lines(changes, register[1])], _narrowed(register[1], changes)


def _register(found: Finding) -> Register | None:
    match = _WHERE.fullmatch(found.where)
    return None if match is None else (match.group(1), int(match.group(2)))


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
    names = [one.what for one in changes] if pcr in (_GRUB_COMMANDS, _GRUB_FILES) else [""]
    if any(name.startswith(COMMAND_LINE) for name in names):  # then the menu entry is another, too
        names = [name for name in names if name != CONFIGURATION]
    return ", ".join(dict.fromkeys(names)) if all(names) else ""


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
