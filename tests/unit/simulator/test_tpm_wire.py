"""Raw TPM commands, byte by byte, and answers that are none."""

from __future__ import annotations

import pytest

from xentpm_lib.errors import TpmError
from xentpm_lib.simulator import tpm_wire


def test_pcr_extend() -> None:
    expected = "8002 00000041 00000182 00000005 00000009 40000009 0000 00 0000 00000002"
    expected += "0004" + "61" * 20 + "000b" + "62" * 32
    size = len(bytes.fromhex(expected))
    assert tpm_wire.pcr_extend(5, {"sha1": b"a" * 20, "sha256": b"b" * 32}) == bytes.fromhex(
        expected.replace("00000041", f"{size:08x}")
    )


def test_pcr_read() -> None:
    expected = "8001 00000014 0000017e 00000001 000b 03 000400"
    assert tpm_wire.pcr_read("sha256", 10) == bytes.fromhex(expected)


def test_shutdown() -> None:
    assert tpm_wire.shutdown() == bytes.fromhex("8001 0000000c 00000145 0000")


def test_nv_read() -> None:
    expected = "8002 00000023 0000014e 01c10110 01c10110 00000009 40000009 0000 00 0000 0014 0000"
    assert tpm_wire.nv_read(0x01C10110, 20) == bytes.fromhex(expected)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "0 bytes, less than a header"),
        (bytes.fromhex("8001 0000000b 00000000"), "has 10 bytes and says 11"),
        (bytes.fromhex("8001 0000000a 00000101"), "answered 0x101"),
    ],
)
def test_answers_that_are_none(answer: bytes, message: str) -> None:
    with pytest.raises(TpmError, match=message):
        tpm_wire.check_response("TPM2_Test", answer)


def test_a_refusal_keeps_its_code() -> None:
    with pytest.raises(TpmError) as caught:
        tpm_wire.check_response("TPM2_Test", bytes.fromhex("8001 0000000a 0000018b"))
    assert caught.value.rc == tpm_wire.RC_NV_HANDLE


@pytest.mark.parametrize(
    "answer", [b"", bytes(14), bytes.fromhex("00000001 00000001 000b 03 000000 00000000")]
)
def test_no_pcr(answer: bytes) -> None:
    with pytest.raises(TpmError, match="cannot be read"):
        tpm_wire.parse_pcr("sha256", 0, answer)


def test_nv_data_that_ends_early() -> None:
    with pytest.raises(TpmError, match="ends early"):
        tpm_wire.parse_nv_data(bytes.fromhex("00000006 0005 616161"))
