"""Which logs of a host are kept: a host writes them itself, and could fill the verifier's disk with them."""

from __future__ import annotations

from dataclasses import dataclass, field

from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import VerifiedEvidence

__all__ = ["BOOT_LOGS_A_BOOT", "KeptLogs", "proven_logs"]

BOOT_LOGS_A_BOOT = 8
"""A boot log is another one after each change of the boot files, as an update makes them."""


@dataclass(slots=True)
class _Kept:
    """boot: TPM's reset and restart count. The others stand for logs, in this process only."""

    boot: tuple[int, int]
    event_log: int | None = None
    boot_logs: set[int] = field(default_factory=set)


def proven_logs(evidence: QuoteEvidence, verified: VerifiedEvidence) -> QuoteEvidence:
    """The evidence with only the PCR values that the TPM signed, and an event log that leads to them.

    A boot log that does not lead to them stays: it tells which files were changed after the boot.
    """
    return evidence._replace(
        untrusted_pcrs=verified.pcrs,
        untrusted_event_log=None if verified.events is None else evidence.untrusted_event_log,
    )


class KeptLogs:
    """Lets through one event log for each boot of a host: nothing is measured by firmware after the boot; and
    a few boot logs, which tell of files.

    What an event says of itself is not proven by its digest, so a host can make any number of logs that lead
    to the same values. This is of one process; how much is kept of a host in a day, the store says
    (``store.log_bounds``). Safe for several threads, for each host has one attestation at a time.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def evidence(self, host_id: str, evidence: QuoteEvidence, verified: VerifiedEvidence) -> QuoteEvidence:
        """What of the evidence to keep: without logs that are too many for this boot."""
        proven = proven_logs(evidence, verified)
        log, boot_log = proven.untrusted_event_log, proven.untrusted_boot_log
        boot = (verified.attest.reset_count, verified.attest.restart_count)
        kept = self._kept.get(host_id)
        if kept is None or kept.boot != boot:
            kept = self._kept[host_id] = _Kept(boot)
        if log is not None and not _is_first(kept, hash(log)):
            proven = proven._replace(untrusted_event_log=None)
        if boot_log is not None and not _is_among_few(kept, hash(repr(boot_log))):
            proven = proven._replace(untrusted_boot_log=None)
        return proven


def _is_first(kept: _Kept, log: int) -> bool:
    if kept.event_log is None:
        kept.event_log = log
    return kept.event_log == log


def _is_among_few(kept: _Kept, boot_log: int) -> bool:
    if len(kept.boot_logs) < BOOT_LOGS_A_BOOT:
        kept.boot_logs.add(boot_log)
    return boot_log in kept.boot_logs
