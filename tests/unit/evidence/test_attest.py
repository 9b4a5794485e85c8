"""evidence/attest.py: quotes and certified NV contents."""

import re

import pytest

from xentpm_lib.evidence.attest import MAX_ATTEST_SIZE, Attest, NvCertifyInfo, QuoteInfo
from xentpm_lib.evidence.pcr import PcrSelection, composite_digest
from xentpm_lib.evidence.tpm_structures import NvPublic

NAME = b"\0\x0b" + b"n" * 32
SELECTION = PcrSelection.from_text("sha256:0,7")
QUOTE = Attest("quote", NAME, b"nonce", 1, 2, 3, True, 4, quote=QuoteInfo(SELECTION, b"d" * 32))
NV = QUOTE._replace(type="nv_certify", quote=None, nv=NvCertifyInfo(NAME, 5, b"contents"))


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_tpms_quote(vectors, kind):
    folder = vectors / "swtpm" / kind
    data = (folder / "quote.attest").read_bytes()
    attest = Attest.from_bytes(data)
    assert attest.to_bytes() == data
    read = dict(re.findall(r"(\w+): ([0-9a-f]+)$", (folder / "quote.yaml").read_text("ascii"), re.MULTILINE))
    assert attest.type == "quote" and attest.nv is None
    assert attest.qualified_signer.hex() == read["qualifiedSigner"]
    assert attest.qualified_signer == (folder / "ak.qualified_name").read_bytes()
    assert attest.extra_data.hex() == read["extraData"]
    assert [attest.clock, attest.reset_count, attest.restart_count] == [
        int(read[name]) for name in ("clock", "resetCount", "restartCount")
    ]
    # tpm2_print shows the firmware version as hex digits with its bytes in reverse.
    assert attest.firmware_version.to_bytes(8, "little").hex() == read["firmwareVersion"]
    assert attest.safe == bool(int(read["safe"]))
    assert attest.quote.selection.to_text() == "sha1:0,1,2,3+sha256:0,7,9,23"
    assert attest.quote.pcr_digest.hex() == read["pcrDigest"]


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_the_quoted_digest_is_over_the_values(vectors, kind):
    folder = vectors / "swtpm" / kind
    quote = Attest.from_bytes((folder / "quote.attest").read_bytes()).quote
    values, rest = {}, (folder / "pcrs.bin").read_bytes()
    for bank, size in (("sha1", 20), ("sha256", 32)):
        values[bank] = {}
        for index in quote.selection.indices(bank):
            values[bank][index], rest = rest[:size], rest[size:]
    assert composite_digest(values, quote.selection, "sha256") == quote.pcr_digest


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_tpms_certified_index(vectors, kind):
    folder = vectors / "swtpm" / kind
    data = (folder / "nv.attest").read_bytes()
    attest = Attest.from_bytes(data)
    assert attest.to_bytes() == data
    assert attest.type == "nv_certify" and attest.quote is None
    assert attest.nv == NvCertifyInfo((folder / "nv.name").read_bytes(), 0, b"asset tag of 20 byte")
    assert NvPublic.from_tpm2b((folder / "nv.public").read_bytes()).name() == attest.nv.index_name


@pytest.mark.parametrize("attest", [QUOTE, NV, QUOTE._replace(safe=False, extra_data=b"")])
def test_round_trips(attest):
    assert Attest.from_bytes(attest.to_bytes()) == attest


def test_the_largest_fits():
    name = b"\0\x0d" + bytes(64)
    largest = NV._replace(qualified_signer=name, extra_data=bytes(66), nv=NvCertifyInfo(name, 0, bytes(2048)))
    assert len(largest.to_bytes()) <= MAX_ATTEST_SIZE


DATA = QUOTE.to_bytes().hex()


@pytest.mark.parametrize(
    "data, where, fragment",
    [
        ("", "offset 0", "4 bytes wanted"),
        ("ff544348" + DATA[8:], "offset 0", "magic 0xff544348, expected 0xff544347"),
        ("00000000" + DATA[8:], "offset 0", "magic 0x00000000"),
        (DATA[:8] + "8017" + DATA[12:], "offset 4", "type 0x8017 is none of nv_certify, quote"),
        (DATA[:12] + "0043" + DATA[16:], "offset 6", "size 67, expected 0 to 66"),
        (DATA[:12] + "0000" + DATA[16 + 68 :], "offset 6", "no hash algorithm"),
        (DATA[:16] + "000c" + DATA[20:], "offset 6", "a Name with sha384 has 50 bytes, got 34"),
        (DATA.replace("00056e6f6e6365", "00436e6f6e6365"), "offset 42", "size 67, expected 0 to 66"),
        (DATA.replace("0000000301", "0000000302"), "offset 65", "2 is neither yes (1) nor no (0)"),
        (DATA.replace("00206464", "00416464"), "offset 84", "size 65, expected 0 to 64"),
        (DATA[:-2], "offset 86", "32 bytes wanted, 31 left"),
        (DATA + "00", "offset 118", "1 trailing bytes"),
    ],
)
def test_refusals(refuses, data, where, fragment):
    assert data != DATA
    refuses(where, fragment, Attest.from_bytes, bytes.fromhex(data))


def test_nv_contents_over_the_limit(refuses):
    data = NV.to_bytes().replace(b"\0\x08contents", b"\x08\x01" + bytes(2049))
    refuses("offset 112", "size 2049, expected 0 to 2048", Attest.from_bytes, data)


@pytest.mark.parametrize(
    "attest, where, fragment",
    [
        (QUOTE._replace(type="creation"), "type", "'creation' does not fit"),
        (QUOTE._replace(type="nv_certify"), "type", "does not fit what is attested"),
        (QUOTE._replace(quote=None), "type", "does not fit"),
        (NV._replace(nv=None), "type", "does not fit"),
        (QUOTE._replace(nv=NV.nv), "type", "does not fit"),
        (NV._replace(quote=QUOTE.quote), "type", "does not fit"),
        (QUOTE._replace(qualified_signer=b""), "qualified_signer", "no hash"),
        (QUOTE._replace(extra_data=bytes(67)), "", "67 bytes, expected 0 to 66"),
        (QUOTE._replace(clock=1 << 64), "", "does not fit into 8"),
    ],
)
def test_building_what_cannot_be(refuses, attest, where, fragment):
    refuses(where, fragment, attest.to_bytes)
