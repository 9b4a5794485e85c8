"""evidence/event_log_header.py: which banks a log has."""

import pytest

from xentpm_lib.evidence.event_log_header import SPEC_ID, bank_id, pack_spec_id, read_spec_id

HEAD = SPEC_ID.hex() + "00" * 8


def test_round_trip():
    data = pack_spec_id({"sha1": 20, "sha3_256": 32, "0x00ab": 128})
    assert read_spec_id(data) == {4: ("sha1", 20), 0x27: ("sha3_256", 32), 0xAB: ("0x00ab", 128)}


def test_vendor_information_is_skipped():
    data = bytes.fromhex(HEAD + "010000000400140003616263")
    assert read_spec_id(data) == {4: ("sha1", 20)}


def test_bank_id():
    assert (bank_id("sha256"), bank_id("0x00ab")) == (0x0B, 0xAB)


@pytest.mark.parametrize(
    "data, offset, fragment",
    [
        (HEAD[:-2], 0, "24 bytes wanted"),
        (HEAD + "00000000", 24, "0 banks, expected 1 to 16"),
        (HEAD + "11000000", 24, "17 banks"),
        (HEAD + "ffffffff", 24, "4294967295 banks"),
        (HEAD + "010000000400", 30, "2 bytes wanted"),
        (HEAD + "0100000004001500", 28, "bank 0x0004 with digests of 21 bytes"),
        (HEAD + "01000000ab000000", 28, "bank 0x00ab with digests of 0 bytes"),
        (HEAD + "01000000ab008100", 28, "bank 0x00ab with digests of 129 bytes"),
        (HEAD + "020000000400140004001400", 32, "bank 0x0004 is declared twice"),
        (HEAD + "0100000004001400", 32, "1 bytes wanted"),
        (HEAD + "01000000040014000261", 33, "2 bytes wanted, 1 left"),
        (HEAD + "01000000040014000000", 33, "1 trailing bytes"),
    ],
)
def test_refusals(refuses, data, offset, fragment):
    refuses("offset {}".format(offset), fragment, read_spec_id, bytes.fromhex(data))
