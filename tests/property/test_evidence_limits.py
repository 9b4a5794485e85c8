"""The largest input that hostile hosts can send costs little time and memory, whatever it is made of."""

import time
import tracemalloc

import pytest

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.event_log import MAX_EVENT_LOG_SIZE, EventLog, build_event_log, parse_event_log
from xentpm_lib.evidence.identity import MAX_IDENTITY_SIZE, Identity
from xentpm_lib.evidence.quote import EVIDENCE_LIMITS, QuoteEvidence

LENGTH = EVIDENCE_LIMITS.length
HEADER = build_event_log(EventLog({"sha1": 20}, ()))
NO_ACTION = bytes(4) + b"\3\0\0\0" + bytes(8)
MAX_SECONDS = 10  # of processor time; some hundredths are usual, a parser that is not linear takes minutes
MAX_FACTOR = 8  # bytes of memory for each byte of input

CASES = {
    "spaces": (QuoteEvidence.from_json, " " * LENGTH),
    "digits": (QuoteEvidence.from_json, "9" * LENGTH),
    "quotes": (QuoteEvidence.from_json, '"' * LENGTH),
    "escapes": (QuoteEvidence.from_json, '"' + '\\"' * (LENGTH // 2 - 1)),
    "depth": (QuoteEvidence.from_json, "[" * LENGTH),
    "empty arrays": (QuoteEvidence.from_json, "[" + "[]," * (LENGTH // 3 - 1)),
    "empty objects": (QuoteEvidence.from_json, "[" + "{}," * (LENGTH // 3 - 1)),
    "keys": (QuoteEvidence.from_json, "{" + ",".join('"{:x}":1'.format(n) for n in range(60000)) + ',"0":1}'),
    "one string": (QuoteEvidence.from_json, '"' + "A" * (LENGTH - 2) + '"'),
    "events": (parse_event_log, (HEADER + NO_ACTION * (MAX_EVENT_LOG_SIZE // 16))[:MAX_EVENT_LOG_SIZE]),
    "one event": (parse_event_log, HEADER + NO_ACTION[:-4] + b"\xff" * (MAX_EVENT_LOG_SIZE - 100)),
    "elements": (Identity.from_xml, ("<xentxt:System_UUID>" * MAX_IDENTITY_SIZE)[:MAX_IDENTITY_SIZE]),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_time(name):
    parser, data = CASES[name]
    start = time.process_time()
    with pytest.raises(FormatError):
        parser(data)
    assert time.process_time() - start < MAX_SECONDS


@pytest.mark.parametrize("name", ["empty arrays", "empty objects", "escapes", "events", "keys", "one event"])
def test_memory(name):
    parser, data = CASES[name]
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            parser(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_FACTOR * max(len(data), 2000000)
