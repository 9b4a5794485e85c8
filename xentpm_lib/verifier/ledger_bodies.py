"""What the entries of the ledger say, as JSON, and back.

Each function makes what ``Store.append`` writes: ``store.append(*host_enrolled(record), who="jo")``. A body
has a ``version``; ``check_item`` refuses what the registry could not read back, before it is written for
good. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from xentpm_lib.errors import FormatError, PolicyError, XenTpmError
from xentpm_lib.evidence.boot_log import boot_log_from_json, boot_log_to_json
from xentpm_lib.evidence.encoding import decode_base64, decode_hex, encode_base64, encode_hex
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.evidence.public import MAX_PUBLIC_SIZE, Public
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.policy.loader import load_policy
from xentpm_lib.verifier.records import EkTrust, HostRecord, PoolRecord, ReferenceValues, TlsTrust
from xentpm_lib.verifier.result import State

__all__ = [
    "BODY_VERSION",
    "KINDS",
    "LedgerItem",
    "StateChange",
    "asset_tag_expected",
    "check_item",
    "host_enrolled",
    "host_group",
    "host_removed",
    "note",
    "policy_assigned",
    "pool_added",
    "pool_changed",
    "pool_removed",
    "read_host",
    "read_pool",
    "read_reference",
    "read_state_change",
    "read_tag",
    "read_targets",
    "reference_added",
    "reference_assigned",
    "reference_retired",
    "reference_unassigned",
    "state_changed",
    "with_result",
]

BODY_VERSION = 1
MAX_CERTIFICATE_SIZE = 16 * 1024  # bytes
_TAG_SIZES = (20, 32, 48)  # bytes

Body = dict[str, Any]


class LedgerItem(NamedTuple):
    """What ``Store.append`` is to write. subject: the UUID or name that it is about."""

    kind: str
    subject: str
    body: Body


@dataclass(frozen=True, slots=True)
class StateChange:
    """A host became another one in people's eyes. old: None the first time.

    findings: codes of the failed findings. result_id: of the stored result that showed it; None where the
    change came without one (a lease ran out). The store fills it in when result and entry are written
    together.
    """

    host_id: str
    old: State | None
    new: State
    at: float
    findings: tuple[str, ...] = ()
    result_id: int | None = None


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


def host_removed(host_id: str) -> LedgerItem:
    """The host is forgotten. Reference values that were assigned to it alone stay, without it."""
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
    )
    return LedgerItem("state_changed", change.host_id, body)


def note(subject: str, text: str) -> LedgerItem:
    """For the record only: a password changed, a store restored. It decides nothing."""
    return LedgerItem("note", subject, _body(text=text))


def read_pool(pool_id: str, body: Body) -> PoolRecord:
    """The pool of ``pool_added`` and ``pool_changed``."""
    tls = TlsTrust(_text(body["ca_pem"]), _texts(body["pins"]))
    if not tls.ca_pem and not tls.pins:
        raise FormatError("no certificate and no pin", where="pool")
    return PoolRecord(pool_id, _text(body["name"]), _texts(body["addresses"]), tls)


def read_host(host_id: str, body: Body, serial: int) -> HostRecord:
    """The host of ``host_enrolled``. serial: the entry's number."""
    certificate = body["ek_certificate"]
    if certificate is not None:
        certificate = decode_base64(certificate, "ek_certificate", 1, MAX_CERTIFICATE_SIZE)
    return HostRecord(
        host_id=host_id,
        pool_id=_text(body["pool_id"]),
        name=_text(body["name"]),
        system_uuid=_text(body["system_uuid"]),
        ek=Public.from_tpm2b(decode_base64(body["ek"], "ek", 1, MAX_PUBLIC_SIZE)),
        ak=Public.from_tpm2b(decode_base64(body["ak"], "ak", 1, MAX_PUBLIC_SIZE)),
        ek_trust=EkTrust(body["ek_trust"]),
        ek_certificate=certificate,
        enrolled_at=_number(body["enrolled_at"]),
        serial=serial,
        group=_text(body["group"]),
        asset_tag=_tag(body["asset_tag"]),
    )


def read_reference(reference_id: str, body: Body) -> ReferenceValues:
    """The reference values of ``reference_added``."""
    boot_log, retired_at = body["boot_log"], body["retired_at"]
    return ReferenceValues(
        reference_id=reference_id,
        label=_text(body["label"]),
        origin=_text(body["origin"]),
        created_at=_number(body["created_at"]),
        created_by=_text(body["created_by"]),
        pcrs=_pcrs_from_json(body["pcrs"]),
        source_host=_text(body["source_host"]),
        event_log=_text(body["event_log"]),
        boot_log=None if boot_log is None else boot_log_from_json(boot_log, "boot_log"),
        hosts=frozenset(_texts(body["hosts"])),
        groups=frozenset(_texts(body["groups"])),
        retired_at=None if retired_at is None else _number(retired_at),
    )


def read_targets(body: Body) -> tuple[frozenset[str], frozenset[str]]:
    """Hosts and groups of ``reference_assigned`` and ``reference_unassigned``."""
    return frozenset(_texts(body["hosts"])), frozenset(_texts(body["groups"]))


def read_tag(body: Body) -> bytes | None:
    """The tag of ``asset_tag_expected``."""
    return _tag(body["tag"])


def read_state_change(host_id: str, body: Body) -> StateChange:
    """The change of ``state_changed``."""
    old, result_id = body["old"], body["result_id"]
    return StateChange(
        host_id=host_id,
        old=None if old is None else State(old),
        new=State(body["new"]),
        at=_number(body["at"]),
        findings=_texts(body["findings"]),
        result_id=None if result_id is None else int(result_id),
    )


def with_result(item: LedgerItem, result_id: int) -> LedgerItem:
    """The item, saying which stored result showed the change. Other kinds stay as they are."""
    if item.kind != "state_changed":
        return item
    return item._replace(body={**item.body, "result_id": result_id})


_READERS: dict[str, Callable[[str, Body], object]] = {
    "pool_added": read_pool,
    "pool_changed": read_pool,
    "pool_removed": lambda subject, body: None,
    "host_enrolled": lambda subject, body: read_host(subject, body, 0),
    "host_removed": lambda subject, body: None,
    "host_group": lambda subject, body: _name(body["group"]),
    "policy_assigned": lambda subject, body: load_policy(_text(body["text"])),
    "reference_added": read_reference,
    "reference_assigned": lambda subject, body: read_targets(body),
    "reference_unassigned": lambda subject, body: read_targets(body),
    "reference_retired": lambda subject, body: _number(body["at"]),
    "asset_tag_expected": lambda subject, body: read_tag(body),
    "state_changed": read_state_change,
    "note": lambda subject, body: _text(body["text"]),
}
KINDS = frozenset(_READERS)
"""The kinds of entries that this release knows."""


def check_item(item: LedgerItem) -> LedgerItem:
    """``item`` itself when the registry can read it.

    Raises:
        StoreError: it cannot.
        PolicyError: it is a policy with mistakes.
    """
    try:
        if item.kind not in KINDS:
            raise FormatError("the kind is unknown")
        if item.body["version"] != BODY_VERSION:
            raise FormatError("version {}, expected {}".format(item.body["version"], BODY_VERSION))
        _name(item.subject)
        _READERS[item.kind](item.subject, item.body)
    except PolicyError:
        raise
    except (XenTpmError, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        message = "a ledger entry of kind {} that cannot be read: {}".format(ascii(item.kind)[:40], error)
        raise StoreError(message, "Use the release of xentpm that wrote it, or a later one.") from error
    return item


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


def _pcrs_from_json(value: Any) -> PcrValues:
    return {
        bank: {int(index): decode_hex(text, "pcrs." + bank, 20, 64) for index, text in values.items()}
        for bank, values in value.items()
    }


def _hex_or_none(data: bytes | None) -> str | None:
    return None if data is None else encode_hex(data)


def _tag(value: Any) -> bytes | None:
    tag = None if value is None else decode_hex(value, "tag", min(_TAG_SIZES), max(_TAG_SIZES))
    if tag is not None and len(tag) not in _TAG_SIZES:
        raise FormatError("{} bytes, expected 20, 32 or 48".format(len(tag)), where="tag")
    return tag


def _name(value: Any) -> str:
    if not _text(value) or len(value) > 255 or not value.isprintable():
        raise FormatError("expected 1 to 255 printable characters", where="name")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FormatError("expected text, got {}".format(type(value).__name__))
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise FormatError("expected a list, got {}".format(type(value).__name__))
    return tuple(_text(one) for one in value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatError("expected a number, got {}".format(type(value).__name__))
    return float(value)
