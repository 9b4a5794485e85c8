"""Which logs of a host are kept: a host writes them itself, and could fill the verifier's disk with them."""

from __future__ import annotations

from dataclasses import dataclass

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import VerifiedEvidence

__all__ = ["KeptLogs", "proven_logs"]


@dataclass(frozen=True, slots=True)
class _Kept:
    """boot: TPM's reset and restart count. logs: what stands for the logs, in this process only."""

    boot: tuple[int, int]
    logs: int


def proven_logs(evidence: QuoteEvidence, verified: VerifiedEvidence) -> QuoteEvidence:
    """The evidence with only the PCR values that the TPM signed, and the logs that lead to them."""
    return evidence._replace(
        untrusted_pcrs=verified.pcrs,
        untrusted_event_log=None if verified.events is None else evidence.untrusted_event_log,
        untrusted_boot_log=verified.boot_log,
    )


class KeptLogs:
    """Lets through one pair of logs for each boot of a host: nothing is measured by it after the boot.

    What an event says of itself is not proven by its digest, so a host can make any number of logs that lead
    to the same values. This is of one process; how much is kept of a host in a day, the store says
    (``store.log_bounds``). Safe for several threads, for each host has one attestation at a time.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def evidence(self, host_id: str, evidence: QuoteEvidence, verified: VerifiedEvidence) -> QuoteEvidence:
        """What of the evidence to keep: without logs that differ from the first ones of this boot."""
        proven = proven_logs(evidence, verified)
        if proven.untrusted_event_log is None and proven.untrusted_boot_log is None:
            return proven
        attest = verified.attest
        boot = (attest.reset_count, attest.restart_count)
        logs = hash((proven.untrusted_event_log, repr(proven.untrusted_boot_log)))
        kept = self._kept.get(host_id)
        if kept is None or kept.boot != boot:
            self._kept[host_id] = _Kept(boot, logs)
        elif kept.logs != logs:
            return proven._replace(untrusted_event_log=None, untrusted_boot_log=None)
        return proven
