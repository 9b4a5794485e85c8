"""evidence/event_log.py: both forms, replay, and hostile logs."""

import re

import pytest

from xentpm_lib.evidence import event_log
from xentpm_lib.evidence.event_log import Event, EventLog, build_event_log, parse_event_log
from xentpm_lib.evidence.event_types import EV_IPL, EV_NO_ACTION, EV_SEPARATOR
from xentpm_lib.evidence.pcr import extend

BANKS = {"sha1": 20, "sha256": 32}
SEPARATOR = Event(7, EV_SEPARATOR, {"sha1": b"a" * 20, "sha256": b"b" * 32}, bytes(4))
LOG = EventLog(BANKS, (SEPARATOR,))
OLD_LOG = EventLog({"sha1": 20}, (SEPARATOR._replace(digests={"sha1": b"a" * 20}),), crypto_agile=False)
HEADER = build_event_log(EventLog(BANKS, ()))


def locality(value):
    return Event(0, EV_NO_ACTION, {}, b"StartupLocality\0" + value)


VECTORS = pytest.mark.parametrize("name", ["crypto_agile", "locality_3", "sha1_only"])


@VECTORS
def test_as_tpm2_eventlog_reads_it(vectors, name):
    data = (vectors / "event_logs" / (name + ".bin")).read_bytes()
    log = parse_event_log(data)
    assert build_event_log(log) == data
    text = (vectors / "event_logs" / (name + ".yaml")).read_text("ascii")
    pattern = r"PCRIndex: (\d+)\n  EventType: (\w+)\n[^\"]*\"([0-9a-f]+)\""
    header = [("0", "EV_NO_ACTION", "0" * 40)] if log.crypto_agile else []
    events = [(str(event.pcr), event.type_name(), event.digests["sha1"].hex()) for event in log.events]
    assert header + events == re.findall(pattern, text)
    assert [len(event.data) for event in log.events] == [
        int(size) for size in re.findall(r"EventSize: (\d+)", text)[len(header) :]
    ]


@VECTORS
def test_replay_is_what_a_tpm_holds(vectors, name):
    log = parse_event_log((vectors / "event_logs" / (name + ".bin")).read_bytes())
    text = (vectors / "event_logs" / (name + ".pcrs")).read_text("ascii")
    for bank in log.banks:
        listed = text.partition(bank + ":\n")[2].partition("sha")[0]
        values = re.findall(r"(\d+) *: 0x([0-9A-F]+)\n", listed)
        assert len(values) == 6
        replayed = log.replay(bank)
        assert [(index, replayed[int(index)].hex().upper()) for index, _ in values] == values


@pytest.mark.parametrize(
    "log",
    [
        LOG,
        OLD_LOG,
        EventLog(BANKS, ()),
        EventLog({"0x00ab": 7}, (Event(23, 0xFFFFFFFF, {"0x00ab": b"1234567"}, b""),)),
        EventLog(BANKS, (locality(b"\4"), Event(0xFFFFFFFF, EV_NO_ACTION, {}, b"x"))),
    ],
)
def test_round_trips(log):
    assert parse_event_log(build_event_log(log)) == log


def test_type_names():
    assert SEPARATOR.type_name() == "EV_SEPARATOR"
    assert SEPARATOR._replace(type=0xABCD).type_name() == "0x0000abcd"


def test_replay():
    log = EventLog(BANKS, (locality(b"\3"), SEPARATOR, SEPARATOR._replace(pcr=17)))
    values = log.replay("sha256")
    assert values[0] == bytes(31) + b"\3"
    assert values[7] == extend("sha256", bytes(32), b"b" * 32)
    assert values[17] == extend("sha256", b"\xff" * 32, b"b" * 32)
    assert log.replay("sha256", dynamic_launch=True)[17] == values[7]


def test_replay_of_what_is_not_there(refuses):
    refuses("events[0]", "no sha384 digest", LOG.replay, "sha384")
    refuses("", "no hash algorithm", LOG.replay, "0x00ab")


def test_startup_locality(refuses):
    assert LOG.startup_locality() == 0
    assert EventLog(BANKS, (locality(b"\0"),)).startup_locality() == 0
    for events in [
        (locality(b"\3"), locality(b"\3")),
        (locality(b"\1"),),
        (locality(b""),),
        (locality(b"\3\0"),),
    ]:
        refuses("events", "stated twice or impossible", EventLog(BANKS, events).startup_locality)
    # Only an EV_NO_ACTION event states it.
    assert EventLog(BANKS, (SEPARATOR._replace(data=b"StartupLocality\0\3"),)).startup_locality() == 0


EVENT = "0700000004000000"
DIGESTS = "020000000400" + "61" * 20 + "0b00" + "62" * 32


@pytest.mark.parametrize(
    "event, offset, fragment",
    [
        ("07", 0, "4 bytes wanted, 1 left"),
        ("1800000004000000", 0, "there is no PCR 24"),
        ("ffffffff04000000", 0, "there is no PCR 4294967295"),
        (EVENT + "03000000", 8, "3 digests, the header declares 2"),
        (EVENT + "ffffffff", 8, "4294967295 digests"),
        (EVENT + "010000000c00", 12, "undeclared or repeated"),
        (EVENT + "020000000400" + "61" * 20 + "0400", 34, "undeclared or repeated"),
        (EVENT + "010000000b0000", 14, "32 bytes wanted, 1 left"),
        (EVENT + DIGESTS + "ffffffff", 72, "4294967295 bytes wanted, 0 left"),
        (EVENT + DIGESTS + "04000000000000", 72, "4 bytes wanted, 3 left"),
        (EVENT + DIGESTS + "0000000000", 72, "4 bytes wanted, 1 left"),
    ],
)
def test_refusals(refuses, event, offset, fragment):
    refuses(
        "offset {}".format(len(HEADER) + offset), fragment, parse_event_log, HEADER + bytes.fromhex(event)
    )


def test_an_event_need_not_have_every_bank(refuses):
    data = HEADER + bytes.fromhex(EVENT + "010000000400" + "61" * 20 + "00000000")
    log = parse_event_log(data)
    assert log.replay("sha1")[7] == extend("sha1", bytes(20), b"a" * 20)
    refuses("events[0]", "no sha256 digest", log.replay, "sha256")


def test_an_empty_log(refuses):
    refuses("offset 0", "event log: 4 bytes wanted, 0 left", parse_event_log, b"")


@pytest.mark.parametrize("offset, byte", [(0, b"\1"), (8, b"\1")])
def test_a_header_that_would_extend(refuses, offset, byte):
    data = HEADER[:offset] + byte + HEADER[offset + 1 :]
    refuses("offset 0", "the header event is not in PCR 0 or has a digest", parse_event_log, data)


def test_limits(refuses, monkeypatch):
    monkeypatch.setattr(event_log, "MAX_EVENTS", 2)
    many = build_event_log(EventLog(BANKS, (SEPARATOR, SEPARATOR)))
    refuses("offset {}".format(len(many)), "over 2 events", parse_event_log, many + b"\0")
    old = build_event_log(OLD_LOG._replace(events=OLD_LOG.events * 2))
    refuses("offset {}".format(len(old)), "over 2 events", parse_event_log, old + b"\0")
    monkeypatch.setattr(event_log, "MAX_EVENT_LOG_SIZE", 100)
    refuses("event_log", "an event log of 101 bytes, at most 100", parse_event_log, bytes(101))


@pytest.mark.parametrize(
    "log, where, fragment",
    [
        (OLD_LOG._replace(events=()), "offset 0", "4 bytes wanted"),
        (OLD_LOG._replace(banks=BANKS), "event_log", "would not read back the same"),
        (LOG._replace(banks={"0x000b": 32}, events=()), "event_log", "would not read back the same"),
        (LOG._replace(banks={"md5": 16}), "banks", "no hash algorithm"),
        (LOG._replace(banks={"0xyz": 16}), "banks", "'0xyz' is no algorithm identifier"),
        (LOG._replace(events=(SEPARATOR._replace(pcr=-1),)), "", "does not fit into 4"),
        (LOG._replace(banks={"sha1": 20}), "offset 73", "2 digests, the header declares 1"),
        (
            LOG._replace(events=(Event(1, EV_IPL, {"0x00ab": b""}, b""),)),
            "offset {}".format(len(HEADER) + 12),
            "undeclared",
        ),
    ],
)
def test_building_what_cannot_be(refuses, log, where, fragment):
    refuses(where, fragment, build_event_log, log)
