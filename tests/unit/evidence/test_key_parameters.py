"""evidence/key_parameters.py: ciphers and schemes, read and written."""

import pytest

from xentpm_lib.evidence.key_parameters import (
    Scheme,
    Symmetric,
    pack_scheme,
    pack_symmetric,
    read_scheme,
    read_symmetric,
)
from xentpm_lib.evidence.wire import Reader


@pytest.mark.parametrize(
    "symmetric, encoded",
    [
        (None, "0010"),
        (Symmetric("aes", 128, "cfb"), "000600800043"),
        (Symmetric("camellia", 256, "ctr"), "002601000040"),
    ],
)
def test_symmetric(symmetric, encoded):
    assert pack_symmetric(symmetric).hex() == encoded
    assert read_symmetric(Reader(bytes.fromhex(encoded), "x")) == symmetric


@pytest.mark.parametrize(
    "kind, scheme, encoded",
    [
        ("rsa", None, "0010"),
        ("rsa", Scheme("rsassa", "sha256"), "0014000b"),
        ("rsa", Scheme("rsaes", None), "0015"),
        ("ecc", Scheme("ecdsa", "sha384"), "0018000c"),
    ],
)
def test_scheme(kind, scheme, encoded):
    assert pack_scheme(kind, scheme).hex() == encoded
    assert read_scheme(Reader(bytes.fromhex(encoded), "x"), kind) == scheme


@pytest.mark.parametrize(
    "read, encoded, where, fragment",
    [
        (read_symmetric, "000700800043", "offset 0", "cipher 0x0007 is none of aes, sm4, camellia, null"),
        (read_symmetric, "000600400043", "offset 2", "a cipher key of 64 bits"),
        (read_symmetric, "000600800010", "offset 4", "cipher mode 0x0010 is none of"),
        (lambda reader: read_scheme(reader, "rsa"), "0018000b", "offset 0", "rsa scheme 0x0018"),
        (lambda reader: read_scheme(reader, "ecc"), "0014000b", "offset 0", "ecc scheme 0x0014"),
        (lambda reader: read_scheme(reader, "ecc"), "001a000b0001", "offset 0", "ecc scheme 0x001a"),
        (lambda reader: read_scheme(reader, "ecc"), "00180010", "offset 2", "0x0010 is no hash"),
    ],
)
def test_reading_refuses(refuses, read, encoded, where, fragment):
    refuses(where, fragment, read, Reader(bytes.fromhex(encoded), "x"))


@pytest.mark.parametrize(
    "pack, arguments, where, fragment",
    [
        (pack_symmetric, (Symmetric("des", 128, "cfb"),), "symmetric", "'des' is none of"),
        (pack_symmetric, (Symmetric("aes", 127, "cfb"),), "symmetric", "127 bits"),
        (pack_symmetric, (Symmetric("aes", 128, "gcm"),), "symmetric", "'gcm' is none of"),
        (pack_scheme, ("rsa", Scheme("ecdsa", "sha256")), "scheme", "'ecdsa' is none of"),
        (pack_scheme, ("rsa", Scheme("rsaes", "sha256")), "scheme", "rsaes with hash sha256"),
        (pack_scheme, ("rsa", Scheme("rsassa", None)), "scheme", "rsassa with hash None"),
        (pack_scheme, ("rsa", Scheme("rsassa", "md5")), "scheme", "no hash algorithm"),
    ],
)
def test_packing_refuses(refuses, pack, arguments, where, fragment):
    refuses(where, fragment, pack, *arguments)
