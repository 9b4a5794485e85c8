"""The signed PCR values beside the reference values that are active for the host. RFC 9334, section 8.3.

A host matches when one active reference of the host or its group fits all registers that are shared, and one
of the host itself all that are per host. Registers of two references are never mixed: half of one known-good
state and half of another is a state that nobody has approved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.appraisal.components import component
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.policy.model import Policy, Register
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.result import ReferenceUsed

__all__ = ["Comparison", "compare_references"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing has found. used: every reference that applies; ``matched``: why the host matches."""

    findings: tuple[Finding, ...]
    used: tuple[ReferenceUsed, ...]


def compare_references(
    pcrs: PcrValues, host: HostRecord, references: Sequence[ReferenceValues], policy: Policy
) -> Comparison:
    """Compare the signed values with the reference values.

    1. only active references that are assigned to the host, or to its group for shared registers
    2. one reference matches all shared registers
    3. one reference of the host itself matches all registers that are per host
    4. something was compared: a policy without a register to compare trusts nobody
    """
    # 1. which apply
    of_group = [one for one in references if _applies(one, host)]
    of_group.sort(key=_newest_first)
    of_host = [one for one in of_group if host.host_id in one.hosts]
    # 2. shared, 3. per host
    shared = _compare(pcrs, of_group, policy.shared, policy, "")
    own = _compare(pcrs, of_host, policy.per_host, policy, " of the host itself")
    findings = shared.findings + own.findings
    matched = {id(one) for one in (shared.match, own.match) if one is not None and not findings}
    # 4. nothing compared
    if not matched and not findings:
        findings = (finding("NO_REFERENCE_VALUES", detail="the policy compares no register"),)
    used = tuple(ReferenceUsed(one.reference_id, one.label, id(one) in matched) for one in of_group)
    return Comparison(_without_repetition(findings), used)


@dataclass(frozen=True, slots=True)
class _Outcome:
    match: ReferenceValues | None
    findings: tuple[Finding, ...]


def _compare(
    pcrs: PcrValues,
    alternatives: Sequence[ReferenceValues],
    registers: Sequence[Register],
    policy: Policy,
    whose: str,
) -> _Outcome:
    """The first alternative that fits all registers; else findings against the nearest of them."""
    if not registers:
        return _Outcome(None, ())
    if not alternatives:
        numbers = ", ".join(f"{bank}:{pcr}" for bank, pcr in registers)
        return _Outcome(None, (finding("NO_REFERENCE_VALUES", detail=f"none{whose} for {numbers}"),))
    for one in alternatives:
        if next(_differing(pcrs, one, registers), None) is None:
            return _Outcome(one, ())
    differing = [list(_differing(pcrs, one, registers)) for one in alternatives]
    least = min(range(len(alternatives)), key=lambda number: len(differing[number]))
    changed = _changed(pcrs, alternatives[least], differing[least], policy, len(alternatives))
    return _Outcome(None, tuple(changed))


def _differing(
    pcrs: PcrValues, reference: ReferenceValues, registers: Sequence[Register]
) -> Iterator[Register]:
    """The registers in which the reference has another value, or none."""
    for bank, pcr in registers:
        of_bank = reference.pcrs.get(bank)
        if of_bank is None or of_bank.get(pcr) != pcrs[bank][pcr]:
            yield bank, pcr


def _changed(
    pcrs: PcrValues,
    nearest: ReferenceValues,
    differing: Sequence[Register],
    policy: Policy,
    alternatives: int,
) -> Iterator[Finding]:
    detail = f"compared with {nearest.label}"
    if alternatives > 1:
        detail += f", the nearest of {alternatives} alternatives"
    for bank, pcr in differing:
        yield finding(
            "PCR_CHANGED",
            expected=nearest.pcrs.get(bank, {}).get(pcr, b"").hex(),
            actual=pcrs[bank][pcr].hex(),
            where=f"{bank}:{pcr}",
            component=component(policy.boot, pcr),
            detail=detail,
        )


def _applies(reference: ReferenceValues, host: HostRecord) -> bool:
    assigned = host.host_id in reference.hosts or host.group in reference.groups
    return assigned and reference.retired_at is None


def _newest_first(reference: ReferenceValues) -> tuple[float, str]:
    return -reference.created_at, reference.reference_id


def _without_repetition(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """When there are no reference values at all, that is one finding, not one for each kind of register."""
    if all(found.code == "NO_REFERENCE_VALUES" for found in findings):
        return findings[:1]
    return findings
