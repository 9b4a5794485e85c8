"""Enrolment of hosts: from what a host says of itself to a record of what was proven."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.public import Public
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
    "still_good",
]

_LOG = logging.getLogger(__name__)
_AT_A_TIME = 4
_AS_BEFORE = "believed as when it was enrolled"
_UNPROVEN = ("XENTPM_EK_UNTRUSTED", "XENTPM_EK_EXPIRED")
_REPLACE = f"if that was done on purpose: {REENROL_COMMAND}; else investigate"


@dataclass(frozen=True, slots=True)
class Rules:
    """How hosts are enrolled.

    policy: its ``ek_trust`` says which reasons to believe an EK count.
    clock: the time as of each check, for certificates' validity; seconds since 1970, UTC.
    replace: whether hosts that are enrolled are enrolled anew, with the same keys or with others.
    known: the hosts that are enrolled, of all pools.
    named: UUIDs that the administrator gave. Only of these may the record of another pool's host be replaced:
    which UUIDs its hosts have is the pool's word.
    """

    anchors: EkAnchors
    policy: Policy
    clock: Callable[[], float] = time.time
    group: str = "default"
    replace: bool = False
    known: Sequence[HostRecord] = ()
    named: frozenset[str] = frozenset()

    def existing(self, host_uuid: str) -> HostRecord | None:
        """The record of a host that is enrolled already."""
        return next((host for host in self.known if host.host_id == host_uuid), None)


@dataclass(frozen=True, slots=True)
class NewHost:
    """A host whose keys are proven. record: as it is to be stored; its ``serial`` is the store's to give.

    why: in words, why its EK is believed. unchanged: it is enrolled already, with the same keys and UUID;
    there is nothing to store. replaced: the record that it takes the place of. updated: that one goes on: the
    same keys, in another pool, under another name, or believed for another reason. judged_with: the record
    that the host had when all of this was found out; see `still_good`.
    """

    record: HostRecord
    why: str
    warnings: tuple[str, ...] = ()
    unchanged: bool = False
    replaced: HostRecord | None = None
    updated: bool = False
    judged_with: HostRecord | None = None

    @property
    def same_record(self) -> bool:
        """Whether the record that there is goes on, updated or as it is."""
        return self.unchanged or self.updated

    @property
    def same_keys(self) -> bool:
        """Whether it takes the place of a record with the same keys and UUID."""
        return self.replaced is not None and _identity(self.replaced) == _identity(self.record)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What came of one host: exactly one of ``host`` and ``error``."""

    info: HostInfo
    host: NewHost | None = None
    error: XenTpmError | None = None


def enrol_host(client: PoolClient, info: HostInfo, rules: Rules, timeout: float | None = None) -> NewHost:
    """Enrol one host. timeout: seconds for each of its two calls.

    1. The host tells its identity: EK with certificates, AK, system UUID.
    2. It is not enrolled with another identity, unless that may be replaced (`Rules`).
    3. No other host is enrolled with its EK or AK.
    4. The AK can sign nothing that looks like a TPM's statement and is none; its Name is computed here.
    5. The EK is a TPM's, by a reason that the policy allows; or the host is enrolled with all of this, and
       is not to be enrolled anew.
    6. The TPM that has this EK proves that it has this AK.

    Raises:
        EnrolmentError: a check failed. ``XENTPM_HOST_CHANGED``, ``XENTPM_HOST_ELSEWHERE``,
            ``XENTPM_KEY_IN_USE``, and those of `read_identity`, `challenge_keys` and `ek_trust`.
        CollectionError: the host does not answer.
    """
    # 1. The identity. All of it is untrusted.
    identity = read_identity(client, info.uuid, timeout)
    # 2. Not another identity than the enrolled one.
    existing = rules.existing(info.uuid)
    unchanged = existing is not None and _same(existing, identity)
    if existing is not None and not unchanged:
        _check_replaceable(existing, client.pool.pool_id, rules)
    # 3. Nobody else's keys.
    _check_unique(info.uuid, identity.ek, identity.ak, rules.known)
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
        enrolled_at=min(rules.clock(), kept.enrolled_at) if kept else rules.clock(),
        serial=0,
        group=existing.group if existing else rules.group,
        asset_tag=existing.asset_tag if existing else None,
    )
    same = kept is not None and _holds(kept, record)
    updated = kept is not None and not same and record.enrolled_at == kept.enrolled_at
    before = None if same else existing
    return NewHost(record, decision.detail, tuple(decision.warnings), same, before, updated, existing)


def still_good(one: NewHost, rules: Rules) -> NewHost:
    """What was found out about a host, before it is written down: others may have enrolled hosts meanwhile.

    rules: with the hosts that are ``known`` now. Returns it as it is to be written; the group and the asset
    tag of a host that was enrolled are those of now.

    Raises:
        EnrolmentError: ``XENTPM_HOST_CHANGED``: the host was enrolled, moved or forgotten meanwhile;
            ``XENTPM_KEY_IN_USE``: another host was enrolled with its EK or AK.
    """
    record, before = one.record, one.judged_with
    now = rules.existing(record.host_id)
    _check_unique(record.host_id, record.ek, record.ak, rules.known)
    if now == before:
        return one
    if now is not None and before is not None and _enrolled_as(now) == _enrolled_as(before):
        record = replace(record, group=now.group, asset_tag=now.asset_tag)
        return replace(one, record=record, replaced=now if one.replaced else None, judged_with=now)
    if now is not None and not rules.replace and _identity(now) == _identity(record):
        if now.pool_id == record.pool_id:
            return replace(one, record=now, unchanged=True, replaced=None, updated=False, judged_with=now)
    raise EnrolmentError(
        "somebody else enrolled, moved or forgot the host meanwhile; nothing was changed",
        "Look at xentpm-attest hosts, and repeat the command.",
        "XENTPM_HOST_CHANGED",
    )


def enrol_hosts(
    client: PoolClient,
    hosts: Sequence[HostInfo],
    rules: Rules,
    done: Callable[[Enrolled], None] = lambda _one: None,
    timeout: float | None = None,
) -> list[Enrolled]:
    """Enrol hosts, several at a time; one that fails stops none of the others. In the order of ``hosts``.

    done: called in this thread as each host is finished, for a progress bar. Two of the hosts that show
    the same EK or AK both fail. Whatever ends it early, as Ctrl-C, closes the client, and so ends the calls
    that are under way.
    """
    results: dict[str, Enrolled] = {}
    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="enrol") as pool:
        running: dict[Future[NewHost], HostInfo] = {
            pool.submit(enrol_host, client, info, rules, timeout): info for info in hosts
        }
        try:
            for future in as_completed(running):
                one = _outcome(running[future], future)
                results[one.info.uuid] = one
                done(one)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()
            raise
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
        decision = check_ek(identity, anchors, rules.policy.ek_trust, rules.clock())
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
    return _identity(record) == (identity.ek.name(), identity.ak.name(), identity.system_uuid.lower())


def _identity(record: HostRecord) -> tuple[bytes, bytes, str]:
    return record.ek.name(), record.ak.name(), record.system_uuid.lower()


def _enrolled_as(record: HostRecord) -> tuple[int, str]:
    """Which enrolment a record is from, and the pool that the host is in."""
    return record.serial, record.pool_id


def _check_replaceable(existing: HostRecord, pool_id: str, rules: Rules) -> None:
    """Whether a host with another identity may take the place of a record. Raises: EnrolmentError."""
    if existing.pool_id == pool_id:
        if not rules.replace:
            raise EnrolmentError(
                "the host is enrolled with another identity", _REPLACE, "XENTPM_HOST_CHANGED"
            )
    elif not (rules.replace and existing.host_id in rules.named):
        raise EnrolmentError(
            f"the host with this UUID is enrolled in another pool ({existing.pool_id}), as {existing.name},"
            " with another identity",
            "If it has moved to this pool, and its TPM was replaced: xentpm-attest enroll --replace --host"
            f" {existing.host_id} --ek-ca FILE; else this pool's master poses as that host: investigate.",
            "XENTPM_HOST_ELSEWHERE",
        )


def _check_unique(host_uuid: str, ek: Public, ak: Public, known: Iterable[HostRecord]) -> None:
    """Raises: EnrolmentError."""
    for other in known:
        if other.host_id != host_uuid and _shares_a_key(other, ek.key_bytes(), ak.name()):
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
