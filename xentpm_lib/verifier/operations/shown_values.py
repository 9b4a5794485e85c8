"""PCR values of baselines and hosts side by side, with the events behind them where logs tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xentpm_lib.errors import PolicyError, UsageError
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.policy.model import BootPath
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.reference.diff import Difference, diff
from xentpm_lib.verifier.reference.measured import Measurements, Register, measurements
from xentpm_lib.verifier.station import Station

__all__ = ["Values", "boot_path", "differences", "of_host", "of_reference"]


@dataclass(frozen=True, slots=True)
class Values:
    """One side. name: for people. measured: the events of the registers that a log leads to."""

    name: str
    pcrs: PcrValues
    boot: BootPath
    measured: Measurements


def of_reference(station: Station, reference: ReferenceValues) -> Values:
    """A baseline's values. Raises: StoreError."""
    log = station.store.get_blob(reference.event_log) if reference.event_log else None
    measured = measurements(reference.pcrs, log, reference.boot_log)
    return Values(reference.label, reference.pcrs, boot_path(station, reference), measured)


def of_host(station: Station, host: HostRecord) -> Values:
    """What a host showed last. Raises: UsageError when there is no evidence that held; StoreError."""
    stored = station.store.latest().get(host.host_id)
    evidence = None
    if stored is not None and not stored.altered and stored.result.clock is not None:
        evidence = station.store.evidence(stored.result_id)
    if evidence is None:
        hint = f"Ask it now: xentpm-attest attest {station.registry.word_for(host.host_id)}"
        raise UsageError(f"there is no verified evidence of {host.name}", hint)
    pcrs = evidence.untrusted_pcrs  # its signature and digest held, or the result would have no clock
    measured = measurements(pcrs, evidence.untrusted_event_log, evidence.untrusted_boot_log)
    return Values(host.name, pcrs, _boot_of_host(station, host), measured)


def differences(a: Values, b: Values, registers: Iterable[Register] | None = None) -> tuple[Difference, ...]:
    """Where they differ. registers: those to look at; all of both unless given."""
    return diff(a.pcrs, b.pcrs, a.boot, registers=registers, measured_a=a.measured, measured_b=b.measured)


def boot_path(station: Station, reference: ReferenceValues) -> BootPath:
    """How the hosts boot that a baseline is for, as far as is known."""
    for host in station.registry.hosts():
        if host.host_id in reference.hosts or host.group in reference.groups:
            return _boot_of_host(station, host)
    return BootPath.UEFI_GRUB


def _boot_of_host(station: Station, host: HostRecord) -> BootPath:
    try:
        return station.registry.policy_for(host).boot
    except PolicyError:
        return BootPath.UEFI_GRUB
