"""The computed boot log: what dom0 says that the boot loader must have measured.

A description is ASCII only, so that nothing in it can reorder or repaint what a person reads:
whoever makes one writes other bytes as ``\\xNN``.
"""

from typing import Any, Dict, List, NamedTuple, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import hash_by_name
from xentpm_lib.evidence.encoding import decode_hex, encode_hex
from xentpm_lib.evidence.pcr import PCR_COUNT
from xentpm_lib.evidence.strict_json import mapping, members

__all__ = ["MAX_BOOT_EVENTS", "MAX_DESCRIPTION_LENGTH", "BootEvent", "boot_log_from_json", "boot_log_to_json"]

MAX_BOOT_EVENTS = 1024
MAX_DESCRIPTION_LENGTH = 4096  # characters

_TEXT = frozenset(map(chr, range(0x20, 0x7F))) | frozenset("\t\n")


class BootEvent(NamedTuple):
    """One measurement, computed from the files that the boot loader reads.

    pcr: 0 to 23. digests: bank to digest. description: printable ASCII, tabs and newlines.
    """

    pcr: int
    digests: Dict[str, bytes]
    description: str


def boot_log_to_json(events: Tuple[BootEvent, ...]) -> List[Dict[str, Any]]:
    """The events as JSON values, encoded but not checked."""
    return [
        {
            "pcr": event.pcr,
            "digests": {bank: encode_hex(digest) for bank, digest in event.digests.items()},
            "description": event.description,
        }
        for event in events
    ]


def boot_log_from_json(value: Any, where: str) -> Tuple[BootEvent, ...]:
    """The events that JSON values stand for.

    Raises:
        FormatError: over 1,024 events, or one that is not as ``BootEvent`` says.
    """
    if not isinstance(value, list):
        raise FormatError("expected an array, got {}".format(type(value).__name__), where=where)
    if len(value) > MAX_BOOT_EVENTS:
        raise FormatError("{} events, at most {}".format(len(value), MAX_BOOT_EVENTS), where=where)
    return tuple(_event(event, "{}[{}]".format(where, number)) for number, event in enumerate(value))


def _event(value: Any, where: str) -> BootEvent:
    event = members(value, where, BootEvent._fields)
    if type(event["pcr"]) is not int or event["pcr"] >= PCR_COUNT:
        raise FormatError("expected 0 to 23", where=where + ".pcr")
    digests = _digests(event["digests"], where + ".digests")
    return BootEvent(event["pcr"], digests, _description(event["description"], where + ".description"))


def _digests(value: Any, where: str) -> Dict[str, bytes]:
    digests = {}
    for bank, digits in mapping(value, where).items():
        size = hash_by_name(bank, where).size
        digests[bank] = decode_hex(digits, "{}.{}".format(where, bank), size, size)
    return digests


def _description(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _TEXT.issuperset(value):
        raise FormatError("expected printable ASCII", where=where)
    if len(value) > MAX_DESCRIPTION_LENGTH:
        raise FormatError("{} characters, at most {}".format(len(value), MAX_DESCRIPTION_LENGTH), where=where)
    return value
