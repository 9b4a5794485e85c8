"""What the verifier knows: pools, hosts, reference values. All of it comes out of the store's ledger.

Names of hosts and pools are what XAPI says, for people; decisions go by UUID and key only.
Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.evidence.public import Public

__all__ = ["EkTrust", "HostRecord", "PoolRecord", "ReferenceValues", "TlsTrust", "UnenrolledHost"]


class EkTrust(str, Enum):
    """Why an endorsement key is believed to be a TPM's."""

    CERTIFICATE = "certificate"
    PINNED = "pinned"
    FIRST_USE = "first_use"


@dataclass(frozen=True, slots=True)
class TlsTrust:
    """How a pool's servers are recognised: certificates of authorities, or pinned servers. Never both empty.

    ca_pem: one or more certificates. pins: SHA-256 of a host's DER certificate, hex.
    """

    ca_pem: str = ""
    pins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A pool. addresses: URLs of its hosts, the last known master first."""

    pool_id: str
    name: str
    addresses: tuple[str, ...]
    tls: TlsTrust


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A host as it was enrolled. Its keys change only by ``enroll --replace``.

    host_id: XAPI UUID. system_uuid: SMBIOS UUID, may be empty.
    ek, ak: what credential activation has bound to each other. serial: number of the ledger entry.
    asset_tag: the expected one, 20, 32 or 48 bytes; None when none was told.
    """

    host_id: str
    pool_id: str
    name: str
    system_uuid: str
    ek: Public
    ak: Public
    ek_trust: EkTrust
    ek_certificate: bytes | None
    enrolled_at: float
    serial: int
    group: str = "default"
    asset_tag: bytes | None = None


@dataclass(frozen=True, slots=True)
class UnenrolledHost:
    """A host of a pool that is watched, of which no keys are known. host_id: XAPI UUID."""

    host_id: str
    pool_id: str
    name: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class ReferenceValues:
    """The PCR values of one known-good state, and where they come from. RFC 9334, section 8.3.

    reference_id: UUID. origin: ``captured``, ``approved``, ``imported``, ``predicted``.
    source_host: UUID of the host that showed the values; empty for others.
    event_log: SHA-256 of the firmware event log in the store, hex; empty where there was none.
    hosts, groups: to whom they are assigned. retired_at: None while they are active.
    """

    reference_id: str
    label: str
    origin: str
    created_at: float
    created_by: str
    pcrs: PcrValues
    source_host: str = ""
    event_log: str = ""
    boot_log: tuple[BootEvent, ...] | None = None
    hosts: frozenset[str] = field(default_factory=frozenset)
    groups: frozenset[str] = field(default_factory=frozenset)
    retired_at: float | None = None
