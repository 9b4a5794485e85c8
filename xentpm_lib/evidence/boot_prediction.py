"""The boot prediction document, version 1: what a host's boot loader will measure at the next boot, as JSON.

Computed by dom0 from the files that are on its disk now, and signed by nobody: whoever makes reference values
of it says that he trusts the host at that moment, and what was put on it.
"""

import json
from typing import Any, NamedTuple, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.boot_log import BootEvent, boot_log_from_json, boot_log_to_json
from xentpm_lib.evidence.encoding import check_created, check_uuid
from xentpm_lib.evidence.strict_json import Limits, load_json, members

__all__ = ["MAX_NOTES", "MAX_NOTE_LENGTH", "PREDICTION_LIMITS", "PREDICTION_VERSION", "BootPrediction"]

PREDICTION_VERSION = 1
PREDICTION_LIMITS = Limits(length=4 * 1024 * 1024, depth=4, tokens=64 * 1024)
MAX_NOTES = 64
MAX_NOTE_LENGTH = 500  # characters

_TOP = ("version", "host_uuid", "created", "entry", "boot_log", "notes")
_TEXT = frozenset(map(chr, range(0x20, 0x7F)))


class BootPrediction(NamedTuple):
    """What the next boot's PCR 8 and 9 will be made of, if nothing changes any more.

    untrusted_host_uuid: XAPI's UUID of the host, lower case. untrusted_created: by dom0's clock.
    untrusted_entry: the title of the menu entry that boots.
    untrusted_boot_log: every event, in order; replaying them from zeros gives the final values.
    untrusted_notes: what has been assumed, a sentence each; empty where nothing had to be.
    """

    untrusted_host_uuid: str
    untrusted_created: str
    untrusted_entry: str
    untrusted_boot_log: Tuple[BootEvent, ...]
    untrusted_notes: Tuple[str, ...] = ()

    def to_json(self) -> str:
        """The document: ASCII, on one line, members in a fixed order.

        Raises:
            FormatError: ``from_json`` would not read the same prediction back.
        """
        values = (
            PREDICTION_VERSION,
            self.untrusted_host_uuid,
            self.untrusted_created,
            self.untrusted_entry,
            boot_log_to_json(self.untrusted_boot_log),
            list(self.untrusted_notes),
        )
        text = json.dumps(dict(zip(_TOP, values)), separators=(",", ":"))
        if BootPrediction.from_json(text) != self:
            raise FormatError("it cannot be written: it would not read back the same", where="prediction")
        return text

    @classmethod
    def from_json(cls, text: str) -> "BootPrediction":
        """Parse a document.

        Raises:
            FormatError: another version, a member missing, unknown or twice, no event at all, a value that
                is not as documented, or over a limit.
        """
        top = members(load_json(text, "prediction", PREDICTION_LIMITS), "prediction", _TOP)
        if type(top["version"]) is not int or top["version"] != PREDICTION_VERSION:
            raise FormatError("expected {}".format(PREDICTION_VERSION), where="version")
        boot_log = boot_log_from_json(top["boot_log"], "boot_log")
        if not boot_log:
            raise FormatError("there is no event", where="boot_log")
        return cls(
            untrusted_host_uuid=check_uuid(top["host_uuid"], "host_uuid"),
            untrusted_created=check_created(top["created"], "created"),
            untrusted_entry=_line(top["entry"], "entry"),
            untrusted_boot_log=boot_log,
            untrusted_notes=_notes(top["notes"]),
        )


def _notes(value: Any) -> Tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_NOTES:
        raise FormatError("expected an array of at most {}".format(MAX_NOTES), where="notes")
    return tuple(_line(note, "notes[{}]".format(number)) for number, note in enumerate(value))


def _line(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _TEXT.issuperset(value) or not len(value) <= MAX_NOTE_LENGTH:
        raise FormatError("expected printable ASCII, at most {}".format(MAX_NOTE_LENGTH), where=where)
    return value
