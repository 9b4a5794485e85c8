"""Quotes: what they cover, that others verify them, and PCRs that do not hold still."""

import base64
import hashlib
import os

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding

from support.dom0 import NONCE
from support.in_process import Answer, call, commands_of, proxied, refusal
from support.tpm2_tools import Tpm2Failed, run_tool, tpm2
from xentpm_lib.evidence.pcr import composite_digest
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Attest, Public, Signature
from xentpm_lib.host import functions
from xentpm_lib.simulator.tpm_wire import pcr_extend

RAW_NONCE = base64.b64decode(NONCE)
RC_HASH_PARAMETER_1, RC_VALUE_PARAMETER_1 = 0x1C3, 0x1C4


def _quote(dom0, **arguments):
    arguments.setdefault("nonce", NONCE)
    return QuoteEvidence.from_json(call(dom0, functions.get_quote, **arguments))


def _selection(evidence):
    return Attest.from_bytes(evidence.attest).quote.selection.to_text()


def _is_consistent(evidence):
    quote = Attest.from_bytes(evidence.attest).quote
    assert quote.pcr_digest == composite_digest(evidence.untrusted_pcrs, quote.selection, "sha256")


# By other verifiers


@pytest.mark.parametrize("pcrs", [None, "sha256:0,7,23", "sha1:0,1+sha256:all", "sha256:1+sha1:3"])
@pytest.mark.parametrize("algorithm", ["ecc", "rsa"])
def test_tpm2_checkquote_verifies(dom0, algorithm, pcrs):
    dom0.configure(ak_algorithm=algorithm)
    evidence = _quote(dom0) if pcrs is None else _quote(dom0, pcrs=pcrs)
    _checkquote(dom0.root, evidence, RAW_NONCE)
    with pytest.raises(Tpm2Failed):
        _checkquote(dom0.root, evidence, RAW_NONCE[::-1])
    with pytest.raises(Tpm2Failed):
        damaged = evidence.attest[:-1] + bytes([evidence.attest[-1] ^ 1])
        _checkquote(dom0.root, evidence._replace(attest=damaged), RAW_NONCE)


def _checkquote(folder, evidence, nonce):
    public = Public.from_tpm2b(evidence.untrusted_ak_public)
    files = {"ak.pem": public.pem().encode(), "attest": evidence.attest, "signature": evidence.signature}
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
    command = ["tpm2_checkquote", "-u", "ak.pem", "-m", "attest", "-s", "signature", "-g", "sha256"]
    run_tool(command + ["-q", nonce.hex()], folder, dict(os.environ, TSS2_LOG="all+none"))


@pytest.mark.parametrize("algorithm", ["ecc", "rsa"])
def test_cryptography_verifies(dom0, algorithm):
    dom0.configure(ak_algorithm=algorithm)
    evidence = _quote(dom0)
    pem = Public.from_tpm2b(evidence.untrusted_ak_public).pem()
    key = serialization.load_pem_public_key(pem.encode("ascii"))
    signature = Signature.from_bytes(evidence.signature).der()
    if algorithm == "ecc":
        key.verify(signature, evidence.attest, ec.ECDSA(hashes.SHA256()))
    else:
        key.verify(signature, evidence.attest, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("size", [16, 20, 32, 33, 48, 64])
def test_the_nonce_is_the_extra_data(dom0, size):
    nonce = hashlib.sha512(b"n").digest()[:size]
    evidence = _quote(dom0, nonce=base64.b64encode(nonce).decode("ascii"))
    assert Attest.from_bytes(evidence.attest).extra_data == nonce


# What is covered


@pytest.mark.parametrize(
    "pcrs, selection",
    [
        ("sha256:0", "sha256:0"),
        ("sha256:23,0,7", "sha256:0,7,23"),
        ("sha256:all", "sha256:all"),
        ("sha1:all+sha256:all", "sha1:all+sha256:all"),
        ("sha256:1,2+sha1:3", "sha256:1,2+sha1:3"),
    ],
)
def test_selection(dom0, pcrs, selection):
    evidence = _quote(dom0, pcrs=pcrs)
    assert _selection(evidence) == selection
    _is_consistent(evidence)


@pytest.mark.parametrize("pcrs", ["sha384:0", "sha512:all", "sha256:0+sha384:0", "sha3_256:0+sha256:0"])
def test_an_inactive_bank(dom0, pcrs):
    error = refusal(dom0, functions.get_quote, nonce=NONCE, pcrs=pcrs)
    assert error.code == "XENTPM_BAD_ARGUMENT"
    assert error.message.startswith("pcrs: ")
    assert "active banks: sha1, sha256" in error.message


def test_the_values_are_the_tpms(dom0):
    dom0.tpm.extend(7, {"sha1": b"\1" * 20, "sha256": b"\2" * 32})
    evidence = _quote(dom0, pcrs="sha1:7+sha256:7,17")
    for bank, index in (("sha1", 7), ("sha256", 7), ("sha256", 17)):
        assert evidence.untrusted_pcrs[bank][index] == dom0.tpm.read_pcr(bank, index)
    assert evidence.untrusted_pcrs["sha256"][17] == b"\xff" * 32


def test_the_strongest_bank_is_the_default(sha384_dom0):
    evidence = _quote(sha384_dom0)
    assert _selection(evidence) == "sha384:all"
    assert len(evidence.untrusted_pcrs["sha384"][0]) == 48
    _is_consistent(evidence)
    assert _selection(_quote(sha384_dom0, pcrs="sha256:0")) == "sha256:0"


def test_a_bank_that_firmware_left_at_zero_is_not_the_default(sha384_dom0):
    """The uncapped bank: anybody in dom0 could extend it to what a good boot would have made of it."""
    measured = {"sha1": bytes(19) + b"1", "sha256": bytes(31) + b"1"}
    sha384_dom0.tpm.extend(0, measured)
    assert _selection(_quote(sha384_dom0)) == "sha256:all"
    sha384_dom0.tpm.extend(0, {"sha384": bytes(47) + b"1"})
    assert _selection(_quote(sha384_dom0)) == "sha384:all"


def test_no_bank_that_may_be_quoted(sha1_dom0):
    error = refusal(sha1_dom0, functions.get_quote, nonce=NONCE)
    assert error.code == "XENTPM_NO_BANK"
    assert "active: sha1" in error.message
    error = refusal(sha1_dom0, functions.get_quote, nonce=NONCE, pcrs="sha256:0")
    assert error.code == "XENTPM_BAD_ARGUMENT"


def test_banks_changed_by_an_administrator(dom0):
    tpm2(dom0, "pcrallocate", "sha1:none+sha256:none+sha384:all")
    dom0.tpm.power_cycle()
    assert _selection(_quote(dom0)) == "sha384:all"
    tpm2(dom0, "pcrallocate", "sha1:all+sha256:none+sha384:none")
    dom0.tpm.power_cycle()
    assert refusal(dom0, functions.get_quote, nonce=NONCE).code == "XENTPM_NO_BANK"


@pytest.mark.parametrize("rc", [RC_HASH_PARAMETER_1, RC_VALUE_PARAMETER_1])
def test_a_tpm_that_refuses_banks_that_it_does_not_know(dom0, rc):
    with proxied(dom0, Answer("PCR_Read", rc, 1)) as proxy:
        evidence = _quote(dom0)
        assert "GetCapability" in proxy.commands
    assert _selection(evidence) == "sha256:all"
    _is_consistent(evidence)


def test_a_tpm_that_refuses_an_asked_bank(dom0):
    with proxied(dom0, Answer("PCR_Read", RC_HASH_PARAMETER_1)):
        error = refusal(dom0, functions.get_quote, nonce=NONCE, pcrs="sha3_256:0+sha256:0")
    assert error.code == "XENTPM_BAD_ARGUMENT"


def test_event_log(dom0):
    log = bytes(range(256)) * 4
    with open(dom0.paths.at("sys/kernel/security/tpm0/binary_bios_measurements"), "wb") as file:
        file.write(log)
    assert _quote(dom0).untrusted_event_log == log
    assert _quote(dom0, event_log="true").untrusted_event_log == log
    assert _quote(dom0, event_log="false").untrusted_event_log is None
    assert _quote(dom0).untrusted_boot_log is None


# PCRs that change between reading and signing


class _ExtendBeforeQuote:
    def __init__(self, times):
        self.left = times

    def __call__(self, command):
        if command.name == "Quote" and self.left:
            self.left -= 1
            command.ask(pcr_extend(10, {"sha256": hashlib.sha256(b"%d" % self.left).digest()}))


@pytest.mark.parametrize("times", [1, 4])
def test_pcrs_that_change_and_then_hold_still(dom0, times):
    with proxied(dom0, _ExtendBeforeQuote(times)) as proxy:
        evidence = _quote(dom0)
        assert proxy.commands.count("Quote") == times + 1
    _is_consistent(evidence)
    assert evidence.untrusted_pcrs["sha256"][10] == dom0.tpm.read_pcr("sha256", 10)


def test_pcrs_that_change_all_the_time(dom0):
    with proxied(dom0, _ExtendBeforeQuote(1000)) as proxy:
        error = refusal(dom0, functions.get_quote, nonce=NONCE)
        assert proxy.commands.count("Quote") == 5
    assert error.code == "XENTPM_PCRS_CHANGE"
    assert "pcrs=" in error.hint
    _quote(dom0)


def test_a_change_of_what_was_not_asked_for_is_no_matter(dom0):
    with proxied(dom0, _ExtendBeforeQuote(1000)) as proxy:
        _quote(dom0, pcrs="sha256:0,1")
        assert proxy.commands.count("Quote") == 1


def test_eight_digests_a_command(dom0):
    assert commands_of(dom0, functions.get_quote, nonce=NONCE, pcrs="sha256:0,1").count("PCR_Read") == 1
    assert commands_of(dom0, functions.get_quote, nonce=NONCE).count("PCR_Read") == 3
