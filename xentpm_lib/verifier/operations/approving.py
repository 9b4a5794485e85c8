"""New baselines from what hosts show: captured as they are, or approved after a look at the differences."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xentpm_lib.errors import XenTpmError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.appraisal.references import compare_references
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.attestation import Attempted
from xentpm_lib.verifier.ledger_bodies import LedgerItem
from xentpm_lib.verifier.operations.asking import Asking, asking
from xentpm_lib.verifier.operations.shown_values import Values, differences, of_reference
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.reference.capture import capture as capture_values
from xentpm_lib.verifier.reference.diff import Difference, compared_registers
from xentpm_lib.verifier.reference.measured import measurements
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import CHANGED

__all__ = ["Captured", "Proposal", "answer", "approve", "basis", "capture", "propose"]

_TRIES = 10  # to write while others do


@dataclass(frozen=True, slots=True)
class Captured:
    """What came of one host: its new baseline, or the error."""

    host: HostRecord
    reference: ReferenceValues | None = None
    error: XenTpmError | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """What approving a host would mean.

    reference: the new baseline, not stored yet. nearest: the one of now that it differs from least; None when
    there is none. differences: in what is compared. counts: whether what the host shows counts already.
    basis: what it was looked at with.
    """

    host: HostRecord
    reference: ReferenceValues
    event_log: bytes | None
    nearest: ReferenceValues | None
    differences: tuple[Difference, ...]
    counts: bool
    basis: object


def capture(
    station: Station,
    hosts: Sequence[HostRecord],
    label: str,
    for_group: bool,
    done: Callable[[HostRecord], None] = lambda _host: None,
) -> list[Captured]:
    """Take what hosts show now as known-good, each for itself; one that fails stops none of the others.

    for_group: the values count for the host's group as well.

    Raises:
        PolicyError: a host's group has no policy.
        StoreError: the store cannot be used.
    """
    captured: dict[str, Captured] = {}

    def keep(host: HostRecord, attempted: Attempted) -> None:
        captured[host.host_id] = _captured(station, host, attempted, label, for_group)
        done(host)

    with asking(station) as parts:
        parts.ask_all(hosts, keep)
    station.refresh()
    return [captured[host.host_id] for host in hosts]


def propose(station: Station, host: HostRecord) -> Proposal:
    """Ask a host, and tell how what it shows differs from what counts for it.

    Raises:
        CaptureError: its evidence does not hold, or a key is in doubt: there is nothing to approve.
        CollectionError: it cannot be asked. PolicyError, StoreError.
    """
    with asking(station) as parts:
        policy = parts.subject(host).policy
        attempted = answer(parts, host)
    reference = _reference(station, host, attempted, f"approved {_today()}", "approved")
    verified = attempted.verified
    log = verified.event_log if verified is not None and reference.event_log else None
    shown = Values(
        host.name, reference.pcrs, policy.boot, measurements(reference.pcrs, log, reference.boot_log)
    )
    nearest, found = _nearest(station, host, shown, policy)
    compared = compare_references(reference.pcrs, host, station.registry.references_for(host), policy)
    return Proposal(host, reference, log, nearest, found, not compared.findings, basis(station, host))


def approve(
    station: Station, proposal: Proposal, label: str | None, for_group: bool, retire_old: bool
) -> ReferenceValues:
    """Store a proposal's baseline. retire_old: what counted for this host alone does not any more.

    Raises:
        StoreError: ``XENTPM_STORE_CHANGED``: somebody else changed what counts for the host meanwhile.
    """
    host = proposal.host
    reference = replace(proposal.reference, label=label or proposal.reference.label)
    if for_group:
        reference = replace(reference, groups=frozenset({host.group}))
    items = [ledger_bodies.reference_added(reference)]
    if retire_old:
        items += _retired(station, host)
    if proposal.event_log is not None:
        station.store.put_blob(proposal.event_log)
    for _ in range(_TRIES):
        station.refresh()
        if basis(station, host) != proposal.basis:
            break
        try:
            station.store.append_all(items, who=who(), after=station.registry.seq)
        except StoreError as error:
            if error.code != CHANGED:
                raise
            continue  # by somebody who was faster; perhaps it is about another host
        station.refresh()
        return reference
    message = f"what counts for {host.name} was changed meanwhile; nothing was approved"
    raise StoreError(message, "Look again, and repeat the command.", CHANGED)


def basis(station: Station, host: HostRecord) -> object:
    """What an approval rests on: the host's keys and group, its policy, and what counts for it."""
    now = station.registry.host(host.host_id)
    return now, station.registry.policy_for(now).digest, station.registry.references_for(now)


def _captured(
    station: Station, host: HostRecord, attempted: Attempted, label: str, for_group: bool
) -> Captured:
    try:
        if attempted.failure is not None:
            raise attempted.failure
        reference = _reference(station, host, attempted, label, "captured")
    except XenTpmError as error:
        return Captured(host, error=error)
    if for_group:
        reference = replace(reference, groups=frozenset({host.group}))
    if reference.event_log and attempted.verified is not None and attempted.verified.event_log is not None:
        station.store.put_blob(attempted.verified.event_log)
    station.store.append(*ledger_bodies.reference_added(reference), who=who())
    return Captured(host, reference)


def answer(parts: Asking, host: HostRecord) -> Attempted:
    """What came of asking a host, where it answered. Raises: CollectionError, PolicyError."""
    attempted = parts.ask(host)
    if attempted.failure is not None:
        raise attempted.failure
    return attempted


def _reference(
    station: Station, host: HostRecord, attempted: Attempted, label: str, origin: str
) -> ReferenceValues:
    policy = station.registry.policy_for(host)
    return capture_values(
        attempted.result, attempted.verified, host, policy, label, who(), time.time(), origin
    )


def _nearest(
    station: Station, host: HostRecord, shown: Values, policy: Policy
) -> tuple[ReferenceValues | None, tuple[Difference, ...]]:
    """Of what counts for the host: the one with the fewest differences, of several the newest."""
    best: tuple[ReferenceValues | None, tuple[Difference, ...]] = (None, ())
    for reference in reversed(station.registry.references_for(host)):
        found = differences(of_reference(station, reference), shown, compared_registers(policy))
        if best[0] is None or len(found) < len(best[1]):
            best = (reference, found)
    return best


def _retired(station: Station, host: HostRecord) -> list[LedgerItem]:
    now = time.time()
    return [
        ledger_bodies.reference_retired(one.reference_id, now)
        for one in station.registry.references_for(host)
        if one.hosts == {host.host_id} and not one.groups
    ]


def _today() -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime())
