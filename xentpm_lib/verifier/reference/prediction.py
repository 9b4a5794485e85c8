"""Reference values for a boot that has not happened yet, of what a trusted host says it will measure.

Nobody has signed a prediction. So the host has to be in a known-good state at that moment, and the
prediction can change the two registers that GRUB extends, no other: those stay as the host's TPM signed them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xentpm_lib.errors import EvidenceError, FormatError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.boot_prediction import BootPrediction
from xentpm_lib.evidence.event_log import EventLog, build_event_log
from xentpm_lib.evidence.event_types import EV_NO_ACTION
from xentpm_lib.evidence.pcr import PcrValues, replay
from xentpm_lib.verifier.appraisal.measurements import is_extended
from xentpm_lib.verifier.appraisal.model import VerifiedEvidence
from xentpm_lib.verifier.plain import one_line
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import HostRecord, ReferenceValues
from xentpm_lib.verifier.reference.capture import capture
from xentpm_lib.verifier.result import AttestationResult, Verdict

__all__ = ["PREDICTED_PCRS", "Predicted", "PredictionError", "check_can_be_predicted", "predict"]

PREDICTED_PCRS = (8, 9)
"""What GRUB extends: the commands, and the files that it reads."""

_TOO_OLD = "Install the newer supplemental pack on HOST, then try again."
_OTHER_WAY = (
    "The next boot will measure in another way than this one. Restart the host, then look at what it shows:"
    " xentpm-attest baseline approve HOST."
)
_OTHER_IMAGE = {
    "MEASURED_BOOT_UNDONE": (
        "that its measured boot was undone",
        "Run xentpm-boot enable on HOST and restart it; then: xentpm-attest baseline approve HOST.",
    ),
    "MEASURED_BOOT_PENDING": (
        "that its measured boot begins with the next restart",
        "Restart HOST; then: xentpm-attest baseline approve HOST.",
    ),
}
"""Findings by which another boot loader is in place than the one that measured: PCR 4 will change, too."""
_MAX_FAULT = 200  # characters of what is wrong with a document, which may repeat some of it
_INVESTIGATE = "Treat the host as compromised until it is explained: something in its dom0 answers wrongly."


class PredictionError(EvidenceError):
    """No reference values can be made of what a host predicts."""

    default_code = "XENTPM_PREDICTION_REFUSED"


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a host predicts, as reference values.

    reference: not stored yet. event_log: what the caller stores under the digest that is in them.
    entry: the menu entry that will boot. notes: what the host had to assume. Both are its own words.
    """

    reference: ReferenceValues
    event_log: bytes | None
    entry: str
    notes: tuple[str, ...]


def check_can_be_predicted(result: AttestationResult, host: HostRecord, policy: Policy) -> None:
    """Whether a prediction of the host would be worth anything; to be asked before the host is.

    1. the host is trusted, by an appraisal of now
    2. it does not say that another boot loader is in place than the one that has measured this boot
    3. nothing is compared that a prediction cannot tell: what a dynamic launch measures
    4. something is compared that it can tell

    Raises:
        PredictionError: it would not be.
    """
    # 1. trusted
    if result.verdict is not Verdict.TRUSTED:
        why = ", ".join(dict.fromkeys(one.code for one in result.findings if one.failed))
        message = f"{host.name} is not trusted now ({why}): its word on the next boot is worth nothing"
        hint = "See xentpm-attest explain HOST. Predict while the host is trusted, before it is restarted."
        raise PredictionError(message, hint)
    # 2. the same boot loader
    for found in result.findings:
        if found.code in _OTHER_IMAGE:
            said, hint = _OTHER_IMAGE[found.code]
            raise PredictionError(f"{host.name} says {said}: what it predicts is not what will measure", hint)
    # 3. no launch
    if policy.dynamic_launch:
        message = f"{host.name} starts Xen by a dynamic launch: a host predicts only what GRUB measures"
        raise PredictionError(message, "After the restart: xentpm-attest baseline approve HOST.")
    # 4. something to tell
    if not any(pcr in rules.compared for rules in policy.banks for pcr in PREDICTED_PCRS):
        message = f"the policy {policy.name} compares neither PCR 8 nor PCR 9: there is nothing to prepare"
        raise PredictionError(message, "What it compares stays the same when boot files change.")


def predict(
    text: str,
    result: AttestationResult,
    evidence: VerifiedEvidence | None,
    host: HostRecord,
    policy: Policy,
    label: str,
    who: str,
    now: float,
) -> Predicted:
    """The reference values of the host's next boot: its signed values, with PCR 8 and 9 as it predicts them.

    1. the host is trusted, and the values are what ``capture`` takes
    2. the prediction is a document as specified, of this host
    3. it tells of PCR 8 and 9 only, and of those of them that this boot has extended
    4. each event has a digest for each bank of the policy

    text: the document, untrusted. result, evidence: of the appraisal of a moment ago.
    Registers that the policy does not compare stay as signed. The boot log that is kept is the predicted one,
    of the registers that were replaced; the event log is the one of now without them, so that each leads to
    the values of all that it has events for.

    Raises:
        PredictionError: one of the four does not hold. CaptureError, UsageError: as ``capture``.
    """
    # 1. trusted
    check_can_be_predicted(result, host, policy)
    present = capture(result, evidence, host, policy, label, who, now, "predicted")
    assert evidence is not None, "what was captured was verified"
    # 2. the document
    prediction = _parsed(text, host)
    # 3. registers
    told = _registers(prediction.untrusted_boot_log, present.pcrs, host)
    registers = told.intersection(pcr for rules in policy.banks for pcr in rules.compared)
    # 4. digests
    wanted = [event for event in prediction.untrusted_boot_log if event.pcr in registers]
    events = tuple(_of_banks(event, tuple(present.pcrs)) for event in wanted)
    log = None if evidence.events is None else _log_without(evidence.events, registers)
    reference = replace(
        present,
        pcrs=_replaced(present.pcrs, events, registers),
        event_log="" if log is None else hashlib.sha256(log).hexdigest(),
        boot_log=events,
    )
    return Predicted(reference, log, prediction.untrusted_entry, prediction.untrusted_notes)


def _parsed(text: str, host: HostRecord) -> BootPrediction:
    try:
        prediction = BootPrediction.from_json(text)
    except FormatError as error:
        message = f"what {host.name} says is no boot prediction: {one_line(str(error), _MAX_FAULT)}"
        raise PredictionError(message, _TOO_OLD) from None
    if prediction.untrusted_host_uuid != host.host_id:
        message = f"the prediction is of the host {prediction.untrusted_host_uuid}, not of {host.name}"
        raise PredictionError(message, _INVESTIGATE)
    return prediction


def _registers(events: Sequence[BootEvent], pcrs: PcrValues, host: HostRecord) -> frozenset[int]:
    """The registers that the events extend, when they are those that this boot has extended."""
    told = frozenset(event.pcr for event in events)
    foreign = sorted(told.difference(PREDICTED_PCRS))
    if foreign:
        message = f"the prediction of {host.name} tells of PCR {foreign[0]}: it may tell of PCR 8 and 9 only"
        raise PredictionError(message, _INVESTIGATE)
    for bank, values in pcrs.items():
        extended = {pcr for pcr in PREDICTED_PCRS if is_extended(pcr, values[pcr])}
        for pcr in sorted(extended ^ told):
            now = "this boot has extended it" if pcr in extended else "it is blank now"
            verb = "does not tell" if pcr in extended else "tells"
            message = f"the prediction of {host.name} {verb} of PCR {pcr} ({bank}), and {now}"
            raise PredictionError(message, _OTHER_WAY)
    return told


def _of_banks(event: BootEvent, banks: Sequence[str]) -> BootEvent:
    """The event with the digests of these banks only."""
    missing = [bank for bank in banks if bank not in event.digests]
    if missing:
        message = f"the prediction has no {missing[0]} digest of an event of PCR {event.pcr}"
        raise PredictionError(message, f"The policy compares {' and '.join(banks)}. {_TOO_OLD}")
    return event._replace(digests={bank: event.digests[bank] for bank in banks})


def _replaced(pcrs: PcrValues, events: Sequence[BootEvent], registers: frozenset[int]) -> PcrValues:
    """The values with those of the registers replaced by what the events lead to, from zeros."""
    replaced: PcrValues = {}
    for bank, values in pcrs.items():
        final = replay(bank, ((event.pcr, event.digests[bank]) for event in events))
        replaced[bank] = {pcr: final[pcr] if pcr in registers else value for pcr, value in values.items()}
    return replaced


def _log_without(log: EventLog, registers: frozenset[int]) -> bytes:
    """The log without the events of the registers, which will be others."""
    kept = tuple(one for one in log.events if one.type == EV_NO_ACTION or one.pcr not in registers)
    return build_event_log(log._replace(events=kept))
