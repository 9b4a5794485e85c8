"""evidence/der.py: writing elements, and measuring one."""

import pytest

from xentpm_lib.evidence.der import (
    element_size,
    encode_bit_string,
    encode_integer,
    encode_oid,
    encode_sequence,
)


@pytest.mark.parametrize(
    "magnitude, encoded",
    [
        ("", "020100"),
        ("00", "020100"),
        ("0001", "020101"),
        ("7f", "02017f"),
        ("80", "02020080"),
        ("0080", "02020080"),
    ],
)
def test_integer(magnitude, encoded):
    assert encode_integer(bytes.fromhex(magnitude)).hex() == encoded


@pytest.mark.parametrize(
    "dotted, encoded",
    [("1.2.840.113549.1.1.1", "06092a864886f70d010101"), ("1.2.840.10045.3.1.7", "06082a8648ce3d030107")],
)
def test_oid(dotted, encoded):
    assert encode_oid(dotted).hex() == encoded


@pytest.mark.parametrize(
    "size, head", [(0, "3000"), (127, "307f"), (128, "308180"), (256, "30820100"), (65536, "3083010000")]
)
def test_lengths(size, head):
    encoded = encode_sequence(bytes(size))
    assert encoded[: len(head) // 2].hex() == head
    assert element_size(encoded + b"more", "x") == len(encoded)


def test_bit_string():
    assert encode_bit_string(b"ab") == b"\x03\x03\x00ab"


@pytest.mark.parametrize(
    "data, fragment",
    [
        ("", "does not start"),
        ("30", "does not start"),
        ("3100", "does not start"),
        ("3080", "length cannot be read"),
        ("3085" + "00" * 9, "length cannot be read"),
        ("3082ff", "length cannot be read"),
        ("300100"[:4], "says 3 bytes, got 2"),
        ("3084ffffffff", "says 4294967301 bytes"),
    ],
)
def test_refusals(refuses, data, fragment):
    refuses("cert", fragment, element_size, bytes.fromhex(data), "cert")
