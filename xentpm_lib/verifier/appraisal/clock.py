"""The TPM's clock and counters beside those of the last verified quote: they only ever go on."""

from __future__ import annotations

from collections.abc import Iterator

from xentpm_lib.evidence.attest import Attest
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.result import TpmClock

__all__ = ["clock_findings", "clock_of"]


def clock_of(attest: Attest) -> TpmClock:
    """The clock information of a verified statement."""
    return TpmClock(
        attest.clock, attest.reset_count, attest.restart_count, attest.safe, attest.firmware_version
    )


def clock_findings(current: TpmClock, previous: TpmClock | None) -> Iterator[Finding]:
    """What the clock tells, beside that of the last verified quote (None: there was none).

    1. resetCount, restartCount and clock do not go back; the clock may after a loss of power without notice,
       and then the TPM says that it is not safe. 2. ``safe``. 3. firmware version. 4. a start since then.

    Spec: TPM 2.0 Library Part 1, Clock and Reset Count; Part 2, TPMS_CLOCK_INFO.
    """
    if previous is not None:
        yield from _went_back(current, previous)
    if not current.safe:
        yield finding("CLOCK_UNSAFE", where="clock", component="TPM", actual=f"{current.clock} ms")
    if previous is None:
        return
    if current.firmware_version != previous.firmware_version:
        yield finding(
            "TPM_FIRMWARE_CHANGED",
            where="firmware_version",
            component="TPM",
            expected=_version(previous),
            actual=_version(current),
        )
    if _counters(current) > _counters(previous):
        yield finding(
            "HOST_REBOOTED", where="reset_count", expected=_starts(previous), actual=_starts(current)
        )


def _went_back(current: TpmClock, previous: TpmClock) -> Iterator[Finding]:
    if _counters(current) < _counters(previous):
        yield finding(
            "CLOCK_WENT_BACK",
            where="reset_count",
            component="TPM",
            expected="at least " + _starts(previous),
            actual=_starts(current),
        )
        return
    may_be_behind = current.reset_count > previous.reset_count and not current.safe
    if current.clock < previous.clock and not may_be_behind:
        yield finding(
            "CLOCK_WENT_BACK",
            where="clock",
            component="TPM",
            expected=f"at least {previous.clock} ms",
            actual=f"{current.clock} ms",
        )


def _counters(clock: TpmClock) -> tuple[int, int]:
    return clock.reset_count, clock.restart_count


def _starts(clock: TpmClock) -> str:
    return f"reset {clock.reset_count}, restart {clock.restart_count}"


def _version(clock: TpmClock) -> str:
    return f"{clock.firmware_version:016x}"
