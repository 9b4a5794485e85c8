"""Reference values as a signed file: from the station that captured them, or from who builds the software.

The file is one line, a JWS of an ES256 key: the signature is checked before anything in it is read, and an
import says whose signature it takes. To whom the values are assigned does not travel: that is for the station
that imports them to say.

Spec: RFC 7515, compact serialisation; RFC 7518, ES256; RFC 7638 for the key's identifier.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from xentpm_lib.errors import EvidenceError, FormatError, UsageError
from xentpm_lib.evidence.algorithms import digest_size
from xentpm_lib.evidence.boot_log import boot_log_from_json, boot_log_to_json
from xentpm_lib.evidence.encoding import check_uuid, decode_base64, decode_hex, encode_base64, encode_hex
from xentpm_lib.evidence.event_log import MAX_EVENT_LOG_SIZE
from xentpm_lib.evidence.pcr import PCR_COUNT, PcrValues
from xentpm_lib.evidence.strict_json import Limits, load_json, mapping, members
from xentpm_lib.verifier.records import ReferenceValues
from xentpm_lib.verifier.reference.capture import check_label
from xentpm_lib.verifier.reference.trusted_keys import key_id
from xentpm_lib.verifier.times import format_time, parse_time

__all__ = ["EXPORT_TYPE", "MAX_EXPORT_LENGTH", "Imported", "export_signed", "import_signed"]

EXPORT_TYPE = "xentpm-reference-values"
MAX_EXPORT_LENGTH = 48 * 1024 * 1024  # characters of a file
MAX_EXPORTED = 1000  # reference values in a file

_VERSION = 1
_ALGORITHM = "ES256"
_MAX_HEADER_LENGTH = 1024  # characters
_MAX_NAME_LENGTH = 255  # characters
_LIMITS = Limits(length=36 * 1024 * 1024, depth=6, tokens=2 * 1024 * 1024)
_HEADER_LIMITS = Limits(length=_MAX_HEADER_LENGTH, depth=1, tokens=32)
_TOP = ("version", "type", "exported_at", "exported_by", "references", "event_logs")
_REFERENCE = ("id", "label", "created_at", "created_by", "source_host", "pcrs", "event_log", "boot_log")
_INDICES = {str(index): index for index in range(PCR_COUNT)}
_UNTRUSTED = "Ask who made the file for the public key, and give it with --key."


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held. Nothing is assigned to anybody yet.

    event_logs: SHA-256, hex, to the firmware event logs that the values come from.
    key_id: whose signature it was; the thumbprint of the key.
    """

    references: tuple[ReferenceValues, ...]
    exported_at: float
    exported_by: str
    key_id: str
    event_logs: Mapping[str, bytes] = field(default_factory=dict)


def export_signed(
    references: Sequence[ReferenceValues],
    key: ec.EllipticCurvePrivateKey,
    who: str,
    now: float,
    event_logs: Mapping[str, bytes] | None = None,
) -> str:
    """A signed file with the reference values, one line of ASCII.

    key: the station's, P-256. event_logs: those that the values name, by SHA-256; others are left out.

    Raises:
        UsageError: nothing to export, reference values that were retired or predicted, or more than a file
            holds.
    """
    if not 1 <= len(references) <= MAX_EXPORTED:
        raise UsageError(f"{len(references)} reference values, 1 to {MAX_EXPORTED} go into a file")
    retired = [one.label for one in references if one.retired_at is not None]
    if retired:
        raise UsageError(f"{retired[0]!a} was retired: what nobody should trust is not passed on")
    predicted = [one.label for one in references if one.origin == "predicted"]
    if predicted:
        message = f"{predicted[0]!a} was predicted: no TPM has shown it, and an import does not tell that"
        raise UsageError(message, "After the restart: xentpm-attest baseline capture HOST --label LABEL.")
    named = {one.event_log for one in references}
    document = {
        "version": _VERSION,
        "type": EXPORT_TYPE,
        "exported_at": format_time(now),
        "exported_by": who,
        "references": [_to_json(one) for one in references],
        "event_logs": {
            name: encode_base64(log) for name, log in sorted((event_logs or {}).items()) if name in named
        },
    }
    payload = json.dumps(document, separators=(",", ":")).encode("ascii")
    header = {"typ": EXPORT_TYPE, "kid": key_id(key.public_key())}
    text: str = jwt.api_jws.PyJWS().encode(payload, key, _ALGORITHM, headers=header)
    if len(text) > MAX_EXPORT_LENGTH or len(payload) > _LIMITS.length:
        raise UsageError(f"a file of {len(text)} characters, at most {MAX_EXPORT_LENGTH}", "Export fewer.")
    return text + "\n"


def import_signed(
    text: str,
    trusted: Sequence[ec.EllipticCurvePublicKey],
    who: str,
    now: float,
    known: Collection[str] = (),
) -> Imported:
    """What a signed file holds.

    1. one of the trusted keys signed it, with ES256
    2. it is a file of reference values, to the last member
    3. none of them is here already: an import never changes what somebody approved

    known: the ids of all reference values that the station has, retired ones included.

    Raises:
        EvidenceError: no trusted key has signed it.
        FormatError: it is signed, but not such a file.
        UsageError: one of the reference values is here already.
    """
    # 1. signature
    payload, signer = _verified(text.strip(), trusted)
    # 2. content
    top = members(load_json(payload, "reference values", _LIMITS), "reference values", _TOP)
    if (top["version"], top["type"]) != (_VERSION, EXPORT_TYPE) or isinstance(top["version"], bool):
        raise FormatError(f"expected version {_VERSION} of type {EXPORT_TYPE}", where="reference values")
    imported = Imported(
        references=_references(top["references"], who, now),
        exported_at=parse_time(top["exported_at"], "exported_at"),
        exported_by=_name(top["exported_by"], "exported_by"),
        key_id=signer,
        event_logs=_event_logs(top["event_logs"]),
    )
    # 3. nothing that is here
    for one in imported.references:
        if one.reference_id in known:
            raise UsageError(f"the reference values {one.label!a} ({one.reference_id}) are here already")
    return imported


def _verified(text: str, trusted: Sequence[ec.EllipticCurvePublicKey]) -> tuple[str, str]:
    """The payload, and the id of the key that signed it."""
    header, _, _ = text.partition(".")
    if len(text) > MAX_EXPORT_LENGTH or len(header) > _MAX_HEADER_LENGTH or text.count(".") != 2:
        raise EvidenceError("this is no signed file of reference values", _UNTRUSTED)
    for key in trusted:
        try:
            found = jwt.api_jws.PyJWS().decode_complete(text, key, algorithms=[_ALGORITHM])
        except (jwt.PyJWTError, TypeError, ValueError, RecursionError):
            continue
        wanted = {"alg": _ALGORITHM, "typ": EXPORT_TYPE, "kid": key_id(key)}
        if found["header"] == wanted:
            return found["payload"].decode("ascii", "replace"), wanted["kid"]
    raise EvidenceError("no trusted key has signed this file", _UNTRUSTED)


def _to_json(one: ReferenceValues) -> dict[str, Any]:
    return {
        "id": one.reference_id,
        "label": one.label,
        "created_at": format_time(one.created_at),
        "created_by": one.created_by,
        "source_host": one.source_host,
        "pcrs": {
            bank: {str(index): encode_hex(value) for index, value in sorted(values.items())}
            for bank, values in sorted(one.pcrs.items())
        },
        "event_log": one.event_log,
        "boot_log": None if one.boot_log is None else boot_log_to_json(one.boot_log),
    }


def _references(value: Any, who: str, now: float) -> tuple[ReferenceValues, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_EXPORTED:
        raise FormatError(f"expected an array of 1 to {MAX_EXPORTED}", where="references")
    found = tuple(_reference(one, f"references[{number}]", who, now) for number, one in enumerate(value))
    if len({one.reference_id for one in found}) != len(found):
        raise FormatError("an id is given twice", where="references")
    return found


def _reference(value: Any, where: str, who: str, now: float) -> ReferenceValues:
    one = members(value, where, _REFERENCE)
    parse_time(one["created_at"], where + ".created_at")
    boot_log, source = one["boot_log"], _text(one["source_host"], where + ".source_host")
    return ReferenceValues(
        reference_id=check_uuid(one["id"], where + ".id"),
        label=_label(one["label"], where + ".label"),
        origin="imported",
        created_at=now,
        created_by=f"{who} (made by {_name(one['created_by'], where + '.created_by')})",
        pcrs=_pcrs(one["pcrs"], where + ".pcrs"),
        source_host=check_uuid(source, where + ".source_host") if source else "",
        event_log=_log_name(one["event_log"], where + ".event_log"),
        boot_log=None if boot_log is None else boot_log_from_json(boot_log, where + ".boot_log"),
    )


def _pcrs(value: Any, where: str) -> PcrValues:
    banks = mapping(value, where)
    if not banks:
        raise FormatError("there is no bank", where=where)
    return {bank: _bank(registers, digest_size(bank), f"{where}.{bank}") for bank, registers in banks.items()}


def _bank(value: Any, size: int, where: str) -> dict[int, bytes]:
    registers = mapping(value, where)
    if not registers or not _INDICES.keys() >= registers.keys():
        raise FormatError("expected registers from 0 to 23", where=where)
    return {
        _INDICES[key]: decode_hex(digits, f"{where}[{key}]", size, size) for key, digits in registers.items()
    }


def _event_logs(value: Any) -> dict[str, bytes]:
    logs = {}
    for name, text in mapping(value, "event_logs").items():
        log = decode_base64(text, "event_logs", 1, MAX_EVENT_LOG_SIZE)
        if hashlib.sha256(log).hexdigest() != name:
            raise FormatError("a log is not the one that it is named after", where="event_logs")
        logs[name] = log
    return logs


def _log_name(value: Any, where: str) -> str:
    return "" if value == "" else encode_hex(decode_hex(value, where, 32, 32))


def _label(value: Any, where: str) -> str:
    try:
        return check_label(_text(value, where))
    except UsageError as error:
        raise FormatError(error.message, where=where) from None


def _name(value: Any, where: str) -> str:
    name = _text(value, where)
    if not 1 <= len(name) <= _MAX_NAME_LENGTH or not name.isprintable():
        raise FormatError(f"expected 1 to {_MAX_NAME_LENGTH} printable characters", where=where)
    return name


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"expected text, got {type(value).__name__}", where=where)
    return value
