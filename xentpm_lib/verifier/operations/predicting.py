"""Baselines for a boot that is still to come, of what a trusted host says it will measure."""

from __future__ import annotations

import time
from dataclasses import dataclass

from xentpm_lib.verifier.appraisal.model import VerifiedEvidence
from xentpm_lib.verifier.appraisal.references import Comparison, compare_references
from xentpm_lib.verifier.operations.approving import Proposal, answer, basis
from xentpm_lib.verifier.operations.asking import asking
from xentpm_lib.verifier.operations.shown_values import Values, differences, of_reference
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.reference.diff import compared_registers
from xentpm_lib.verifier.reference.measured import Measurements, measurements
from xentpm_lib.verifier.reference.prediction import Predicted, check_can_be_predicted, predict
from xentpm_lib.verifier.station import Station

__all__ = ["Prepared", "prepare"]

_FUNCTION = "tpm_predict_boot"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What preparing a host's next boot would mean; ``approving.approve`` stores ``proposal``.

    proposal: with the differences between this boot and the next. ``nearest``: the baseline that this boot
    matches; where ``counts`` says that there is nothing to prepare, the one that the next will match.
    entry, notes: as in `Predicted`.
    """

    proposal: Proposal
    entry: str
    notes: tuple[str, ...]


def prepare(station: Station, host: HostRecord) -> Prepared:
    """Ask a host for a quote, and, where it is trusted by that, what its next boot will measure.

    Raises:
        PredictionError: it is not trusted, or what it predicts cannot be taken.
        CollectionError: it cannot be asked, or its plugin cannot predict.
        CaptureError, PolicyError, StoreError.
    """
    with asking(station) as parts:
        policy = parts.subject(host).policy
        attempted = answer(parts, host)
        check_can_be_predicted(attempted.result, host, policy)
        client = parts.clients.of(station.registry.pool(host.pool_id))
        text = client.call_plugin(host.host_id, _FUNCTION, {}, policy.timing.call_timeout)
    now = time.time()
    label = time.strftime("predicted %Y-%m-%d %H:%M", time.gmtime(now))
    predicted = predict(text, attempted.result, attempted.verified, host, policy, label, who(), now)
    assert attempted.verified is not None, "a trusted host's evidence was verified"
    return _prepared(station, host, policy, attempted.verified, predicted)


def _prepared(
    station: Station, host: HostRecord, policy: Policy, evidence: VerifiedEvidence, predicted: Predicted
) -> Prepared:
    reference, known = predicted.reference, station.registry.references_for(host)
    now = Values(host.name, evidence.pcrs, policy.boot, _known_events(station, evidence, known))
    measured = measurements(reference.pcrs, predicted.event_log, reference.boot_log)
    then = Values(reference.label, reference.pcrs, policy.boot, measured)
    found = differences(now, then, compared_registers(policy))
    next_boot = compare_references(reference.pcrs, host, known, policy)
    counts = not next_boot.findings
    this_boot = compare_references(evidence.pcrs, host, known, policy)
    old = _matching(known, next_boot if counts else this_boot)
    proposal = Proposal(host, reference, predicted.event_log, old, found, counts, basis(station, host))
    return Prepared(proposal, predicted.entry, predicted.notes)


def _known_events(
    station: Station, evidence: VerifiedEvidence, known: tuple[ReferenceValues, ...]
) -> Measurements:
    """The events behind this boot's values: by the host's logs, else by those of baselines with that value.

    The host's boot log is of little use here: its files were just changed, so it leads to other values.
    """
    events: Measurements = {}
    for reference in known:
        for (bank, pcr), measured in of_reference(station, reference).measured.items():
            if evidence.pcrs.get(bank, {}).get(pcr) == reference.pcrs[bank][pcr]:
                events[bank, pcr] = measured
    log = evidence.event_log if evidence.events is not None else None
    return events | measurements(evidence.pcrs, log, evidence.boot_log)


def _matching(known: tuple[ReferenceValues, ...], compared: Comparison) -> ReferenceValues | None:
    matched = {used.id for used in compared.used if used.matched}
    return next((one for one in reversed(known) if one.reference_id in matched), None)
