"""evidence/encoding.py: one spelling for each value."""

import pytest

from xentpm_lib.evidence.encoding import (
    check_created,
    check_uuid,
    decode_base64,
    decode_hex,
    encode_base64,
    encode_hex,
)


@pytest.mark.parametrize("size", range(8))
def test_round_trips(size):
    data = bytes(range(250, 250 - size, -1))
    assert decode_base64(encode_base64(data), "x", 0, 8) == data
    assert decode_hex(encode_hex(data), "x", 0, 8) == data


@pytest.mark.parametrize(
    "text, fragment",
    [
        ("QUJD\n", "white space"),
        (" QUJD", "white space"),
        ("QU JD", "white space"),
        ("QUJ\tD", "white space"),
        ("QU-_", "alphabet"),
        ("QU*D", "alphabet"),
        ("QUJ\u00e9", "alphabet"),
        ("QQ=Q", "alphabet"),
        ("QUI", "3 characters is incomplete"),
        ("Q", "1 characters is incomplete"),
        ("QQ", "2 characters is incomplete"),
        ("QR==", "not padded canonically"),
        ("QUK=", "not padded canonically"),
        ("QUJD====", "not padded canonically"),
        ("====", "not padded canonically"),
        ("QUI=QUI=", "alphabet"),
        ("QUJDREVGR0g=", "expected 1 to 7 bytes, got 8"),
        ("", "expected 1 to 7 bytes, got 0"),
        ("QUJDREVG" * 4, "expected 1 to 7 bytes, got 32 characters of base64"),
        (None, "expected text, got NoneType"),
        (True, "expected text, got bool"),
        (b"QUJD", "expected text, got bytes"),
    ],
)
def test_base64_that_is_refused(refuses, text, fragment):
    refuses("nonce", fragment, decode_base64, text, "nonce", 1, 7)


def test_one_size_is_told_as_one():
    with pytest.raises(Exception, match="x: expected 3 bytes, got 2"):
        decode_base64("QUI=", "x", 3, 3)


@pytest.mark.parametrize(
    "text, fragment",
    [
        ("0" * 40, "expected 64 hex digits, got 40"),
        ("g" * 64, "not lower-case hex digits"),
        ("AB" * 32, "not lower-case hex digits"),
        ("0x" * 32, "not lower-case hex digits"),
        (" 0" * 32, "not lower-case hex digits"),
        ("\u0660" * 64, "not lower-case hex digits"),
        (1, "expected text, got int"),
    ],
)
def test_hex_that_is_refused(refuses, text, fragment):
    refuses("pcrs.sha256[7]", fragment, decode_hex, text, "pcrs.sha256[7]", 32, 32)


def test_hex_of_any_case(refuses):
    assert decode_hex("aBcD", "tag", 1, 2, any_case=True) == b"\xab\xcd"
    refuses("tag", "not hex digits", decode_hex, "xy", "tag", 1, 2, any_case=True)
    refuses("tag", "an odd number", decode_hex, "abc", "tag", 1, 2)
    refuses("tag", "expected 2 to 4 hex digits, got 6", decode_hex, "abcdef", "tag", 1, 2)


UUID = "01234567-89ab-cdef-0123-456789abcdef"


def test_uuid():
    assert check_uuid(UUID, "host_uuid") == UUID
    assert check_uuid(UUID.upper(), "System_UUID", any_case=True) == UUID.upper()


@pytest.mark.parametrize(
    "text",
    [
        "",
        UUID[:-1],
        UUID + "0",
        UUID.upper(),
        UUID.replace("-", ""),
        "0123456-789ab-cdef-0123-456789abcdef",
        "{" + UUID[1:-1] + "}",
        UUID.replace("0", "g"),
        UUID[:-1] + "\n",
        "-" * 36,
    ],
)
def test_uuid_that_is_refused(refuses, text):
    refuses("host_uuid", "not a UUID", check_uuid, text, "host_uuid")


def test_uuid_that_is_no_text(refuses):
    refuses("host_uuid", "expected text, got int", check_uuid, 1, "host_uuid")


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T23:59:59Z", "2024-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "0001-12-31T00:00:00Z"],
)
def test_created(text):
    assert check_created(text, "created") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31T23:59:59",
        "2026-01-31T23:59:59.0Z",
        "2026-01-31 23:59:59Z",
        "2026-01-31T23:59:59+00:00",
        "2026-1-31T23:59:59Z",
        "2026-01-31T23:59:59z",
        "\u0662026-01-31T23:59:59Z",
        "dddd-dd-ddTdd:dd:dd",
        "dddd-dd-ddTdd:dd:ddZ",
    ],
)
def test_created_of_another_shape(refuses, text):
    refuses("created", "not a time like", check_created, text, "created")


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-04-00T00:00:00Z",
        "2026-04-01T24:00:00Z",
        "2026-04-01T00:60:00Z",
        "2026-04-01T00:00:60Z",
    ],
)
def test_created_that_never_was(refuses, text):
    refuses("created", "no such day", check_created, text, "created")


def test_created_that_is_no_text(refuses):
    refuses("created", "expected text, got float", check_created, 1.0, "created")
