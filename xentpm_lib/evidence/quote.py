"""The quote evidence document, version 1: what ``tpm_get_quote`` returns, as JSON.

Only what a TPM signed is authentic, and only after its signature has been verified: ``attest`` of
the quote and of the asset tag. Everything else says so in its name, and has to be checked against
what is signed before it is believed. The structures inside stay bytes here, because a signature is
over the bytes as they came; ``tpm_structures`` parses them.
"""

import struct
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import hash_by_name
from xentpm_lib.evidence.attest import MAX_ATTEST_SIZE
from xentpm_lib.evidence.boot_log import BootEvent, boot_log_from_json, boot_log_to_json
from xentpm_lib.evidence.boot_setup import BootSetup, boot_setup_from_json, boot_setup_to_json
from xentpm_lib.evidence.encoding import (
    check_created,
    check_uuid,
    decode_base64,
    decode_hex,
    encode_base64,
    encode_hex,
)
from xentpm_lib.evidence.event_log import MAX_EVENT_LOG_SIZE
from xentpm_lib.evidence.names import MAX_NAME_SIZE, MIN_NAME_SIZE, check_name
from xentpm_lib.evidence.nv_public import MAX_NV_PUBLIC_SIZE
from xentpm_lib.evidence.pcr import PCR_COUNT, PcrValues
from xentpm_lib.evidence.public import MAX_PUBLIC_SIZE
from xentpm_lib.evidence.signature import MAX_SIGNATURE_SIZE
from xentpm_lib.evidence.strict_json import Limits, load_json, mapping, members

__all__ = [
    "EVIDENCE_LIMITS",
    "EVIDENCE_VERSION",
    "BootEvent",
    "CertifiedTag",
    "QuoteEvidence",
]

EVIDENCE_VERSION = 1
EVIDENCE_LIMITS = Limits(length=4 * 1024 * 1024, depth=4, tokens=256 * 1024)

_TOP = ("version", "host_uuid", "created", "ak", "quote", "asset_tag", "event_log", "boot_log")
_OPTIONAL = "measured_boot"
_AK = ("name", "public")
_QUOTE = ("attest", "signature", "pcrs")
_TAG = ("nv_public", "attest", "signature")
_INDICES = {str(index): index for index in range(PCR_COUNT)}
_ALL_KEYS = tuple(_INDICES)  # in the order that a host writes them


class CertifiedTag(NamedTuple):
    """The asset tag's NV index, certified by the TPM with the quote's nonce.

    untrusted_nv_public: TPM2B_NV_PUBLIC; true when its Name is the one in ``attest``.
    attest: TPMS_ATTEST of type ``nv_certify``. signature: TPMT_SIGNATURE over it.
    """

    untrusted_nv_public: bytes
    attest: bytes
    signature: bytes


class QuoteEvidence(NamedTuple):
    """One quote with what is needed to appraise it.

    attest: TPMS_ATTEST of type ``quote``. signature: TPMT_SIGNATURE over it.
    untrusted_host_uuid: XAPI's UUID of the host, lower case.
    untrusted_created: ``2026-01-31T23:59:59Z``, by dom0's clock.
    untrusted_ak_name: the signing key's Name, 22 to 66 bytes.
    untrusted_ak_public: its TPM2B_PUBLIC.
    untrusted_pcrs: the values that the quote's digest is over.
    untrusted_event_log: as ``event_log`` parses it; None where dom0 has none.
    untrusted_boot_log: None where measured boot is not set up.
    untrusted_boot_setup: the document's optional ``measured_boot``; None where it was never set up.
    """

    attest: bytes
    signature: bytes
    untrusted_host_uuid: str
    untrusted_created: str
    untrusted_ak_name: bytes
    untrusted_ak_public: bytes
    untrusted_pcrs: PcrValues
    asset_tag: Optional[CertifiedTag] = None
    untrusted_event_log: Optional[bytes] = None
    untrusted_boot_log: Optional[Tuple[BootEvent, ...]] = None
    untrusted_boot_setup: Optional[BootSetup] = None

    def to_json(self) -> str:
        """The document: ASCII, on one line, members in a fixed order.

        Raises:
            FormatError: ``from_json`` would not read the same evidence back.
        """
        import json

        text = json.dumps(_document(self), separators=(",", ":"))
        if QuoteEvidence.from_json(text) != self:
            raise FormatError("it cannot be written: it would not read back the same", where="evidence")
        return text

    @classmethod
    def from_json(cls, text: str) -> "QuoteEvidence":
        """Parse a document.

        Raises:
            FormatError: another version, a member missing, unknown or twice, a value that is not
                as documented or is spelled in another than the canonical way, or over a limit.
        """
        top = mapping(load_json(text, "evidence", EVIDENCE_LIMITS), "evidence")
        setup = boot_setup_from_json(top.pop(_OPTIONAL), _OPTIONAL) if _OPTIONAL in top else None
        members(top, "evidence", _TOP)
        if type(top["version"]) is not int or top["version"] != EVIDENCE_VERSION:
            raise FormatError("expected {}".format(EVIDENCE_VERSION), where="version")
        ak = members(top["ak"], "ak", _AK)
        quote = members(top["quote"], "quote", _QUOTE)
        return cls(
            attest=decode_base64(quote["attest"], "quote.attest", 1, MAX_ATTEST_SIZE),
            signature=decode_base64(quote["signature"], "quote.signature", 1, MAX_SIGNATURE_SIZE),
            untrusted_host_uuid=check_uuid(top["host_uuid"], "host_uuid"),
            untrusted_created=check_created(top["created"], "created"),
            untrusted_ak_name=_name(ak["name"], "ak.name"),
            untrusted_ak_public=decode_base64(ak["public"], "ak.public", 1, MAX_PUBLIC_SIZE),
            untrusted_pcrs=_pcrs(quote["pcrs"], "quote.pcrs"),
            asset_tag=_tag(top["asset_tag"]),
            untrusted_event_log=_event_log(top["event_log"]),
            untrusted_boot_log=_boot_log(top["boot_log"]),
            untrusted_boot_setup=setup,
        )


def _document(evidence: QuoteEvidence) -> Dict[str, Any]:
    """The document's members, in their order, encoded but not checked."""
    tag, log, boot = evidence.asset_tag, evidence.untrusted_event_log, evidence.untrusted_boot_log
    setup = evidence.untrusted_boot_setup
    document = {
        "version": EVIDENCE_VERSION,
        "host_uuid": evidence.untrusted_host_uuid,
        "created": evidence.untrusted_created,
        "ak": {
            "name": encode_hex(evidence.untrusted_ak_name),
            "public": encode_base64(evidence.untrusted_ak_public),
        },
        "quote": {
            "attest": encode_base64(evidence.attest),
            "signature": encode_base64(evidence.signature),
            "pcrs": {
                bank: {str(index): encode_hex(value) for index, value in sorted(values.items())}
                for bank, values in evidence.untrusted_pcrs.items()
            },
        },
        "asset_tag": None if tag is None else dict(zip(_TAG, map(encode_base64, tag))),
        "event_log": None if log is None else encode_base64(log),
        "boot_log": None if boot is None else boot_log_to_json(boot),
    }
    return document if setup is None else dict(document, **{_OPTIONAL: boot_setup_to_json(setup)})


def _name(value: Any, where: str) -> bytes:
    return check_name(decode_hex(value, where, MIN_NAME_SIZE, MAX_NAME_SIZE), where)


def _pcrs(value: Any, where: str) -> PcrValues:
    banks = mapping(value, where)
    if not banks:
        raise FormatError("there is no bank", where=where)
    return {bank: _bank(registers, bank, where) for bank, registers in banks.items()}


def _bank(value: Any, bank: str, where: str) -> Dict[int, bytes]:
    size = hash_by_name(bank, where).size
    where = "{}.{}".format(where, bank)
    registers = mapping(value, where)
    if not registers:
        raise FormatError("there is no register", where=where)
    indices: Iterable[int] = range(PCR_COUNT)
    if tuple(registers) != _ALL_KEYS:
        indices = [_register(key, where) for key in registers]
    return dict(zip(indices, _decode_all(registers, where, size)))


def _register(key: str, where: str) -> int:
    if key not in _INDICES:
        raise FormatError("{} is no register, expected 0 to 23".format(ascii(key[:32])), where=where)
    return _INDICES[key]


def _decode_all(registers: Dict[str, Any], where: str, size: int) -> Sequence[bytes]:
    """The values of a bank, decoded together; one by one when one is wrong, to tell which."""
    try:
        return _decode_rows(list(registers.values()), where, size)
    except FormatError:
        places = ["{}[{}]".format(where, key) for key in registers]
        return [decode_hex(value, place, size, size) for value, place in zip(registers.values(), places)]


def _decode_rows(values: List[Any], where: str, size: int) -> Sequence[bytes]:
    """Values in hex that are all of ``size`` bytes. Raises: FormatError when one is anything else."""
    if set(map(type, values)) != {str} or set(map(len, values)) != {2 * size}:
        raise FormatError("not all of {} bytes".format(size), where=where)
    total = size * len(values)
    data = decode_hex("".join(values), where, total, total)
    return struct.unpack("{}s".format(size) * len(values), data)


def _tag(value: Any) -> Optional[CertifiedTag]:
    if value is None:
        return None
    tag = members(value, "asset_tag", _TAG)
    return CertifiedTag(
        decode_base64(tag["nv_public"], "asset_tag.nv_public", 1, MAX_NV_PUBLIC_SIZE),
        decode_base64(tag["attest"], "asset_tag.attest", 1, MAX_ATTEST_SIZE),
        decode_base64(tag["signature"], "asset_tag.signature", 1, MAX_SIGNATURE_SIZE),
    )


def _event_log(value: Any) -> Optional[bytes]:
    return None if value is None else decode_base64(value, "event_log", 1, MAX_EVENT_LOG_SIZE)


def _boot_log(value: Any) -> Optional[Tuple[BootEvent, ...]]:
    return None if value is None else boot_log_from_json(value, "boot_log")
