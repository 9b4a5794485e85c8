"""Every parser of the evidence layer, fed anything: a value or FormatError, nothing else.

Random bytes rarely get past a magic number; so besides them there are valid inputs with bytes
changed, inserted and cut off. Whatever a parser of bytes accepts has to be what its builder writes.
"""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.certificate import split_certificates, trim_certificate
from xentpm_lib.evidence.credential_file import Credential
from xentpm_lib.evidence.encoding import (
    check_created,
    check_uuid,
    decode_base64,
    decode_hex,
    encode_base64,
    encode_hex,
)
from xentpm_lib.evidence.event_log import build_event_log, parse_event_log
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.evidence.quote import CertifiedTag, QuoteEvidence
from xentpm_lib.evidence.strict_json import Limits, load_json
from xentpm_lib.evidence.tpm_structures import Attest, NvPublic, Public, Signature

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
SWTPM = VECTORS / "swtpm"


def read(*names):
    return [(SWTPM / kind / name).read_bytes() for kind in ("ecc", "rsa") for name in names]


SELECTION = PcrSelection.from_text("sha1:0,1,2,3+sha256:0,7,9,23")
#: name: (parser, its builder, valid inputs)
BINARY = {
    "Public.from_tpm2b": (Public.from_tpm2b, Public.to_tpm2b, read("ak.tpm2b", "ek.tpm2b")),
    "Public.from_tpmt": (
        Public.from_tpmt,
        Public.to_tpmt,
        [data[2:] for data in read("ak.tpm2b", "ek.tpm2b")],
    ),
    "Attest": (Attest.from_bytes, Attest.to_bytes, read("quote.attest", "nv.attest")),
    "Signature": (Signature.from_bytes, Signature.to_bytes, read("quote.signature", "nv.signature")),
    "NvPublic": (NvPublic.from_tpm2b, NvPublic.to_tpm2b, read("nv.public")),
    "Credential": (Credential.from_bytes, Credential.to_bytes, read("credential")),
    "PcrSelection": (PcrSelection.from_bytes, PcrSelection.to_bytes, [SELECTION.to_bytes()]),
    "split_certificates": (
        split_certificates,
        b"".join,
        [(SWTPM / "rsa" / "ek.certificate").read_bytes() * 2],
    ),
}
EVENT_LOGS = [path.read_bytes() for path in sorted((VECTORS / "event_logs").glob("*.bin"))]
KEY = Public.from_tpm2b(read("ak.tpm2b")[0])
IDENTITY = Identity(b"\x30\x03abc", KEY, KEY, "01234567-89ab-cdef-0123-456789abcdef", (b"\x30\x00",)).to_xml()
EVIDENCE = QuoteEvidence(
    attest=b"attest",
    signature=b"signature",
    untrusted_host_uuid="01234567-89ab-cdef-0123-456789abcdef",
    untrusted_created="2026-01-31T23:59:59Z",
    untrusted_ak_name=KEY.name(),
    untrusted_ak_public=b"public",
    untrusted_pcrs={"sha256": {0: bytes(32)}},
    asset_tag=CertifiedTag(b"nv", b"attest", b"signature"),
).to_json()


def mutated(valid, piece):
    """One of the valid inputs, with a part of it replaced by ``piece``'s examples, up to twice."""

    @st.composite
    def strategy(draw):
        data = draw(st.sampled_from(valid))
        for _ in range(draw(st.integers(1, 2))):
            start = draw(st.integers(0, len(data)))
            end = start + draw(st.sampled_from([0, 1, 2, 4, len(data)]))
            data = data[:start] + draw(piece) + data[end:]
        return data

    return strategy()


def value_or_format_error(parser, data):
    """The parser's value, None when it refuses."""
    try:
        return parser(data)
    except FormatError as error:
        assert error.message
        return None


bits = st.binary(max_size=4)
snippets = st.text(max_size=4) | st.sampled_from(
    list('"\\{}[],:<>&\n\0\ud800') + ["null", "-1", "1e9", "NaN"]
)


@pytest.mark.parametrize("name", sorted(BINARY))
@given(data=st.data())
def test_binary_parsers(name, data):
    parser, builder, valid = BINARY[name]
    given_bytes = data.draw(st.binary(max_size=300) | mutated(valid, bits))
    value = value_or_format_error(parser, given_bytes)
    if value is not None:
        assert builder(value) == given_bytes


@pytest.mark.parametrize("name", sorted(BINARY))
def test_no_truncation_is_accepted(name):
    parser, _, valid = BINARY[name]
    if name != "split_certificates":
        for data in valid:
            for size in range(len(data)):
                assert value_or_format_error(parser, data[:size]) is None


@given(st.binary(max_size=300) | mutated(EVENT_LOGS, bits))
def test_event_log(data):
    log = value_or_format_error(parse_event_log, data)
    if log is not None:
        assert parse_event_log(build_event_log(log)) == log
        for bank in log.banks:
            value_or_format_error(log.replay, bank)


@given(st.binary(max_size=40))
def test_trim_certificate(data):
    trimmed = value_or_format_error(trim_certificate, data)
    assert trimmed is None or data.startswith(trimmed)


@given(st.text(max_size=60) | mutated([EVIDENCE], snippets))
@example("[" * 100000)
@example('{"a":' * 100000)
@example('"' * 100000)
@example('"' + '\\"' * 100000)
@example("9" * 100000)
@example("\\" * 100000)
@example(json.dumps([[]] * 60000))
def test_quote_evidence(text):
    evidence = value_or_format_error(QuoteEvidence.from_json, text)
    if evidence is not None:
        assert QuoteEvidence.from_json(evidence.to_json()) == evidence


@given(st.text(max_size=60) | mutated([IDENTITY], snippets))
def test_identity(text):
    identity = value_or_format_error(Identity.from_xml, text)
    if identity is not None:
        assert identity.to_xml() + "\n" in (text, text + "\n")


@given(st.text(max_size=40) | mutated(["sha256:0,1,2+sha384:all"], snippets))
def test_pcr_selection_text(text):
    selection = value_or_format_error(PcrSelection.from_text, text)
    if selection is not None:
        assert PcrSelection.from_text(selection.to_text()) == selection


@given(st.text(max_size=60) | mutated(['{"a":[1,null,{"b":"\\\\\\""}]}'], snippets))
def test_strict_json_agrees_with_json(text):
    try:
        value = load_json(text, "doc", Limits(length=1000, depth=10, tokens=100))
    except FormatError:
        return
    assert value == json.loads(text)


texts = st.text(max_size=40)


@given(texts | mutated(["QUJDRA=="], snippets))
def test_base64(text):
    data = value_or_format_error(lambda given_text: decode_base64(given_text, "x", 0, 30), text)
    assert data is None or encode_base64(data) == text


@given(texts | mutated(["00ff"], snippets))
def test_hex(text):
    data = value_or_format_error(lambda given_text: decode_hex(given_text, "x", 0, 30), text)
    assert data is None or encode_hex(data) == text


@given(texts | mutated(["2026-01-31T23:59:59Z"], snippets))
def test_created(text):
    assert value_or_format_error(lambda given_text: check_created(given_text, "x"), text) in (None, text)


@given(texts | mutated(["01234567-89ab-cdef-0123-456789abcdef"], snippets))
def test_uuid(text):
    assert value_or_format_error(lambda given_text: check_uuid(given_text, "x"), text) in (None, text)
