"""evidence/pcr.py: selections, composite digests, replay."""

import hashlib

import pytest

from xentpm_lib.evidence.pcr import PcrSelection, composite_digest, extend, replay, start_values

ALL = tuple(range(24))


@pytest.mark.parametrize(
    "text, banks",
    [
        ("sha256:0", (("sha256", (0,)),)),
        ("sha256:all", (("sha256", ALL),)),
        ("sha256:0,1,2+sha384:all", (("sha256", (0, 1, 2)), ("sha384", ALL))),
        ("sha1:23,0", (("sha1", (0, 23)),)),
    ],
)
def test_text(text, banks):
    selection = PcrSelection.from_text(text)
    assert selection.banks == banks
    assert PcrSelection.from_text(selection.to_text()) == selection
    assert PcrSelection.from_bytes(selection.to_bytes()) == selection


def test_accessors():
    selection = PcrSelection.from_text("sha384:3+sha256:1,2")
    assert selection.bank_names() == ("sha384", "sha256")
    assert selection.indices("sha256") == (1, 2)
    assert selection.indices("sha1") == ()


@pytest.mark.parametrize(
    "text, where, fragment",
    [
        ("", "pcrs", "'' is no hash algorithm"),
        ("sha256", "pcrs.sha256", "no registers given"),
        ("sha256:", "pcrs.sha256", "no registers given"),
        ("sha256:0,", "pcrs.sha256", "'' is no register"),
        ("sha256:24", "pcrs.sha256", "'24' is no register"),
        ("sha256:-1", "pcrs.sha256", "'-1' is no register"),
        ("sha256:01", "pcrs.sha256", "'01' is no register"),
        ("sha256: 1", "pcrs.sha256", "' 1' is no register"),
        ("sha256:1-3", "pcrs.sha256", "'1-3' is no register"),
        ("sha256:\u0661", "pcrs.sha256", "is no register"),
        ("sha256:none", "pcrs.sha256", "'none' is no register"),
        ("sha256:1,all", "pcrs.sha256", "'all' is no register"),
        ("sha256:1,2,1", "pcrs.sha256", "a register is given twice"),
        ("sha256:1+sha256:2", "pcrs.sha256", "the bank is given twice"),
        ("sha256:1+", "pcrs", "'' is no hash algorithm"),
        ("SHA256:1", "pcrs", "'SHA256' is no hash algorithm"),
        ("0x000b:1", "pcrs", "'0x000b' is no hash algorithm"),
        ("md5:1", "pcrs", "'md5' is no hash algorithm"),
        ("sha256:0\n", "pcrs.sha256", "is no register"),
        ("sha256:" + "0," * 600, "pcrs", "longer than 1024 characters"),
    ],
)
def test_text_that_is_refused(refuses, text, where, fragment):
    refuses(where, fragment, PcrSelection.from_text, text)


def test_a_bank_without_registers_as_a_tpm_reports_it():
    selection = PcrSelection.from_bytes(bytes.fromhex("00000001000403000000"))
    assert selection == PcrSelection((("sha1", ()),))
    assert selection.to_text() == "sha1:none"


@pytest.mark.parametrize(
    "data, where, fragment",
    [
        ("", "offset 0", "4 bytes wanted"),
        ("00000001", "offset 4", "2 bytes wanted"),
        ("00000009", "offset 0", "9 PCR banks, at most 8"),
        ("ffffffff", "offset 0", "PCR banks, at most 8"),
        ("00000001001003000000", "offset 4", "0x0010 is no hash"),
        ("00000001000b020000", "offset 6", "a PCR bitmap of 2 bytes, expected 3"),
        ("00000001000b0400000000", "offset 6", "a PCR bitmap of 4 bytes"),
        ("00000001000b03ffff", "offset 7", "3 bytes wanted"),
        ("00000001000b03ffffff00", "offset 10", "1 trailing bytes"),
        ("00000002000b03000001000b03000000", "pcrs.sha256", "given twice"),
    ],
)
def test_bytes_that_are_refused(refuses, data, where, fragment):
    refuses(where, fragment, PcrSelection.from_bytes, bytes.fromhex(data))


@pytest.mark.parametrize(
    "banks, where, fragment",
    [
        ((("sha256", (24,)),), "pcrs.sha256", "there is no PCR 24"),
        ((("sha256", (1, 1)),), "pcrs.sha256", "twice"),
        ((("sha256", ()), ("sha256", ())), "pcrs.sha256", "twice"),
        ((("md5", ()),), "", "no hash algorithm"),
    ],
)
def test_building_what_cannot_be(refuses, banks, where, fragment):
    refuses(where, fragment, PcrSelection(banks).to_bytes)


def test_composite_digest_follows_the_selection():
    values = {"sha1": {0: b"a" * 20}, "sha256": {1: b"b" * 32, 2: b"c" * 32}}
    selection = PcrSelection((("sha256", (2, 1)), ("sha1", (0,))))
    expected = hashlib.sha384(b"b" * 32 + b"c" * 32 + b"a" * 20).digest()
    assert composite_digest(values, selection, "sha384") == expected


@pytest.mark.parametrize(
    "values, fragment",
    [({}, "missing"), ({"sha256": {}}, "missing"), ({"sha256": {7: b"short"}}, "expected 32 bytes, got 5")],
)
def test_composite_digest_without_a_value(refuses, values, fragment):
    selection = PcrSelection.from_text("sha256:7")
    refuses("pcrs.sha256[7]", fragment, composite_digest, values, selection, "sha256")


def test_extend():
    assert extend("sha1", bytes(20), b"x" * 20) == hashlib.sha1(bytes(20) + b"x" * 20).digest()


def test_extend_refuses_other_sizes(refuses):
    refuses("old value", "expected 32 bytes, got 20", extend, "sha256", bytes(20), bytes(32))
    refuses("digest", "expected 32 bytes, got 20", extend, "sha256", bytes(32), bytes(20))


def test_start_values():
    values = start_values("sha1")
    assert sorted(values) == list(ALL)
    assert [index for index in ALL if values[index] == b"\xff" * 20] == [17, 18, 19, 20, 21, 22]
    assert set(start_values("sha256", dynamic_launch=True).values()) == {bytes(32)}
    assert start_values("sha1", locality=3)[0] == bytes(19) + b"\3"


def test_start_values_of_no_such_locality(refuses):
    refuses("", "locality 5, expected 0 to 4", start_values, "sha1", 5)


def test_replay():
    digest = b"d" * 32
    values = replay("sha256", [(0, digest), (17, digest), (0, digest)], {17: bytes(32)})
    once = hashlib.sha256(bytes(32) + digest).digest()
    assert values[0] == hashlib.sha256(once + digest).digest()
    assert values[17] == once
    assert values[1] == bytes(32)
    assert values[18] == b"\xff" * 32


def test_replay_refuses(refuses):
    refuses("events", "there is no PCR 24", replay, "sha1", [(24, bytes(20))])
    refuses("digest", "expected 20 bytes", replay, "sha1", [(1, bytes(32))])
