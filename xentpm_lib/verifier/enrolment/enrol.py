"""Enrolment of hosts: from what a host says of itself to a record of what was proven."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.verifier.enrolment.discover import Discovered, discover, find_master
from xentpm_lib.verifier.enrolment.ek_trust import EkAnchors, EkDecision, check_ak, check_ek
from xentpm_lib.verifier.enrolment.identity import challenge_keys, identity_findings, read_identity
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.findings import REENROL_COMMAND
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import EkTrust, HostRecord
from xentpm_lib.verifier.xapi.faults import plain_name
from xentpm_lib.verifier.xapi.pool import HostInfo, PoolClient

__all__ = [
    "Discovered",
    "Enrolled",
    "NewHost",
    "Rules",
    "challenge_keys",
    "discover",
    "enrol_host",
    "enrol_hosts",
    "find_master",
    "identity_findings",
    "read_identity",
]

_LOG = logging.getLogger(__name__)
_AT_A_TIME = 4
_AS_BEFORE = "believed as when it was enrolled"
_UNPROVEN = ("XENTPM_EK_UNTRUSTED", "XENTPM_EK_EXPIRED")
_REPLACE = f"if that was done on purpose: {REENROL_COMMAND}; else investigate"


@dataclass(frozen=True, slots=True)
class Rules:
    """How hosts are enrolled.

    policy: its ``ek_trust`` says which reasons to believe an EK count. now: for certificates' validity.
    replace: whether hosts that are enrolled are enrolled anew, with the same keys or with others.
    known: the hosts that are enrolled, of all pools.
    """

    anchors: EkAnchors
    policy: Policy
    now: float
    group: str = "default"
    replace: bool = False
    known: Sequence[HostRecord] = ()

    def existing(self, host_uuid: str) -> HostRecord | None:
        """The record of a host that is enrolled already."""
        return next((host for host in self.known if host.host_id == host_uuid), None)


@dataclass(frozen=True, slots=True)
class NewHost:
    """A host whose keys are proven. record: as it is to be stored; its ``serial`` is the store's to give.

    why: in words, why its EK is believed. unchanged: it is enrolled already, with the same keys and UUID;
    there is nothing to store. replaced: the record that it takes the place of. updated: that one goes on: the
    same keys, in another pool, under another name, or believed for another reason.
    """

    record: HostRecord
    why: str
    warnings: tuple[str, ...] = ()
    unchanged: bool = False
    replaced: HostRecord | None = None
    updated: bool = False

    @property
    def same_record(self) -> bool:
        """Whether the record that there is goes on, updated or as it is."""
        return self.unchanged or self.updated

    @property
    def same_keys(self) -> bool:
        """Whether it takes the place of a record with the same keys and UUID."""
        old, new = self.replaced, self.record
        if old is None:
            return False
        return (old.ek.name(), old.ak.name(), old.system_uuid.lower()) == (
            new.ek.name(),
            new.ak.name(),
            new.system_uuid,
        )


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What came of one host: exactly one of ``host`` and ``error``."""

    info: HostInfo
    host: NewHost | None = None
    error: XenTpmError | None = None


def enrol_host(client: PoolClient, info: HostInfo, rules: Rules, timeout: float | None = None) -> NewHost:
    """Enrol one host. timeout: seconds for each of its two calls.

    1. The host tells its identity: EK with certificates, AK, system UUID.
    2. It is not a host that is enrolled with another identity, unless that is to be replaced.
    3. No other host is enrolled with its EK or AK.
    4. The AK can sign nothing that looks like a TPM's statement and is none; its Name is computed here.
    5. The EK is a TPM's, by a reason that the policy allows; or the host is enrolled with all of this, and
       is not to be enrolled anew.
    6. The TPM that has this EK proves that it has this AK.

    Raises:
        EnrolmentError: a check failed. ``XENTPM_HOST_CHANGED``, ``XENTPM_KEY_IN_USE``, and those of
            `read_identity`, `challenge_keys` and `ek_trust`.
        CollectionError: the host does not answer.
    """
    # 1. The identity. All of it is untrusted.
    identity = read_identity(client, info.uuid, timeout)
    # 2. Not another identity than the enrolled one.
    existing = rules.existing(info.uuid)
    unchanged = existing is not None and _same(existing, identity)
    if existing is not None and not unchanged and not rules.replace:
        raise EnrolmentError("the host is enrolled with another identity", _REPLACE, "XENTPM_HOST_CHANGED")
    # 3. Nobody else's keys.
    _check_unique(info.uuid, identity, rules.known)
    # 4. The attestation key.
    check_ak(identity.ak)
    # 5. The endorsement key.
    kept = existing if unchanged and not rules.replace else None
    decision = _believed(identity, rules, kept)
    # 6. Both in one TPM.
    challenge_keys(client, info.uuid, identity, timeout)
    record = HostRecord(
        host_id=info.uuid,
        pool_id=client.pool.pool_id,
        name=plain_name(info.name),
        system_uuid=identity.system_uuid.lower(),
        ek=identity.ek,
        ak=identity.ak,
        ek_trust=decision.trust,
        ek_certificate=identity.ek_certificate,
        enrolled_at=rules.now if kept is None else min(kept.enrolled_at, rules.now),
        serial=0,
        group=existing.group if existing else rules.group,
        asset_tag=existing.asset_tag if existing else None,
    )
    same = kept is not None and _holds(kept, record)
    updated = kept is not None and not same and record.enrolled_at == kept.enrolled_at
    before = None if same else existing
    return NewHost(record, decision.detail, tuple(decision.warnings), same, before, updated)


def enrol_hosts(
    client: PoolClient,
    hosts: Sequence[HostInfo],
    rules: Rules,
    done: Callable[[Enrolled], None] = lambda _one: None,
    timeout: float | None = None,
) -> list[Enrolled]:
    """Enrol hosts, several at a time; one that fails stops none of the others. In the order of ``hosts``.

    done: called in this thread as each host is finished, for a progress bar. Two of the hosts that show
    the same EK or AK both fail.
    """
    results: dict[str, Enrolled] = {}
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="enrol") as pool:
        running: dict[Future[NewHost], HostInfo] = {
            pool.submit(enrol_host, client, info, rules, timeout): info for info in hosts
        }
        for future in as_completed(running):
            one = _outcome(running[future], future)
            results[one.info.uuid] = one
            done(one)
    ordered = [results[info.uuid] for info in hosts]
    return [_unless_twin(one, ordered) for one in ordered]


def _outcome(info: HostInfo, future: Future[NewHost]) -> Enrolled:
    try:
        return Enrolled(info, host=future.result())
    except XenTpmError as error:
        return Enrolled(info, error=error)
    except Exception as error:  # whatever a host can make of its identity, it is not enrolled
        _LOG.exception("host %s: enrolment failed", info.uuid)
        message = f"an unexpected {type(error).__name__}"
        return Enrolled(info, error=EnrolmentError(message, "report it with the log", "XENTPM_INTERNAL"))


def _believed(identity: Identity, rules: Rules, kept: HostRecord | None) -> EkDecision:
    """Why the EK is believed. kept: the record with the same keys, which goes on to count.

    Raises: EnrolmentError.
    """
    anchors = rules.anchors
    if kept is not None and not (anchors.roots or anchors.pins):
        return EkDecision(kept.ek_trust, _AS_BEFORE)
    try:
        decision = check_ek(identity, anchors, rules.policy.ek_trust, rules.now)
    except EnrolmentError as error:
        if kept is None or error.code not in _UNPROVEN:
            raise
        return EkDecision(kept.ek_trust, _AS_BEFORE, (f"not proven anew: {error.message}",))
    if kept is not None and decision.trust is EkTrust.FIRST_USE:
        return EkDecision(kept.ek_trust, _AS_BEFORE)
    return decision


def _holds(existing: HostRecord, record: HostRecord) -> bool:
    """Whether a record need not be written anew: pool, name and reason to believe its EK are as before, and
    no clock was wrong."""
    kept = (existing.pool_id, existing.name, existing.ek_trust, existing.enrolled_at)
    return kept == (record.pool_id, record.name, record.ek_trust, record.enrolled_at)


def _same(record: HostRecord, identity: Identity) -> bool:
    keys = record.ek.name() == identity.ek.name() and record.ak.name() == identity.ak.name()
    return keys and record.system_uuid.lower() == identity.system_uuid.lower()


def _check_unique(host_uuid: str, identity: Identity, known: Iterable[HostRecord]) -> None:
    """Raises: EnrolmentError."""
    for other in known:
        if other.host_id != host_uuid and _shares_a_key(other, identity.ek.key_bytes(), identity.ak.name()):
            raise _in_use(other.name, other.host_id)


def _unless_twin(one: Enrolled, everyone: Sequence[Enrolled]) -> Enrolled:
    """An error in place of a host that shares a key with another one of the same enrolment."""
    if one.host is None:
        return one
    mine = one.host.record
    for other in everyone:
        if other.host is None or other is one:
            continue
        if _shares_a_key(other.host.record, mine.ek.key_bytes(), mine.ak.name()):
            return Enrolled(one.info, error=_in_use(other.host.record.name, other.info.uuid))
    return one


def _shares_a_key(record: HostRecord, ek: bytes, ak_name: bytes) -> bool:
    return record.ek.key_bytes() == ek or record.ak.name() == ak_name


def _in_use(name: str, host_uuid: str) -> EnrolmentError:
    return EnrolmentError(
        f"another host shows the same TPM: {name} ({host_uuid})",
        "if that host was installed anew, forget the old one first; else one of them is a clone",
        "XENTPM_KEY_IN_USE",
    )
