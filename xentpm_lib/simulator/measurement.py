"""What a boot measures: one record for each time that firmware, boot loader or launch extends a PCR."""

from __future__ import annotations

from dataclasses import dataclass

from xentpm_lib.evidence.algorithms import digest

__all__ = ["BANKS", "Measurement", "measure"]

BANKS = ("sha1", "sha256")
"""The banks that every simulated TPM has."""


@dataclass(frozen=True)
class Measurement:
    """One extension of a PCR in every bank.

    ``data`` is what an event log tells of it; ``locality`` is where it comes from: 0 for firmware, boot
    loader and operating system, 2 for a measured launch environment, 4 for the processor.
    """

    pcr: int
    event_type: int
    digests: dict[str, bytes]
    data: bytes
    locality: int = 0


def measure(
    pcr: int, event_type: int, content: bytes, data: bytes | None = None, locality: int = 0
) -> Measurement:
    """Measure ``content``; its log entry says ``data``, or the content itself."""
    digests = {bank: digest(bank, content) for bank in BANKS}
    return Measurement(pcr, event_type, digests, content if data is None else data, locality)
