"""The signed PCR values beside what the policy requires of them, reference values aside."""

from __future__ import annotations

from collections.abc import Iterator

from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.appraisal.components import component
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.policy.model import BankRules, Policy

__all__ = ["is_extended", "measurement_findings"]

_FIRMWARE_PCRS = range(8)
_DYNAMIC_PCRS = range(17, 23)
_LAUNCH_PCRS = (17, 18)  # extended by the launch itself, and by what was launched
_LOCALITIES = (0, 3, 4)  # that the TPM may be started from, which register 0 starts with


def is_extended(pcr: int, value: bytes) -> bool:
    """Whether something was measured into the register: it holds no value that it can start with."""
    zeros, ones = bytes(len(value)), b"\xff" * len(value)
    if pcr == 0 and value[:-1] == zeros[:-1] and value[-1] in _LOCALITIES:
        return False
    return value not in (zeros, ones)


def measurement_findings(pcrs: PcrValues, policy: Policy) -> Iterator[Finding]:
    """1. no bank that firmware leaves alone, 2. required PCRs are extended, 3. the dynamic launch happened.

    pcrs: the signed values, all 24 of each bank of the policy.

    Spec: TPM 2.0 Library Part 1, PCR; PC Client Platform TPM Profile, PCR Attributes; CVE-2021-42299 on 1.
    """
    for rules in policy.banks:
        values = pcrs[rules.bank]
        # 1. firmware measures into the bank: else dom0 can extend it to whatever it likes
        if not any(is_extended(pcr, values[pcr]) for pcr in _FIRMWARE_PCRS):
            yield finding(
                "PCR_NOT_EXTENDED",
                where=rules.bank,
                component="firmware",
                detail="the firmware does not measure into this bank",
            )
        # 2. required registers
        yield from _not_extended(values, rules, policy)
        # 3. dynamic launch
        if policy.dynamic_launch:
            yield from _launch_missing(values, rules.bank)


def _not_extended(values: dict[int, bytes], rules: BankRules, policy: Policy) -> Iterator[Finding]:
    for pcr in rules.extended:
        if not is_extended(pcr, values[pcr]):
            yield finding(
                "PCR_NOT_EXTENDED",
                where=f"{rules.bank}:{pcr}",
                component=component(policy.boot, pcr),
                actual=values[pcr].hex(),
            )


def _launch_missing(values: dict[int, bytes], bank: str) -> Iterator[Finding]:
    """One finding for the first register that shows that there was no launch."""
    for pcr in _DYNAMIC_PCRS:
        value = values[pcr]
        if value == b"\xff" * len(value) or (pcr in _LAUNCH_PCRS and not any(value)):
            where = f"{bank}:{pcr}"
            yield finding(
                "DYNAMIC_LAUNCH_MISSING", where=where, component="dynamic launch", actual=value.hex()
            )
            return
