"""ESAPI with bytes on both sides: what is refused before a command is sent, and what is asked again."""

import pytest

from support.dom0 import NONCE
from support.in_process import Answer, call, commands_of, proxied, refusal
from support.tpm_proxy import response
from xentpm_lib.errors import TpmError
from xentpm_lib.evidence.tpm_structures import NvPublic
from xentpm_lib.host import functions
from xentpm_lib.tpm import esys as esys_module
from xentpm_lib.tpm.capabilities import read_properties
from xentpm_lib.tpm.esys import LOCKOUT, OWNER, Input, Resource
from xentpm_lib.tpm.keys import EK_HANDLE
from xentpm_lib.tpm.nv import read_resource


@pytest.fixture
def esys(dom0):
    with dom0.host().tpm("test") as tpm:
        yield tpm.esys


@pytest.mark.parametrize(
    "value",
    [
        Input("TPM2B_DATA", b""),
        Input("TPM2B_DATA", b"\0\5abc"),
        Input("TPM2B_DATA", b"\0\1ab"),
        Input("TPM2B_DATA", b"\xff\xff" + b"x" * 65535),
        Input("TPML_PCR_SELECTION", b"\0\0\0\1"),
        Input("TPMT_SIG_SCHEME", b"\x99\x99"),
        Input("TPM2B_PUBLIC", b"\0\4\x99\x99\0\x0b"),
    ],
)
def test_a_structure_that_is_not_well_formed(esys, value):
    with pytest.raises(TpmError) as caught:
        esys.command("PCR_Read", (), (), [value], ("UINT32", "", ""))
    assert "{} of {} bytes is not well formed".format(*_shape(value)) in caught.value.message


def _shape(value):
    return value.type, len(value.data)


@pytest.mark.parametrize("handle", [OWNER, LOCKOUT])
def test_an_authorisation_that_is_too_long(esys, handle):
    with pytest.raises(TpmError):
        esys.set_auth(handle, b"x" * 200)


def test_handles_that_are_not_known(esys):
    for act in (lambda: esys.flush(0x404001), lambda: esys.set_auth(0x404001, b"")):
        with pytest.raises(TpmError) as caught:
            act()
        assert caught.value.code == "XENTPM_TPM_ERROR"
    with pytest.raises(TpmError):
        esys.adopt_session(0x80000005)


def test_nothing_at_a_handle(esys):
    assert esys.open(0x81010099) is None
    assert esys.open(0x01C09999) is None


def test_another_tss_release_keeps_no_public_area(dom0, monkeypatch):
    """Then it is asked for with a command more, and nothing else changes."""
    call(dom0, functions.set_asset_tag, tag="a5" * 20)
    before = call(dom0, functions.get_identity), commands_of(dom0, functions.get_quote, nonce=NONCE)
    monkeypatch.setattr(esys_module, "_sized_tails", lambda data: [])
    assert call(dom0, functions.get_identity) == before[0]
    assert len(commands_of(dom0, functions.get_quote, nonce=NONCE)) == len(before[1]) + 2


def test_an_interruption_stops_before_the_next_command(dom0):
    class Interruption(BaseException):
        pass

    with proxied(dom0) as proxy:
        with pytest.raises(Interruption):
            with dom0.host().tpm("test") as tpm:
                tpm.esys.interrupted = Interruption()
                tpm.esys.open(EK_HANDLE)
        assert proxy.commands == []


def test_a_nonce_that_is_too_long_for_the_tpm(dom0):
    """A TPM whose largest hash is SHA-256 has no room for 64 bytes."""
    with proxied(dom0, Answer("Quote", 0x1D5)):
        error = refusal(dom0, functions.get_quote, nonce=NONCE)
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith("nonce: ")


def test_a_quote_of_another_selection(dom0):
    """An answer of before in the place of the right one."""
    kept = []

    def keep(command):
        if command.name == "Quote":
            kept.append(command.ask(command.data))
            return kept[0]

    with proxied(dom0, keep):
        call(dom0, functions.get_quote, nonce=NONCE, pcrs="sha256:0")
        with pytest.raises(TpmError) as caught:
            call(dom0, functions.get_quote, nonce=NONCE, pcrs="sha256:1")
    assert "another PCR selection" in caught.value.message


def test_digests_that_do_not_match_their_selection(dom0):
    """PCR_Read tells of two PCRs and brings none."""
    parameters = b"\0\0\0\1" + b"\0\0\0\1\0\x0b\3\3\0\0" + b"\0\0\0\0"
    head = response(0)
    answer = head[:2] + (10 + len(parameters)).to_bytes(4, "big") + head[6:] + parameters
    with proxied(dom0, lambda command: answer if command.name == "PCR_Read" else None):
        with pytest.raises(TpmError) as caught:
            call(dom0, functions.get_quote, nonce=NONCE)
    assert "0 PCR values for 2 PCRs" in caught.value.message


def test_a_tpm_that_answers_in_small_pieces(dom0):
    """Handles and properties one at a time, with more to come each time."""

    def one(command):
        if command.name != "GetCapability" or command.data[10:14] == b"\0\0\0\5":
            return None
        return command.ask(command.data[:18] + b"\0\0\0\1")

    before = call(dom0, functions.get_identity)
    with proxied(dom0, one) as proxy:
        assert call(dom0, functions.get_identity) == before
        assert proxy.commands.count("GetCapability") >= 3
        with dom0.host().tpm("test") as tpm:
            assert read_properties(tpm.esys).family == "2.0"


def test_an_index_that_is_too_large(dom0):
    public = NvPublic(index=0x01C00100, name_alg="sha256", attributes=0, auth_policy=b"", data_size=20000)
    with pytest.raises(TpmError) as caught:
        read_resource(None, Resource(1, b"", public.to_tpm2b()))
    assert "20000 bytes is too large" in caught.value.message
