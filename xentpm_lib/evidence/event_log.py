"""The TCG event log: what firmware and boot loader say they extended into the PCRs.

A log proves nothing by itself. Only where a replay gives the PCR values of a verified quote is it
known that these digests, in this order, were extended; even then ``data`` and ``type`` of an event
are a claim, unless the digest is known to be the digest of the data.

Two forms: crypto-agile, where a header event tells the banks and their digests' sizes and each
event carries a digest for every bank; and the older one with SHA-1 digests only.

Spec: TCG PC Client Platform Firmware Profile, Event Logging.
"""

import struct
from typing import Dict, Iterator, List, NamedTuple, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.event_log_header import SPEC_ID, bank_id, pack_spec_id, read_spec_id
from xentpm_lib.evidence.event_types import EV_NO_ACTION, event_type_name
from xentpm_lib.evidence.pcr import PCR_COUNT, replay, start_values
from xentpm_lib.evidence.wire import Reader, pack_u16, pack_u32

__all__ = [
    "MAX_EVENTS",
    "MAX_EVENT_LOG_SIZE",
    "Event",
    "EventLog",
    "build_event_log",
    "parse_event_log",
]

MAX_EVENT_LOG_SIZE = 2 * 1024 * 1024  # bytes; a server has 20 to 300 KiB
MAX_EVENTS = 8192  # a booted server has 50 to 500

_LOCALITY_SIGNATURE = b"StartupLocality\0"
_SHA1_ONLY = {"sha1": 20}
_HEAD = struct.Struct("<III")  # of a TCG_PCR_EVENT2: register, type, number of digests
_COUNT_OFFSET = 8  # bytes into it


class Event(NamedTuple):
    """One event.

    pcr: the register, 0 to 23; any number where ``type`` is EV_NO_ACTION, which extends nothing.
    digests: bank to digest. A bank unknown here is named by its identifier: ``0x00ab``.
    """

    pcr: int
    type: int
    digests: Dict[str, bytes]
    data: bytes

    def type_name(self) -> str:
        """``EV_SEPARATOR``; an unknown type as ``0x0000abcd``."""
        return event_type_name(self.type)


class EventLog(NamedTuple):
    """A parsed log. Untrusted until a replay of it matches a verified quote.

    banks: bank to digest size in bytes, as the log's header gives them.
    events: in order, without the header.
    crypto_agile: False for the older form, whose only bank is ``sha1``.
    """

    banks: Dict[str, int]
    events: Tuple[Event, ...]
    crypto_agile: bool = True

    def extensions(self, bank: str) -> Iterator[Tuple[int, bytes]]:
        """(register, digest) of each event that extended ``bank``, in order.

        Raises:
            FormatError: an event has no digest for the bank.
        """
        for number, event in enumerate(self.events):
            if event.type == EV_NO_ACTION:
                continue
            if bank not in event.digests:
                raise FormatError("no {} digest".format(bank), where="events[{}]".format(number))
            yield event.pcr, event.digests[bank]

    def startup_locality(self) -> int:
        """The locality that the TPM was started from, which PCR 0 starts with: 0, 3 or 4.

        Raises:
            FormatError: the log says it twice, or another one.
        """
        stated = [
            event.data[len(_LOCALITY_SIGNATURE) :]
            for event in self.events
            if event.type == EV_NO_ACTION and event.data.startswith(_LOCALITY_SIGNATURE)
        ]
        if not stated:
            return 0
        if len(stated) > 1 or stated[0] not in (b"\0", b"\3", b"\4"):
            raise FormatError("the startup locality is stated twice or impossible", where="events")
        return stated[0][0]

    def replay(self, bank: str, dynamic_launch: bool = False) -> Dict[int, bytes]:
        """What the 24 registers of ``bank`` hold if the log is true.

        dynamic_launch: registers 17 to 22 start as zeros, not as FF.

        Raises:
            FormatError: a bank unknown here, or an event without a digest for it.
        """
        start = start_values(bank, self.startup_locality(), dynamic_launch)
        return replay(bank, self.extensions(bank), start)


def parse_event_log(data: bytes) -> EventLog:
    """Parse a log of either form, to the last byte.

    Raises:
        FormatError: empty, truncated, over 2 MiB or 8,192 events, a bank that the header does
            not declare, a register over 23.
    """
    if len(data) > MAX_EVENT_LOG_SIZE:
        message = "an event log of {} bytes, at most {}".format(len(data), MAX_EVENT_LOG_SIZE)
        raise FormatError(message, where="event_log")
    reader = Reader(data, "event log", "little")
    first = _read_sha1_event(reader)
    if first.type != EV_NO_ACTION or not first.data.startswith(SPEC_ID):
        return EventLog(dict(_SHA1_ONLY), (first,) + _read_sha1_events(reader), crypto_agile=False)
    if first != _header(first.data):
        raise reader.error("the header event is not in PCR 0 or has a digest", 0)
    banks = read_spec_id(first.data)
    return EventLog(dict(banks.values()), _read_events(reader, banks))


def build_event_log(log: EventLog) -> bytes:
    """Write a log, with a header in front when it is crypto-agile.

    Raises:
        FormatError: ``parse_event_log`` would not read the same log back.
    """
    if log.crypto_agile:
        header = _pack_sha1_event(_header(pack_spec_id(log.banks)))
        data = header + b"".join(_pack_event(event) for event in log.events)
    else:
        data = b"".join(_pack_sha1_event(event) for event in log.events)
    if parse_event_log(data) != log:
        raise FormatError("this log cannot be written: it would not read back the same", where="event_log")
    return data


def _header(spec_id: bytes) -> Event:
    return Event(0, EV_NO_ACTION, {"sha1": bytes(_SHA1_ONLY["sha1"])}, spec_id)


def _read_sha1_events(reader: Reader) -> Tuple[Event, ...]:
    events: List[Event] = []
    while reader.remaining:
        _check_count(reader, len(events) + 1)
        events.append(_read_sha1_event(reader))
    return tuple(events)


def _read_events(reader: Reader, banks: Dict[int, Tuple[str, int]]) -> Tuple[Event, ...]:
    events: List[Event] = []
    while reader.remaining:
        _check_count(reader, len(events))
        events.append(_read_event(reader, banks))
    return tuple(events)


def _check_count(reader: Reader, count: int) -> None:
    if count >= MAX_EVENTS:
        raise reader.error("over {} events".format(MAX_EVENTS), reader.offset)


def _read_sha1_event(reader: Reader) -> Event:
    """TCG_PCClientPCREvent: register, type, SHA-1 digest, data."""
    pcr, kind = _read_event_head(reader)
    return Event(pcr, kind, {"sha1": reader.take(_SHA1_ONLY["sha1"])}, reader.take(reader.u32()))


def _read_event(reader: Reader, banks: Dict[int, Tuple[str, int]]) -> Event:
    """TCG_PCR_EVENT2: register, type, digests, data."""
    start = reader.offset
    if reader.remaining < _HEAD.size:  # one by one, to tell which is cut off
        pcr, kind, count = *_read_event_head(reader), reader.u32()
    else:
        pcr, kind, count = _HEAD.unpack(reader.take(_HEAD.size))
    _check_register(reader, pcr, kind, start)
    if count > len(banks):
        message = "{} digests, the header declares {}".format(count, len(banks))
        raise reader.error(message, start + _COUNT_OFFSET)
    digests: Dict[str, bytes] = {}
    for _ in range(count):
        start = reader.offset
        name, size = banks.get(reader.u16(), ("", 0))
        if not name or name in digests:
            raise reader.error("a digest of an undeclared or repeated algorithm", start)
        digests[name] = reader.take(size)
    return Event(pcr, kind, digests, reader.take(reader.u32()))


def _read_event_head(reader: Reader) -> Tuple[int, int]:
    start = reader.offset
    pcr, kind = reader.u32(), reader.u32()
    _check_register(reader, pcr, kind, start)
    return pcr, kind


def _check_register(reader: Reader, pcr: int, kind: int, start: int) -> None:
    if pcr >= PCR_COUNT and kind != EV_NO_ACTION:
        raise reader.error("there is no PCR {}".format(pcr), start)


def _pack_sha1_event(event: Event) -> bytes:
    return _pack_event_head(event) + event.digests.get("sha1", b"") + _pack_data(event.data)


def _pack_event(event: Event) -> bytes:
    digests = b"".join(pack_u16(bank_id(bank), "little") + digest for bank, digest in event.digests.items())
    return _pack_event_head(event) + pack_u32(len(event.digests), "little") + digests + _pack_data(event.data)


def _pack_event_head(event: Event) -> bytes:
    return pack_u32(event.pcr, "little") + pack_u32(event.type, "little")


def _pack_data(data: bytes) -> bytes:
    return pack_u32(len(data), "little") + data
