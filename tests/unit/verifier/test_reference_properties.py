"""What hosts and strangers send never makes reference values raise anything unforeseen."""

import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from support.evidence_maker import SoftwareAttester
from support.examples import examples
from xentpm_lib.errors import EvidenceError, FormatError, UsageError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import Event
from xentpm_lib.evidence.event_types import EVENT_TYPES
from xentpm_lib.verifier.reference.diff import event_changes
from xentpm_lib.verifier.reference.event_text import MAX_LINE, event_line, is_own_digest
from xentpm_lib.verifier.reference.exchange import EXPORT_TYPE, export_signed, import_signed
from xentpm_lib.verifier.reference.measured import MeasuredEvent, measurements
from xentpm_lib.verifier.reference.trusted_keys import key_id, read_trusted_keys
from xentpm_lib.verifier.reference.words import change_lines

KEY = ec.generate_private_key(ec.SECP256R1())
HOST = SoftwareAttester()
LOG = HOST.event_log()
EXPORT = export_signed((HOST.reference(),), KEY, "jo", 1.8e9)
PRINTABLE = frozenset(map(chr, range(0x20, 0x7F)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EXAMPLES = examples(150)


@given(st.text(max_size=300))
@EXAMPLES
def test_any_text_is_no_signed_file(text):
    try:
        import_signed(text, (KEY.public_key(),), "ada", 1.8e9)
        raise AssertionError("taken")
    except EvidenceError:
        pass


@given(st.integers(0, len(EXPORT) - 2), st.sampled_from("ABCz019-_.="))
@EXAMPLES
def test_a_signed_file_with_one_character_changed_is_refused_or_is_the_same(place, character):
    text = EXPORT[:place] + character + EXPORT[place + 1 :]
    try:
        found = import_signed(text, (KEY.public_key(),), "ada", 1.8e9)
    except EvidenceError:
        return
    assert found == import_signed(EXPORT, (KEY.public_key(),), "ada", 1.8e9)


@given(JSON)
@EXAMPLES
def test_any_signed_json_is_refused_as_malformed(value):
    header = {"typ": EXPORT_TYPE, "kid": key_id(KEY.public_key())}
    text = jwt.api_jws.PyJWS().encode(json.dumps(value).encode(), KEY, "ES256", headers=header)
    try:
        import_signed(text, (KEY.public_key(),), "ada", 1.8e9)
        raise AssertionError("taken")
    except FormatError:
        pass


@given(st.text(max_size=200) | JSON.map(json.dumps))
@EXAMPLES
def test_any_text_is_no_public_key(text):
    try:
        read_trusted_keys(text)
        raise AssertionError("taken")
    except UsageError:
        pass


@given(st.sampled_from(sorted(EVENT_TYPES)) | st.integers(0, 2**32 - 1), st.binary(max_size=200))
@EXAMPLES
def test_any_event_is_one_line_of_ascii(kind, data):
    event = Event(8, kind, {"sha256": bytes(32)}, data)
    line = event_line(event)
    assert PRINTABLE.issuperset(line)
    assert 0 < len(line) <= MAX_LINE
    assert is_own_digest(event, "sha256") is False


@given(st.integers(0, len(LOG) - 1), st.binary(min_size=1, max_size=8))
@EXAMPLES
def test_a_log_tells_of_a_register_only_where_it_leads_to_its_value(place, data):
    """Whatever is changed in a log: the digests that it tells are those that were measured."""
    log = LOG[:place] + data + LOG[place + len(data) :]
    right = measurements(HOST.pcrs, LOG)
    for register, events in measurements(HOST.pcrs, log).items():
        assert [event.digest for event in events] == [event.digest for event in right[register]]


BOOT_EVENTS = st.builds(
    BootEvent,
    st.integers(0, 23),
    st.dictionaries(st.sampled_from(["sha1", "sha256"]), st.binary(min_size=32, max_size=32), max_size=2),
    st.text(max_size=8),
)


@given(st.lists(BOOT_EVENTS, max_size=6), st.binary(max_size=100))
@EXAMPLES
def test_any_logs_are_looked_at(boot_log, log):
    measurements(HOST.pcrs, log, tuple(boot_log))


MEASURED = st.lists(
    st.builds(MeasuredEvent, st.binary(max_size=2), st.text("ab /", max_size=12), st.booleans()), max_size=8
)


@given(MEASURED, MEASURED)
@EXAMPLES
def test_no_difference_is_lost(a, b):
    changes = event_changes(a, b)
    gone = [one.a for one in changes if one.a is not None]
    came = [one.b for one in changes if one.b is not None]
    left_a, left_b = list(a), list(b)
    for event in gone:
        left_a.remove(event)
    for event in came:
        left_b.remove(event)
    assert sorted(event.digest for event in left_a) == sorted(event.digest for event in left_b)
    for pcr in (8, 9):
        assert bool(change_lines(changes, pcr)) == bool(changes)
