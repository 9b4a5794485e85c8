"""evidence/quote.py: the quote evidence document, and what it refuses."""

import json

import pytest

from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.boot_setup import BootSetup
from xentpm_lib.evidence.encoding import encode_base64
from xentpm_lib.evidence.quote import CertifiedTag, QuoteEvidence

NAME = b"\0\x0b" + b"n" * 32
EVIDENCE = QuoteEvidence(
    attest=b"attest",
    signature=b"signature",
    untrusted_host_uuid="01234567-89ab-cdef-0123-456789abcdef",
    untrusted_created="2026-01-31T23:59:59Z",
    untrusted_ak_name=NAME,
    untrusted_ak_public=b"public",
    untrusted_pcrs={"sha256": {0: b"0" * 32, 10: b"a" * 32, 2: b"2" * 32}, "sha1": {7: b"7" * 20}},
)
FULL = EVIDENCE._replace(
    asset_tag=CertifiedTag(b"nv", b"tag attest", b"tag signature"),
    untrusted_event_log=b"log",
    untrusted_boot_log=(BootEvent(9, {"sha256": b"9" * 32}, "/boot/xen.gz"),),
    untrusted_boot_setup=BootSetup("grub-tpm", "pending", "a restart is due"),
)
DOCUMENT = json.loads(FULL.to_json())


def test_the_document():
    assert EVIDENCE.to_json() == (
        '{"version":1,"host_uuid":"01234567-89ab-cdef-0123-456789abcdef","created":"2026-01-31T23:59:59Z",'
        '"ak":{"name":"000b' + "6e" * 32 + '","public":"cHVibGlj"},'
        '"quote":{"attest":"YXR0ZXN0","signature":"c2lnbmF0dXJl","pcrs":{'
        '"sha256":{"0":"' + "30" * 32 + '","2":"' + "32" * 32 + '","10":"' + "61" * 32 + '"},'
        '"sha1":{"7":"' + "37" * 20 + '"}}},"asset_tag":null,"event_log":null,"boot_log":null}'
    )


@pytest.mark.parametrize(
    "evidence",
    [
        EVIDENCE,
        FULL,
        EVIDENCE._replace(untrusted_boot_log=()),
        EVIDENCE._replace(untrusted_pcrs={"sha256": {index: bytes([index]) * 32 for index in range(24)}}),
        FULL._replace(asset_tag=None),
        FULL._replace(untrusted_boot_setup=None),
    ],
)
def test_round_trips(evidence):
    assert QuoteEvidence.from_json(evidence.to_json()) == evidence


def test_white_space_and_order_do_not_matter():
    text = json.dumps(DOCUMENT, indent=2, sort_keys=True)
    assert QuoteEvidence.from_json(text) == FULL


def changed(path, value):
    """The full document with one value replaced, or removed where ``value`` is Ellipsis."""
    document = json.loads(json.dumps(DOCUMENT))
    parent = document
    for name in path[:-1]:
        parent = parent[name]
    if value is Ellipsis:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return json.dumps(document)


BIG_NAME = "000e" + "00" * 65


@pytest.mark.parametrize(
    "path, value, where, fragment",
    [
        (["version"], 2, "version", "expected 1"),
        (["version"], 0, "version", "expected 1"),
        (["version"], True, "version", "expected 1"),
        (["version"], "1", "version", "expected 1"),
        (["version"], None, "version", "expected 1"),
        (["version"], ..., "evidence", "the member version is missing"),
        (["more"], 1, "evidence", "the member 'more' is unknown"),
        (["host_uuid"], DOCUMENT["host_uuid"].upper(), "host_uuid", "not a UUID"),
        (["host_uuid"], None, "host_uuid", "expected text, got NoneType"),
        (["created"], "2026-01-31", "created", "not a time"),
        (["created"], 1, "created", "expected text, got int"),
        (["ak"], None, "ak", "expected an object, got NoneType"),
        (["ak", "name"], ..., "ak", "the member name is missing"),
        (["ak", "kind"], "x", "ak", "the member 'kind' is unknown"),
        (["ak", "name"], DOCUMENT["ak"]["name"].upper(), "ak.name", "not lower-case hex digits"),
        (["ak", "name"], "000b" + "00" * 20, "ak.name", "a Name with sha256 has 34 bytes, got 22"),
        (["ak", "name"], "0010" + "00" * 32, "ak.name", "0x0010 is no hash"),
        (["ak", "name"], BIG_NAME, "ak.name", "expected 44 to 132 hex digits, got 134"),
        (["ak", "public"], "cHVibGlj\n", "ak.public", "white space"),
        (["ak", "public"], "", "ak.public", "expected 1 to 1024 bytes, got 0"),
        (["ak", "public"], True, "ak.public", "expected text, got bool"),
        (["quote"], [], "quote", "expected an object, got list"),
        (["quote", "attest"], "A", "quote.attest", "incomplete"),
        (["quote", "attest"], encode_base64(bytes(2305)), "quote.attest", "expected 1 to 2304 bytes"),
        (["quote", "signature"], "QR==", "quote.signature", "not padded canonically"),
        (["quote", "signature"], encode_base64(bytes(519)), "quote.signature", "expected 1 to 518 bytes"),
        (["quote", "pcrs"], {}, "quote.pcrs", "there is no bank"),
        (["quote", "pcrs"], None, "quote.pcrs", "expected an object"),
        (["quote", "pcrs", "md5"], {}, "quote.pcrs", "'md5' is no hash algorithm"),
        (["quote", "pcrs", "sha384"], {}, "quote.pcrs.sha384", "there is no register"),
        (["quote", "pcrs", "sha384"], [], "quote.pcrs.sha384", "expected an object"),
        (["quote", "pcrs", "sha256", "24"], "", "quote.pcrs.sha256", "'24' is no register"),
        (["quote", "pcrs", "sha256", "01"], "", "quote.pcrs.sha256", "'01' is no register"),
        (
            ["quote", "pcrs", "sha256", "7"],
            "0" * 40,
            "quote.pcrs.sha256[7]",
            "expected 64 hex digits, got 40",
        ),
        (["quote", "pcrs", "sha256", "7"], "AB" * 32, "quote.pcrs.sha256[7]", "not lower-case"),
        (["quote", "pcrs", "sha256", "7"], 7, "quote.pcrs.sha256[7]", "expected text, got int"),
        (["asset_tag"], False, "asset_tag", "expected an object, got bool"),
        (["asset_tag"], {}, "asset_tag", "the member nv_public is missing"),
        (["asset_tag", "nv_public"], encode_base64(bytes(81)), "asset_tag.nv_public", "expected 1 to 80"),
        (["asset_tag", "attest"], None, "asset_tag.attest", "expected text"),
        (["asset_tag", "signature"], "", "asset_tag.signature", "got 0"),
        (["event_log"], "", "event_log", "expected 1 to 2097152 bytes, got 0"),
        (["event_log"], "QU_D", "event_log", "alphabet"),
        (["event_log"], ..., "evidence", "the member event_log is missing"),
        (["boot_log"], {}, "boot_log", "expected an array, got dict"),
        (["boot_log", 0, "pcr"], 24, "boot_log[0].pcr", "expected 0 to 23"),
        (["boot_log", 0, "pcr"], 1.5, "JSON number", "1.5 is no natural number"),
        (["boot_log", 0, "digests", "sha1"], {"a": {}}, "evidence offset", "nested deeper than 4"),
    ],
)
def test_refusals(path, value, where, fragment, refuses):
    text = changed(path, value)
    if where == "evidence offset":
        where += " {}".format(text.index('{"a"'))
    refuses(where, fragment, QuoteEvidence.from_json, text)


@pytest.mark.parametrize(
    "old, new, where, fragment",
    [
        ('{"version":1', '{"version":1,"version":1', "JSON object", "the key 'version' is given twice"),
        ('"pcrs":{', '"pcrs":{"sha1":{},', "JSON object", "the key 'sha1' is given twice"),
        ('"sha256":{', '"sha256":{"2":"",', "JSON object", "the key '2' is given twice"),
        ('"version":1', '"version":NaN', "JSON number", "NaN is no natural number"),
        ('"version":1', '"version":1.0', "JSON number", "1.0 is no"),
        ('"version":1', '"version":-1', "JSON number", "-1 is no"),
        ('"created":"', '"created":"\u00e9', "evidence offset 75", "a character outside ASCII"),
        ("{", "", "evidence offset 9", "Extra data"),
    ],
)
def test_text_that_is_refused(refuses, old, new, where, fragment):
    refuses(where, fragment, QuoteEvidence.from_json, EVIDENCE.to_json().replace(old, new, 1))


def test_limits(refuses):
    refuses("evidence", "4194305 characters, at most 4194304", QuoteEvidence.from_json, " " * 4194305)
    refuses("evidence offset 4", "nested deeper than 4", QuoteEvidence.from_json, "[" * 100000)
    refuses("evidence offset 262144", "over 262144 tokens", QuoteEvidence.from_json, "]" * 300000)


@pytest.mark.parametrize(
    "changes, where, fragment",
    [
        ({"attest": b""}, "quote.attest", "got 0"),
        ({"untrusted_host_uuid": ""}, "host_uuid", "not a UUID"),
        ({"untrusted_pcrs": {"sha256": {24: bytes(32)}}}, "quote.pcrs.sha256", "no register"),
        ({"untrusted_boot_log": (BootEvent(-1, {}, ""),)}, "JSON number", "-1 is no"),
        ({"untrusted_boot_log": [BootEvent(1, {}, "")]}, "evidence", "would not read back the same"),
    ],
)
def test_building_what_cannot_be(refuses, changes, where, fragment):
    refuses(where, fragment, EVIDENCE._replace(**changes).to_json)
