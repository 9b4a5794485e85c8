"""What the bodies of ledger entries mean, and whether one can be read back before it is written for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xentpm_lib.errors import FormatError, PolicyError, XenTpmError
from xentpm_lib.evidence.boot_log import boot_log_from_json
from xentpm_lib.evidence.encoding import decode_base64, decode_hex
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.evidence.public import MAX_PUBLIC_SIZE, Public
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import BODY_VERSION, Body, LedgerItem, StateChange
from xentpm_lib.verifier.policy.loader import load_policy
from xentpm_lib.verifier.records import (
    EkTrust,
    HostRecord,
    PoolRecord,
    ReferenceValues,
    TlsTrust,
    UnenrolledHost,
)
from xentpm_lib.verifier.result import State

__all__ = [
    "KINDS",
    "check_item",
    "read_host",
    "read_host_update",
    "read_pool",
    "read_reference",
    "read_state_change",
    "read_tag",
    "read_targets",
    "read_unenrolled",
]

MAX_CERTIFICATE_SIZE = 16 * 1024  # bytes
_TAG_SIZES = (20, 32, 48)  # bytes


def read_pool(pool_id: str, body: Body) -> PoolRecord:
    """The pool of ``pool_added`` and ``pool_changed``."""
    tls = TlsTrust(_text(body["ca_pem"]), _texts(body["pins"]))
    if not tls.ca_pem and not tls.pins:
        raise FormatError("no certificate and no pin", where="pool")
    return PoolRecord(pool_id, _text(body["name"]), _texts(body["addresses"]), tls)


def read_host(host_id: str, body: Body, serial: int) -> HostRecord:
    """The host of ``host_enrolled``. serial: the entry's number."""
    return HostRecord(
        host_id=host_id,
        pool_id=_text(body["pool_id"]),
        name=_text(body["name"]),
        system_uuid=_text(body["system_uuid"]),
        ek=Public.from_tpm2b(decode_base64(body["ek"], "ek", 1, MAX_PUBLIC_SIZE)),
        ak=Public.from_tpm2b(decode_base64(body["ak"], "ak", 1, MAX_PUBLIC_SIZE)),
        ek_trust=EkTrust(body["ek_trust"]),
        ek_certificate=_certificate(body["ek_certificate"]),
        enrolled_at=_number(body["enrolled_at"]),
        serial=serial,
        group=_text(body["group"]),
        asset_tag=_tag(body["asset_tag"]),
    )


def read_host_update(body: Body) -> dict[str, Any]:
    """The members of the host's record that ``host_updated`` changes."""
    return {
        "pool_id": _text(body["pool_id"]),
        "name": _text(body["name"]),
        "ek_trust": EkTrust(body["ek_trust"]),
        "ek_certificate": _certificate(body["ek_certificate"]),
    }


def read_unenrolled(host_id: str, body: Body) -> UnenrolledHost:
    """The host of ``host_seen``."""
    return UnenrolledHost(host_id, _text(body["pool_id"]), _text(body["name"]), _number(body["at"]))


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
    old, result_id, result_mac = body["old"], body["result_id"], body.get("result_mac")
    return StateChange(
        host_id=host_id,
        old=None if old is None else State(old),
        new=State(body["new"]),
        at=_number(body["at"]),
        findings=_texts(body["findings"]),
        result_id=None if result_id is None else int(result_id),
        result_mac=None if result_mac is None else _text(result_mac),
    )


_READERS: dict[str, Callable[[str, Body], object]] = {
    "pool_added": read_pool,
    "pool_changed": read_pool,
    "pool_removed": lambda subject, body: None,
    "host_enrolled": lambda subject, body: read_host(subject, body, 0),
    "host_updated": lambda subject, body: read_host_update(body),
    "host_removed": lambda subject, body: None,
    "host_seen": read_unenrolled,
    "host_gone": lambda subject, body: None,
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


def _pcrs_from_json(value: Any) -> PcrValues:
    return {
        bank: {int(index): decode_hex(text, "pcrs." + bank, 20, 64) for index, text in values.items()}
        for bank, values in value.items()
    }


def _certificate(value: Any) -> bytes | None:
    return None if value is None else decode_base64(value, "ek_certificate", 1, MAX_CERTIFICATE_SIZE)


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
