"""What the parts of the appraisal hand to one another. The names carry the stage: parsed, then verified."""

from __future__ import annotations

from dataclasses import dataclass

from xentpm_lib.evidence.attest import Attest
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import EventLog
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.result import AttestationResult

__all__ = ["Appraisal", "VerifiedEvidence"]


@dataclass(frozen=True, slots=True)
class VerifiedEvidence:
    """What a TPM has said, once signature, nonce, signer, selection and digest held.

    Verified is not trusted: the values may be of a host that booted anything.

    attest: the quote. pcrs: the values that it signs.
    event_log: as the host sent it, not proven; None when there was none.
    events: the same parsed; None unless it leads to the signed values in the policy's ``event_log_pcrs``, and
        where the policy ignores logs.
    boot_log: None unless it leads to the signed values. tag: the proven asset tag; None when there is none.
    """

    attest: Attest
    pcrs: PcrValues
    event_log: bytes | None = None
    events: EventLog | None = None
    boot_log: tuple[BootEvent, ...] | None = None
    tag: bytes | None = None


@dataclass(frozen=True, slots=True)
class Appraisal:
    """The result, and the evidence when it could be verified; None when it could not."""

    result: AttestationResult
    evidence: VerifiedEvidence | None
