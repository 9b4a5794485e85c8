"""A checked appraisal policy. RFC 9334, section 8.5. ``policy.loader`` makes one from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from xentpm_lib.evidence.pcr import PCR_COUNT, PcrSelection
from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.records import EkTrust
from xentpm_lib.verifier.result import PolicyUsed

__all__ = ["BankRules", "BootPath", "Policy", "Register", "Replay", "TagRule", "Timing"]

Register = tuple[str, int]
"""A bank and the number of a PCR in it."""


class BootPath(str, Enum):
    """How a host boots, which decides what each PCR stands for."""

    UEFI_GRUB = "uefi-grub"
    TXT = "txt"
    FIRMWARE = "firmware"


class Replay(str, Enum):
    """Whether an event log has to lead to the signed PCR values. IGNORED: it is not even parsed."""

    REQUIRED = "required"
    WHEN_PRESENT = "when_present"
    IGNORED = "ignored"


class TagRule(str, Enum):
    """REQUIRED: the tag that the verifier was told of. OPTIONAL: the same if told of one. Both want proof."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class BankRules:
    """What is required of one PCR bank.

    shared: compared with the reference values of the host or of its group.
    per_host: compared with the host's own reference values only (PCR 1 carries serial numbers).
    extended: neither all-zero nor all-FF. Registers of each are ascending.
    """

    bank: str
    shared: tuple[int, ...]
    per_host: tuple[int, ...]
    extended: tuple[int, ...]

    @property
    def compared(self) -> tuple[int, ...]:
        """All registers that are compared with something."""
        return tuple(sorted({*self.shared, *self.per_host}))


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds. period: between two attestations of a host. jitter: part of the period, 0 to 0.5.

    evidence_age: from the nonce to the evidence. lease: from a result to its expiry.
    attempts: 1 to 10, before ``cannot be collected``; backoff: before the second, doubled for each more.
    """

    period: float
    jitter: float
    lease: float
    evidence_age: float
    call_timeout: float
    attempts: int
    backoff: float


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy without mistakes in it.

    banks: at least one, each SHA-256 or better, in the order asked for.
    event_log_pcrs: the registers that a log must lead to, where ``replay`` is not IGNORED.
    severities: for adjustable finding codes only. hashes: for signatures.
    digest: SHA-256 of ``text``, hex; ``text`` is the TOML that it was made from.
    """

    name: str
    title: str
    boot: BootPath
    banks: tuple[BankRules, ...]
    dynamic_launch: bool
    replay: Replay
    event_log_pcrs: tuple[int, ...]
    asset_tag: TagRule
    ek_trust: frozenset[EkTrust]
    hashes: frozenset[str]
    timing: Timing
    severities: dict[str, Severity]
    disable_host: bool
    keep_results_s: float
    keep_notifications_s: float
    text: str
    digest: str
    selection: PcrSelection = field(init=False, repr=False, compare=False)
    """What is asked for: all 24 registers of each bank."""
    used: PolicyUsed = field(init=False, repr=False, compare=False)
    """How a result names the policy."""
    shared: tuple[Register, ...] = field(init=False, repr=False, compare=False)
    """The ``shared`` registers of all banks."""
    per_host: tuple[Register, ...] = field(init=False, repr=False, compare=False)
    """The ``per_host`` registers of all banks."""

    def __post_init__(self) -> None:
        """Compute once what every appraisal needs."""
        every = tuple((rules.bank, tuple(range(PCR_COUNT))) for rules in self.banks)
        object.__setattr__(self, "selection", PcrSelection(every))
        object.__setattr__(self, "used", PolicyUsed(self.name, self.digest))
        shared = tuple((rules.bank, pcr) for rules in self.banks for pcr in rules.shared)
        object.__setattr__(self, "shared", shared)
        per_host = tuple((rules.bank, pcr) for rules in self.banks for pcr in rules.per_host)
        object.__setattr__(self, "per_host", per_host)
