"""verifier/appraisal/clock.py: what may go back and what may not."""

import pytest

from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.result import TpmClock

BEFORE = TpmClock(clock=3_600_000, reset_count=7, restart_count=2, safe=True, firmware_version=5)


@pytest.fixture
def desk(make_desk, attesters):
    return make_desk(attesters("ecc"), previous=BEFORE)


def _set(desk, clock=3_600_000, reset_count=7, restart_count=2, safe=True, firmware_version=5):
    attester = desk.attester
    attester.clock, attester.reset_count, attester.restart_count = clock, reset_count, restart_count
    attester.safe, attester.firmware_version = safe, firmware_version


@pytest.mark.parametrize(
    "clock, codes",
    [
        ({}, []),
        ({"clock": 3_600_001}, []),
        ({"clock": 3_599_999}, ["CLOCK_WENT_BACK"]),
        ({"clock": 0}, ["CLOCK_WENT_BACK"]),
        ({"reset_count": 6}, ["CLOCK_WENT_BACK"]),
        ({"reset_count": 6, "clock": 9_000_000}, ["CLOCK_WENT_BACK"]),
        ({"reset_count": 6, "restart_count": 9}, ["CLOCK_WENT_BACK"]),
        ({"restart_count": 1}, ["CLOCK_WENT_BACK"]),
        ({"restart_count": 3}, ["HOST_REBOOTED"]),
        ({"reset_count": 8, "restart_count": 0}, ["HOST_REBOOTED"]),
        ({"reset_count": 8, "clock": 3_599_999}, ["CLOCK_WENT_BACK", "HOST_REBOOTED"]),
        # A power cut: the clock goes on from where it was last stored, and says so.
        ({"reset_count": 8, "clock": 3_599_999, "safe": False}, ["CLOCK_UNSAFE", "HOST_REBOOTED"]),
        ({"clock": 3_599_999, "safe": False}, ["CLOCK_WENT_BACK", "CLOCK_UNSAFE"]),
        ({"firmware_version": 6}, ["TPM_FIRMWARE_CHANGED"]),
        ({"firmware_version": 4}, ["TPM_FIRMWARE_CHANGED"]),
        # A TPM that was cleared begins anew.
        ({"clock": 1000, "reset_count": 0, "restart_count": 0}, ["CLOCK_WENT_BACK"]),
    ],
)
def test_beside_the_last_quote(desk, clock, codes):
    _set(desk, **clock)
    assert desk.codes() == codes


def test_without_a_last_quote(desk):
    desk.previous = None
    _set(desk, clock=0, reset_count=0, restart_count=0)
    assert desk.codes() == []
    _set(desk, safe=False)
    assert desk.codes() == ["CLOCK_UNSAFE"]


def test_what_is_told(desk):
    _set(desk, reset_count=9, restart_count=0, firmware_version=0x700550001)
    version, started = desk.ask().result.findings
    assert (version.expected, version.actual) == ("0000000000000005", "0000000700550001")
    assert (started.expected, started.actual) == ("reset 7, restart 2", "reset 9, restart 0")
    assert (version.severity, started.severity) == (Severity.WARNING, Severity.INFO)


def test_the_clock_of_the_result_is_the_quotes(desk):
    _set(desk, clock=4_000_000)
    assert desk.ask().result.clock == TpmClock(4_000_000, 7, 2, True, 5)


def test_evidence_that_is_not_verified_has_no_clock(desk):
    _set(desk, reset_count=99)
    result = desk.ask(attest={"extra_data": bytes(32)}).result
    assert result.clock is None
