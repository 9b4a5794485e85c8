"""Baselines for a boot that is still to come, of what a trusted host says it will measure."""

from __future__ import annotations

import time
from dataclasses import dataclass

from xentpm_lib.verifier.appraisal.model import VerifiedEvidence
from xentpm_lib.verifier.appraisal.references import Comparison, compare_references
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.operations.approving import Proposal, answer, approve, basis
from xentpm_lib.verifier.operations.asking import Asking, asking
from xentpm_lib.verifier.operations.group_effect import GroupEffect, group_effect
from xentpm_lib.verifier.operations.shown_values import Values, differences, of_reference
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.plain import host_says
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.reference.diff import compared_registers
from xentpm_lib.verifier.reference.measured import Measurements, measurements
from xentpm_lib.verifier.reference.prediction import (
    Predicted,
    PredictionError,
    check_can_be_predicted,
    predict,
)
from xentpm_lib.verifier.result import AttestationResult, Verdict
from xentpm_lib.verifier.station import Station

__all__ = ["Prepared", "keep", "never_booted", "prepare"]

_FUNCTION = "tpm_predict_boot"
_RESULTS = 300  # newest results of a host in which its predictions are looked for
_MAX_ERROR = 500  # characters of a host's error


@dataclass(frozen=True, slots=True)
class Prepared:
    """What preparing a host's next boot would mean; ``keep`` stores it.

    proposal: with the differences between this boot and the next. ``nearest``: the baseline that this boot
    matches; where ``counts`` says that there is nothing to prepare, the one that the next will match.
    entry, notes: as in `Predicted`. result: by which the host is trusted.
    group: what it would mean for the host's group; None where it is to count for the host alone.
    """

    proposal: Proposal
    entry: str
    notes: tuple[str, ...]
    result: AttestationResult
    group: GroupEffect | None = None


def prepare(station: Station, host: HostRecord, for_group: bool = False) -> Prepared:
    """Ask a host for a quote, and, where it is trusted by that, what its next boot will measure.

    for_group: the values are to count for the host's group as well.

    Raises:
        PredictionError: it is not trusted, or what it predicts cannot be taken.
        CollectionError: it cannot be asked, or its plugin cannot predict.
        UsageError: a group for which the policy compares nothing that is predicted.
        CaptureError, PolicyError, StoreError.
    """
    with asking(station) as parts:
        policy = parts.subject(host).policy
        effect = group_effect(station.registry, host, policy) if for_group else None
        attempted = answer(parts, host)
        check_can_be_predicted(attempted.result, host, policy)
        text = _asked(parts, host, policy)
    now = time.time()
    label = time.strftime("predicted %Y-%m-%d %H:%M", time.gmtime(now))
    predicted = predict(text, attempted.result, attempted.verified, host, policy, label, who(), now)
    assert attempted.verified is not None, "a trusted host's evidence was verified"
    proposal = _proposal(station, host, policy, attempted.verified, predicted)
    group = None if effect is None else effect.with_values(predicted.reference.pcrs)
    return Prepared(proposal, predicted.entry, predicted.notes, attempted.result, group)


def keep(station: Station, prepared: Prepared, label: str | None) -> ReferenceValues:
    """Store what was prepared.

    Raises:
        PredictionError: the host is not trusted any more.
        StoreError: as ``approving.approve``.
    """
    _check_still_trusted(station, prepared)
    return approve(station, prepared.proposal, label, prepared.group is not None, retire_old=False)


def never_booted(station: Station, host: HostRecord, but: ReferenceValues | None) -> list[ReferenceValues]:
    """The predictions of the host that count for it and that no result of it has matched, but one."""
    found = [
        one
        for one in station.registry.references_for(host)
        if one.origin == "predicted" and one.source_host == host.host_id and one != but
    ]
    results = station.store.history(host.host_id, _RESULTS) if found else []
    booted = {used.id for one in results for used in one.result.references if used.matched}
    return [one for one in found if one.reference_id not in booted]


def _asked(parts: Asking, host: HostRecord, policy: Policy) -> str:
    """What the host predicts, not looked at yet. An error of it is marked as its own words."""
    client = parts.clients.of(parts.station.registry.pool(host.pool_id))
    try:
        return client.call_plugin(host.host_id, _FUNCTION, {}, policy.timing.call_timeout)
    except CollectionError as error:
        if error.finding != "PLUGIN_ERROR":
            raise
        own = error.message.startswith("XENTPM_") and error.hint
        hint = host_says(error.hint) if own else error.hint
        said = host_says(error.message, _MAX_ERROR)
        raise CollectionError(error.finding, said, hint, error.permanent) from None


def _check_still_trusted(station: Station, prepared: Prepared) -> None:
    """Raises: PredictionError when the host was found untrusted meanwhile, or too much time has passed."""
    host, basis_of_it = prepared.proposal.host, prepared.result
    if time.time() >= basis_of_it.expires_at:
        message = f"the result by which {host.name} was trusted has expired; nothing was prepared"
        raise PredictionError(message, "Repeat the command.")
    newest = station.store.latest(host.host_id).get(host.host_id)
    if newest is None or (not newest.altered and newest.result.appraised_at <= basis_of_it.appraised_at):
        return
    if newest.altered or newest.result.verdict is not Verdict.TRUSTED:
        message = f"{host.name} is not trusted any more, by a result of just now; nothing was prepared"
        raise PredictionError(message, "See xentpm-attest explain HOST.")


def _proposal(
    station: Station, host: HostRecord, policy: Policy, evidence: VerifiedEvidence, predicted: Predicted
) -> Proposal:
    reference, known = predicted.reference, station.registry.references_for(host)
    now = Values(host.name, evidence.pcrs, policy.boot, _known_events(station, evidence, known))
    measured = measurements(reference.pcrs, predicted.event_log, reference.boot_log)
    then = Values(reference.label, reference.pcrs, policy.boot, measured)
    found = differences(now, then, compared_registers(policy))
    next_boot = compare_references(reference.pcrs, host, known, policy)
    counts = not next_boot.findings
    this_boot = compare_references(evidence.pcrs, host, known, policy)
    old = _matching(known, next_boot if counts else this_boot)
    return Proposal(host, reference, predicted.event_log, old, found, counts, basis(station, host))


def _known_events(
    station: Station, evidence: VerifiedEvidence, known: tuple[ReferenceValues, ...]
) -> Measurements:
    """The events behind this boot's values: by those of baselines with that value, else by the host's logs.

    What the host says now comes last: it could give a file the name of another, so that a change of Xen is
    told as one of a font. For the same reason a baseline that was predicted comes behind those that were not.
    """
    log = evidence.event_log if evidence.events is not None else None
    events = measurements(evidence.pcrs, log, evidence.boot_log)
    for reference in sorted(known, key=lambda one: one.origin != "predicted"):
        for (bank, pcr), measured in of_reference(station, reference).measured.items():
            if evidence.pcrs.get(bank, {}).get(pcr) == reference.pcrs[bank][pcr]:
                events[bank, pcr] = measured
    return events


def _matching(known: tuple[ReferenceValues, ...], compared: Comparison) -> ReferenceValues | None:
    matched = {used.id for used in compared.used if used.matched}
    return next((one for one in reversed(known) if one.reference_id in matched), None)
