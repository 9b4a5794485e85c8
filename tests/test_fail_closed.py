"""Absent, empty or unknown anything never passes for something valid: the half of it that runs in dom0.

The evidence is one that is well formed; each test takes one thing from it, empties it or puts something
unknown in its place, and nothing may come out but FormatError.
"""

import base64
import copy
import json
from pathlib import Path

import pytest

from xentpm_lib.errors import FormatError, XenTpmError
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.quote import CertifiedTag, QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Attest, Public, Signature
from xentpm_lib.host.config import parse_config

VECTORS = Path(__file__).resolve().parent / "vectors" / "swtpm" / "ecc"
UUID = "01234567-89ab-cdef-0123-456789abcdef"


def _vector(name):
    return (VECTORS / name).read_bytes()


def _evidence():
    ak = Public.from_tpm2b(_vector("ak.tpm2b"))
    return QuoteEvidence(
        untrusted_host_uuid=UUID,
        untrusted_created="2026-01-31T23:59:59Z",
        untrusted_ak_name=ak.name(),
        untrusted_ak_public=ak.to_tpm2b(),
        attest=_vector("quote.attest"),
        signature=_vector("quote.signature"),
        untrusted_pcrs=_pcrs(),
        asset_tag=CertifiedTag(_vector("nv.public"), _vector("nv.attest"), _vector("nv.signature")),
        untrusted_event_log=b"log",
        untrusted_boot_log=None,
    )


def _pcrs():
    values, data = {}, _vector("pcrs.bin")
    for bank, size, indices in (("sha1", 20, (0, 1, 2, 3)), ("sha256", 32, (0, 7, 9, 23))):
        values[bank] = {}
        for index in indices:
            values[bank][index], data = data[:size], data[size:]
    assert data == b""
    return values


DOCUMENT = json.loads(_evidence().to_json())


def _paths(value, path=()):
    """The path of every member and element below ``value``."""
    found = []
    if isinstance(value, dict):
        for key in sorted(value):
            found += [path + (key,)] + _paths(value[key], path + (key,))
    return found


def _at(document, path):
    for key in path:
        document = document[key]
    return document


def _changed(path, change):
    document = copy.deepcopy(DOCUMENT)
    change(_at(document, path[:-1]), path[-1])
    return json.dumps(document)


def _refused(text):
    with pytest.raises(FormatError):
        QuoteEvidence.from_json(text)


PATHS = _paths(DOCUMENT)
MAY_BE_NULL = [("asset_tag",), ("boot_log",), ("event_log",)]
IDS = [".".join(path) for path in PATHS]


def test_the_document_itself_is_well_formed():
    assert QuoteEvidence.from_json(json.dumps(DOCUMENT)) == _evidence()
    assert len(PATHS) > 20


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_absent(path):
    def remove(parent, key):
        del parent[key]

    if path[:2] == ("quote", "pcrs") and len(path) > 2:
        return _absent_pcr_is_not_the_signed_set(_changed(path, remove))
    _refused(_changed(path, remove))


def _absent_pcr_is_not_the_signed_set(text):
    """A register less is a well-formed document, but not one whose digest can be computed."""
    from xentpm_lib.evidence.pcr import composite_digest

    try:
        evidence = QuoteEvidence.from_json(text)
    except FormatError:
        return
    selection = Attest.from_bytes(evidence.attest).quote.selection
    with pytest.raises(FormatError):
        composite_digest(evidence.untrusted_pcrs, selection, "sha256")


WRONG = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one and a half": 1.5,
    "empty text": "",
    "blank": " ",
    "text": "unknown",
    "empty list": [],
    "list": ["unknown"],
    "empty object": {},
    "object": {"unknown": "unknown"},
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_empty_or_of_another_kind(path, wrong):
    if wrong == "null" and path in MAY_BE_NULL:
        return
    if path == ("boot_log",) and wrong == "empty list":
        return  # GRUB measured nothing: that says less than null, and nothing is proven by it

    def put(parent, key):
        parent[key] = WRONG[wrong]

    _refused(_changed(path, put))


@pytest.mark.parametrize("path", [()] + [path for path in PATHS if isinstance(_at(DOCUMENT, path), dict)])
@pytest.mark.parametrize("key", ["unknown", "", "Version", "trusted", "sha257", "24"])
def test_a_member_too_many(path, key):
    document = copy.deepcopy(DOCUMENT)
    _at(document, path)[key] = "1"
    _refused(json.dumps(document))


@pytest.mark.parametrize("version", [0, 2, -1, 1.0, "1", True, None, 10**30])
def test_unknown_version(version):
    _refused(json.dumps(dict(DOCUMENT, version=version)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        "true",
        "{}",
        "[]",
        "1",
        '"text"',
        "NaN",
        json.dumps([DOCUMENT]),
        json.dumps(DOCUMENT)[:-1],
        json.dumps(DOCUMENT) + "x",
        json.dumps(DOCUMENT) * 2,
        json.dumps(DOCUMENT).replace('"version": 1', '"version": 1, "version": 1'),
        json.dumps(DOCUMENT).replace('"version": 1', '"version": NaN'),
        "\ufeff" + json.dumps(DOCUMENT),
        "[" * 5000 + "]" * 5000,
    ],
)
def test_no_document(text):
    _refused(text)


# The authentic parts


AUTHENTIC = [("quote", "attest"), ("quote", "signature"), ("asset_tag", "attest"), ("asset_tag", "signature")]


@pytest.mark.parametrize("path", AUTHENTIC, ids=[".".join(path) for path in AUTHENTIC])
def test_authentic_parts_are_of_exact_length(path):
    data = base64.b64decode(_at(DOCUMENT, path))
    parse = Attest.from_bytes if path[1] == "attest" else Signature.from_bytes
    assert parse(data).to_bytes() == data
    for wrong in [data[:size] for size in range(len(data))] + [data + b"\0", b"\0" + data]:
        with pytest.raises(FormatError):
            parse(wrong)


def test_a_quote_is_no_certified_tag_and_the_other_way_round():
    assert Attest.from_bytes(_vector("quote.attest")).nv is None
    assert Attest.from_bytes(_vector("nv.attest")).quote is None


@pytest.mark.parametrize("magic", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x47\x43\x54\xff"])
def test_what_no_tpm_made(magic):
    """Data that a key signed on somebody's behalf does not begin with TPM_GENERATED."""
    with pytest.raises(FormatError):
        Attest.from_bytes(magic + _vector("quote.attest")[4:])


@pytest.mark.parametrize("kind", [0x8000, 0x8014, 0x8017, 0x8019, 0x801A, 0x801C, 0xFFFF, 0])
def test_unknown_attestation(kind):
    data = _vector("quote.attest")
    with pytest.raises(FormatError):
        Attest.from_bytes(data[:4] + kind.to_bytes(2, "big") + data[6:])


# The identity and the configuration


def _identity():
    return Identity(
        ek_certificate=None,
        ek=Public.from_tpm2b(_vector("ek.tpm2b")),
        ak=Public.from_tpm2b(_vector("ak.tpm2b")),
        system_uuid=UUID,
        ek_certificate_chain=(),
    ).to_xml()


@pytest.mark.parametrize("number", range(len(_identity().splitlines())))
def test_identity_without_a_line(number):
    lines = _identity().splitlines(True)
    with pytest.raises(FormatError):
        Identity.from_xml("".join(lines[:number] + lines[number + 1 :]))


@pytest.mark.parametrize(
    "text", ["", "<xentxt:xentxtdata/>", _identity() + "x", _identity() * 2, "\n" + _identity()]
)
def test_no_identity(text):
    assert Identity.from_xml(_identity())
    with pytest.raises(FormatError):
        Identity.from_xml(text)


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"#", b"password", b"password=", b"password=" + b"0" * 40, b"other=1", b"\0" * 40]
)
def test_no_configuration(text):
    with pytest.raises(XenTpmError):
        parse_config(text)
