"""What the entries of the ledger say, as JSON; ``ledger_readers`` reads it back.

Each function makes what ``Store.append`` writes: ``store.append(*host_enrolled(record), who="jo")``. A body
has a ``version``. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from xentpm_lib.evidence.boot_log import boot_log_to_json
from xentpm_lib.evidence.encoding import encode_base64, encode_hex
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.verifier.records import HostRecord, PoolRecord, ReferenceValues, UnenrolledHost
from xentpm_lib.verifier.result import State

__all__ = [
    "BODY_VERSION",
    "LedgerItem",
    "StateChange",
    "asset_tag_expected",
    "host_enrolled",
    "host_gone",
    "host_group",
    "host_removed",
    "host_seen",
    "host_updated",
    "note",
    "policy_assigned",
    "pool_added",
    "pool_changed",
    "pool_removed",
    "reference_added",
    "reference_assigned",
    "reference_retired",
    "reference_unassigned",
    "state_changed",
    "with_result",
]

BODY_VERSION = 1

Body = dict[str, Any]


class LedgerItem(NamedTuple):
    """What ``Store.append`` is to write. subject: the UUID or name that it is about."""

    kind: str
    subject: str
    body: Body


@dataclass(frozen=True, slots=True)
class StateChange:
    """A host became another one in people's eyes. old: None the first time.

    findings: codes of the failed findings. result_id: of the stored result that showed it, or was the newest
    when the change came without one (a lease ran out); None where there was none. result_mac: its seal, hex;
    None in entries of an older release. The store fills both in.
    """

    host_id: str
    old: State | None
    new: State
    at: float
    findings: tuple[str, ...] = ()
    result_id: int | None = None
    result_mac: str | None = None


def pool_added(record: PoolRecord) -> LedgerItem:
    """A pool that was not known before."""
    return LedgerItem("pool_added", record.pool_id, _pool_body(record))


def pool_changed(record: PoolRecord) -> LedgerItem:
    """Other addresses, another name, another trust in its servers."""
    return LedgerItem("pool_changed", record.pool_id, _pool_body(record))


def pool_removed(pool_id: str) -> LedgerItem:
    """The pool is not looked at any more. Its hosts have entries of their own."""
    return LedgerItem("pool_removed", pool_id, _body())


def host_enrolled(record: HostRecord) -> LedgerItem:
    """A host's keys, bound to each other; the same host again is a replacement. ``serial`` is not written."""
    certificate = record.ek_certificate
    body = _body(
        pool_id=record.pool_id,
        name=record.name,
        system_uuid=record.system_uuid,
        ek=encode_base64(record.ek.to_tpm2b()),
        ak=encode_base64(record.ak.to_tpm2b()),
        ek_trust=record.ek_trust.value,
        ek_certificate=None if certificate is None else encode_base64(certificate),
        enrolled_at=record.enrolled_at,
        group=record.group,
        asset_tag=_hex_or_none(record.asset_tag),
    )
    return LedgerItem("host_enrolled", record.host_id, body)


def host_updated(record: HostRecord) -> LedgerItem:
    """The enrolled host, with the same keys, is in another pool, has another name, or its endorsement key is
    believed for another reason. Nothing begins anew: what is in doubt stays so."""
    certificate = record.ek_certificate
    body = _body(
        pool_id=record.pool_id,
        name=record.name,
        ek_trust=record.ek_trust.value,
        ek_certificate=None if certificate is None else encode_base64(certificate),
    )
    return LedgerItem("host_updated", record.host_id, body)


def host_seen(record: UnenrolledHost) -> LedgerItem:
    """A pool that is watched has this host, which is not enrolled."""
    body = _body(pool_id=record.pool_id, name=record.name, at=record.seen_at)
    return LedgerItem("host_seen", record.host_id, body)


def host_gone(host_id: str) -> LedgerItem:
    """The host that was seen and never enrolled is in its pool no more."""
    return LedgerItem("host_gone", host_id, _body())


def host_removed(host_id: str) -> LedgerItem:
    """The host is forgotten, and not listed as not enrolled either. Reference values that were assigned to it
    alone stay, without it."""
    return LedgerItem("host_removed", host_id, _body())


def host_group(host_id: str, group: str) -> LedgerItem:
    """The host belongs to another group."""
    return LedgerItem("host_group", host_id, _body(group=group))


def policy_assigned(group: str, text: str) -> LedgerItem:
    """The group's hosts are appraised by this policy from now on. text: TOML."""
    return LedgerItem("policy_assigned", group, _body(text=text))


def reference_added(reference: ReferenceValues) -> LedgerItem:
    """New reference values, with those that they are assigned to."""
    boot_log = reference.boot_log
    body = _body(
        label=reference.label,
        origin=reference.origin,
        created_at=reference.created_at,
        created_by=reference.created_by,
        pcrs=_pcrs_to_json(reference.pcrs),
        source_host=reference.source_host,
        event_log=reference.event_log,
        boot_log=None if boot_log is None else boot_log_to_json(boot_log),
        hosts=sorted(reference.hosts),
        groups=sorted(reference.groups),
        retired_at=reference.retired_at,
    )
    return LedgerItem("reference_added", reference.reference_id, body)


def reference_assigned(
    reference_id: str, hosts: Iterable[str] = (), groups: Iterable[str] = ()
) -> LedgerItem:
    """The reference values count for these hosts and groups as well."""
    return LedgerItem(
        "reference_assigned", reference_id, _body(hosts=sorted(set(hosts)), groups=sorted(set(groups)))
    )


def reference_unassigned(
    reference_id: str, hosts: Iterable[str] = (), groups: Iterable[str] = ()
) -> LedgerItem:
    """The reference values do not count for these hosts and groups any more."""
    return LedgerItem(
        "reference_unassigned", reference_id, _body(hosts=sorted(set(hosts)), groups=sorted(set(groups)))
    )


def reference_retired(reference_id: str, at: float) -> LedgerItem:
    """The reference values count for nobody any more."""
    return LedgerItem("reference_retired", reference_id, _body(at=at))


def asset_tag_expected(host_id: str, tag: bytes | None) -> LedgerItem:
    """The tag that the host is to have: 20, 32 or 48 bytes; None for none."""
    return LedgerItem("asset_tag_expected", host_id, _body(tag=_hex_or_none(tag)))


def state_changed(change: StateChange) -> LedgerItem:
    """What a host is now."""
    body = _body(
        old=None if change.old is None else change.old.value,
        new=change.new.value,
        at=change.at,
        findings=list(change.findings),
        result_id=change.result_id,
        result_mac=change.result_mac,
    )
    return LedgerItem("state_changed", change.host_id, body)


def note(subject: str, text: str) -> LedgerItem:
    """For the record only: a password changed, a store restored. It decides nothing."""
    return LedgerItem("note", subject, _body(text=text))


def with_result(item: LedgerItem, result_id: int, result_mac: str) -> LedgerItem:
    """The item, saying which stored result showed the change. Other kinds stay as they are."""
    if item.kind != "state_changed":
        return item
    return item._replace(body={**item.body, "result_id": result_id, "result_mac": result_mac})


def _body(**members: Any) -> Body:
    return {"version": BODY_VERSION, **members}


def _pool_body(record: PoolRecord) -> Body:
    return _body(
        name=record.name,
        addresses=list(record.addresses),
        ca_pem=record.tls.ca_pem,
        pins=list(record.tls.pins),
    )


def _pcrs_to_json(pcrs: PcrValues) -> dict[str, dict[str, str]]:
    return {
        bank: {str(index): encode_hex(value) for index, value in sorted(values.items())}
        for bank, values in sorted(pcrs.items())
    }


def _hex_or_none(data: bytes | None) -> str | None:
    return None if data is None else encode_hex(data)
