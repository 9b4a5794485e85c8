"""The signed PCR values beside the reference values that are active for the host. RFC 9334, section 8.3.

A host matches when one reference of its own fits all registers; or when one that other hosts have shown fits
those that are shared, and one of its own those that are per host. Two states that the host itself has shown
are never mixed: the firmware of January beside the kernel of June is a state that nobody has approved.
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
    4. both are the same one, or the first was not shown by the host
    5. something was compared: a policy without a register to compare trusts nobody
    """
    # 1. which apply
    of_group = [one for one in references if _applies(one, host)]
    of_group.sort(key=_newest_first)
    of_host = [one for one in of_group if host.host_id in one.hosts]
    # 2. shared, 3. per host
    shared = _compare(pcrs, of_group, policy.shared, policy, "")
    own = _compare(pcrs, of_host, policy.per_host, policy, " of the host itself")
    findings = shared.findings + own.findings
    matching = shared.fitting or own.fitting
    # 4. never mixed
    if shared.fitting and own.fitting:
        matching = _matching(shared.fitting, own.fitting, host)
        findings = () if matching else _mixed(pcrs, own.fitting[0], policy)
    # 5. nothing compared
    fits = set() if findings else {id(one) for one in matching}
    if not fits and not findings:
        findings = (finding("NO_REFERENCE_VALUES", detail="the policy compares no register"),)
    used = tuple(ReferenceUsed(one.reference_id, one.label, id(one) in fits) for one in of_group)
    return Comparison(_without_repetition(findings), used)


def _matching(
    shared: Sequence[ReferenceValues], own: Sequence[ReferenceValues], host: HostRecord
) -> tuple[ReferenceValues, ...]:
    """What the host matches by: all that fit as a whole; without one, those of others, and those of its own
    that go with them; nothing where there is neither."""
    whole = tuple(one for one in own if any(one is other for other in shared))
    of_others = tuple(one for one in shared if not _shown_by(one, host))
    return whole + of_others if whole else of_others and of_others + tuple(own)


def _shown_by(reference: ReferenceValues, host: HostRecord) -> bool:
    """Whether the values are of the host itself, as far as is known."""
    return host.host_id in reference.hosts and reference.source_host in ("", host.host_id)


def _mixed(pcrs: PcrValues, nearest: ReferenceValues, policy: Policy) -> tuple[Finding, ...]:
    """The findings of a host whose registers fit two of its own references, and not one of them."""
    differing = list(_differing(pcrs, nearest, policy.shared))
    detail = f"compared with {nearest.label}; it fits another known-good state, and states are not mixed"
    return tuple(_changed(pcrs, nearest, differing, policy, detail))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """fitting: the alternatives that fit all registers, in their order; findings: why none does."""

    fitting: tuple[ReferenceValues, ...]
    findings: tuple[Finding, ...]


def _compare(
    pcrs: PcrValues,
    alternatives: Sequence[ReferenceValues],
    registers: Sequence[Register],
    policy: Policy,
    whose: str,
) -> _Outcome:
    """The alternatives that fit all registers; else findings against the nearest of them."""
    if not registers:
        return _Outcome((), ())
    if not alternatives:
        numbers = ", ".join(f"{bank}:{pcr}" for bank, pcr in registers)
        return _Outcome((), (finding("NO_REFERENCE_VALUES", detail=f"none{whose} for {numbers}"),))
    fitting = [one for one in alternatives if next(_differing(pcrs, one, registers), None) is None]
    if fitting:
        return _Outcome(tuple(fitting), ())
    differing = [list(_differing(pcrs, one, registers)) for one in alternatives]
    least = min(range(len(alternatives)), key=lambda number: len(differing[number]))
    detail = f"compared with {alternatives[least].label}"
    if len(alternatives) > 1:
        detail += f", the nearest of {len(alternatives)} alternatives"
    return _Outcome((), tuple(_changed(pcrs, alternatives[least], differing[least], policy, detail)))


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
    detail: str,
) -> Iterator[Finding]:
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
