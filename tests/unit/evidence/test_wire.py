"""evidence/wire.py: exact lengths, both byte orders, offsets in errors."""

import pytest

from xentpm_lib.evidence.wire import Reader, pack_sized, pack_u8, pack_u16, pack_u32, pack_u64


def test_integers_of_each_size_big_endian():
    reader = Reader(bytes(range(1, 16)), "thing")
    assert [reader.u8(), reader.u16(), reader.u32(), reader.u64()] == [
        0x01,
        0x0203,
        0x04050607,
        0x08090A0B0C0D0E0F,
    ]
    reader.end()


def test_integers_little_endian():
    reader = Reader(b"\1\2\3\4\5\6", "thing", "little")
    assert (reader.u16(), reader.u32()) == (0x0201, 0x06050403)


def test_sized_takes_what_it_says():
    reader = Reader(b"\0\3abcd", "thing")
    assert reader.sized(3) == b"abc"
    assert (reader.offset, reader.remaining) == (5, 1)


@pytest.mark.parametrize(
    "data, read, where, fragment",
    [
        (b"", Reader.u8, "offset 0", "1 bytes wanted, 0 left"),
        (b"\1\2\3", Reader.u32, "offset 0", "4 bytes wanted, 3 left"),
        (b"\0\4abcde", lambda reader: reader.sized(3), "offset 0", "size 4, expected 0 to 3"),
        (b"\0\0", lambda reader: reader.sized(3, 1), "offset 0", "size 0, expected 1 to 3"),
        (b"\0\4abc", lambda reader: reader.sized(9), "offset 2", "4 bytes wanted, 3 left"),
        (b"abc", lambda reader: (reader.u8(), reader.end()), "offset 1", "thing: 2 trailing bytes"),
    ],
)
def test_refusals(refuses, data, read, where, fragment):
    refuses(where, fragment, read, Reader(data, "thing"))


def test_packing():
    assert pack_u8(1) + pack_u16(2) + pack_u32(3) + pack_u64(4) == bytes.fromhex(
        "010002000000030000000000000004"
    )
    assert pack_u16(1, "little") + pack_u32(2, "little") == bytes.fromhex("010002000000")
    assert pack_sized(b"abc", 3) == b"\0\3abc"


@pytest.mark.parametrize(
    "pack, value",
    [(pack_u8, 256), (pack_u16, 1 << 16), (pack_u32, 1 << 32), (pack_u64, 1 << 64), (pack_u8, -1)],
)
def test_packing_refuses_what_does_not_fit(refuses, pack, value):
    refuses("", "does not fit", pack, value)


@pytest.mark.parametrize("data", [b"", b"abcd"])
def test_packing_refuses_a_size_out_of_range(refuses, data):
    refuses("", "expected 1 to 3", pack_sized, data, 3, 1)
