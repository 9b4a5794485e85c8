"""What it means for a group that one host's values are to count for all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xentpm_lib.errors import UsageError
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.appraisal.components import component
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.reference.prediction import PREDICTED_PCRS
from xentpm_lib.verifier.registry import Registry

__all__ = ["GroupEffect", "NewForGroup", "group_effect"]


@dataclass(frozen=True, slots=True)
class NewForGroup:
    """A value that is signed by this host, and would become known-good for hosts that do not have it."""

    bank: str
    pcr: int
    what: str
    value: bytes
    hosts: int


@dataclass(frozen=True, slots=True)
class GroupEffect:
    """name: of the group. hosts: how many it has. new: what becomes good beside what is predicted.

    known: bank, register, what it is, and for each other host its known-good values.
    """

    name: str
    hosts: int
    known: tuple[tuple[str, int, str, tuple[frozenset[bytes], ...]], ...] = ()
    new: tuple[NewForGroup, ...] = ()

    def with_values(self, pcrs: PcrValues) -> GroupEffect:
        """The effect of these values."""
        found = []
        for bank, pcr, what, good in self.known:
            value = pcrs[bank][pcr]
            hosts = sum(value not in values for values in good)
            if hosts:
                found.append(NewForGroup(bank, pcr, what, value, hosts))
        return replace(self, new=tuple(found))


def group_effect(registry: Registry, host: HostRecord, policy: Policy) -> GroupEffect:
    """What counting for the host's group means, values aside.

    Raises:
        UsageError: the policy compares PCR 8 and 9 per host, or not at all: a prediction would prepare no
            other host, and make only the other registers of this one good for the group.
    """
    if not any(pcr in PREDICTED_PCRS for _, pcr in policy.shared):
        message = f"--for-group would prepare nobody: the policy {policy.name} compares PCR 8 and 9 per host"
        raise UsageError(message, "Leave it out, and predict each host for itself.")
    members = [one for one in registry.hosts() if one.group == host.group]
    others = [registry.references_for(one) for one in members if one.host_id != host.host_id]
    known = tuple(
        (bank, pcr, component(policy.boot, pcr), tuple(_values(of_one, bank, pcr) for of_one in others))
        for bank, pcr in policy.shared
        if pcr not in PREDICTED_PCRS
    )
    return GroupEffect(host.group, len(members), known)


def _values(references: tuple[ReferenceValues, ...], bank: str, pcr: int) -> frozenset[bytes]:
    return frozenset(one.pcrs.get(bank, {}).get(pcr, b"") for one in references)
