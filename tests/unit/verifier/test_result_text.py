"""Results for people."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.examples import examples
from xentpm_lib.verifier.findings import FINDING_KINDS, Severity, finding
from xentpm_lib.verifier.plain import one_line
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, ReferenceUsed, TpmClock
from xentpm_lib.verifier.result_text import result_to_text

UUID = "2c6f1a52-6b0e-4d5c-9b0a-6f2a5d3c9e01"


def made(*findings, **fields):
    common = {
        "host_id": UUID,
        "host_name": "xen-07",
        "pool_id": "pool",
        "appraised_at": 1769903999.25,
        "expires_at": 1769904899.25,
        "policy": PolicyUsed("uefi-grub", "ab" * 32),
        "references": (ReferenceUsed("id-1", "8.3 March", True),),
        "clock": TpmClock(5, 7, 2, True, 0x10),
        "ek_trust": "certificate",
    }
    common.update(fields)
    return AttestationResult(findings=findings, **common)


CHANGED = (
    finding("HOST_REBOOTED"),
    finding("PCR_CHANGED", expected="a" * 64, actual="b" * 64, where="sha256:9", component="dom0 initrd"),
    finding("PCR_CHANGED", expected="c" * 64, actual="d" * 64, where="sha256:8", component="command line"),
)


def test_trusted():
    assert result_to_text(made()) == (
        "xen-07 is trusted\n"
        "  host      2c6f1a52-6b0e-4d5c-9b0a-6f2a5d3c9e01\n"
        "  pool      pool\n"
        "  attested  2026-01-31 23:59:59 UTC, holds until 2026-02-01 00:14:59 UTC\n"
        "  policy    uefi-grub (abababababab)\n"
        "  EK        certified by the TPM's maker\n"
        "  baseline  8.3 March (id-1): matches\n"
        "  TPM       7 resets, 2 restarts, firmware 0000000000000010\n"
    )


def test_failed_findings_come_first_and_digests_stay_whole():
    text = result_to_text(made(*CHANGED))
    assert text.startswith("xen-07 is untrusted: a measurement is not as expected\n")
    assert text.index("PCR_CHANGED") < text.index("HOST_REBOOTED")
    assert "  dom0 initrd, sha256:9\n    expected  " + "a" * 64 + "\n    actual    " + "b" * 64 + "\n" in text
    assert text.count("To do:") == 1


@pytest.mark.parametrize("code", sorted(FINDING_KINDS))
@pytest.mark.parametrize("width", [1, 40, 79, 200])
def test_every_code_fits(code, width):
    text = result_to_text(made(finding(code, Severity.FAILED, detail="word " * 60, expected="e" * 64)), width)
    assert code in text.replace("\n  ", "")
    assert max(map(len, text.splitlines())) <= max(width, 40)


def test_an_unreachable_host_without_anything():
    text = result_to_text(made(finding("HOST_OFFLINE"), clock=None, references=(), ek_trust=""))
    assert "no evidence could be collected" in text
    assert "TPM " not in text.splitlines()[5]


HOSTILE = "\x1b]0;title\x07\x1b[2J\r\n\u202egnp.exe\u2028\x9b31m\ud800\u200b"


def test_nothing_a_host_writes_reaches_the_terminal():
    found = finding(
        "PLUGIN_ERROR", expected=HOSTILE, actual=HOSTILE, where=HOSTILE, component=HOSTILE, detail=HOSTILE
    )
    references = (ReferenceUsed(HOSTILE, HOSTILE, False),)
    fields = {"host_name": HOSTILE, "host_id": HOSTILE, "pool_id": HOSTILE, "references": references}
    text = result_to_text(made(found, policy=PolicyUsed(HOSTILE, HOSTILE), **fields))
    assert all(line.isprintable() for line in text.split("\n"))
    text.encode("utf-8")


@examples()
@given(st.text(max_size=300), st.text(max_size=300), st.integers(0, 200))
def test_any_text(name, detail, width):
    text = result_to_text(made(finding("PLUGIN_ERROR", detail=detail), host_name=name), width)
    assert all(line.isprintable() for line in text.split("\n"))
    assert re.search(r"PLUGIN_ERROR", text.replace("\n  ", ""))


def test_long_text_is_cut():
    text = result_to_text(made(finding("PLUGIN_ERROR", detail="x" * 100_000)))
    assert len(text) < 4000
    assert "…" in text


@examples()
@given(st.text(max_size=50), st.integers(0, 60))
def test_one_line(text, limit):
    shown = one_line(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit + 1
    if text.isprintable() and len(text) <= limit:
        assert shown == text
