"""A stored result as a row, and back.

What changes with every attestation is in columns; findings, policy and reference values in use, which do not
change for months, are one content for all results that have them. Evidence is taken apart in the same way.
"""

from __future__ import annotations

import json
from typing import Any

from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.boot_log import boot_log_from_json, boot_log_to_json
from xentpm_lib.evidence.boot_setup import boot_setup_from_json, boot_setup_to_json
from xentpm_lib.evidence.quote import CertifiedTag, QuoteEvidence
from xentpm_lib.verifier.findings import Finding, Severity, finding
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, ReferenceUsed, TpmClock
from xentpm_lib.verifier.store.blobs import content_id
from xentpm_lib.verifier.store.seal import canonical_json
from xentpm_lib.verifier.store.tables import results

__all__ = [
    "COLUMNS",
    "altered_result",
    "clean_text",
    "clock_from_text",
    "evidence_columns",
    "read_evidence",
    "read_result",
    "result_columns",
    "sealed_fields",
]

Row = dict[str, Any]

COLUMNS = tuple(column.name for column in results.columns)
_LATER = ("after_entry", "who")  # there are none in rows that an older release wrote
_SEALED = tuple(name for name in COLUMNS if name not in ("mac", *_LATER))
_EVIDENCE = ("evidence", "event_log", "attest", "signature", "tag_attest", "tag_signature", "created")


def sealed_fields(row: Row) -> list[Any]:
    """The fields that a row's seal is over."""
    later = [row[name] for name in _LATER]
    return [row[name] for name in _SEALED] + (later if any(one is not None for one in later) else [])


def result_columns(result_id: int, result: AttestationResult, contents: dict[bytes, bytes]) -> Row:
    """The columns of a result but for its seal and its evidence; its content goes into ``contents``."""
    clock = result.clock
    return {
        "id": result_id,
        "host_id": clean_text(result.host_id),
        "host_name": clean_text(result.host_name),
        "pool_id": clean_text(result.pool_id),
        "at": float(result.appraised_at),
        "expires_at": float(result.expires_at),
        "state": result.state.value,
        "clock": None if clock is None else _clock_text(clock),
        "findings": _keep(contents, canonical_json(_facts(result)).encode("ascii")),
        "evidence_digest": clean_text(result.evidence_digest),
    }


def evidence_columns(evidence: QuoteEvidence | None, contents: dict[bytes, bytes]) -> Row:
    """The columns of a result's evidence; its contents go into ``contents``."""
    if evidence is None:
        return dict.fromkeys(_EVIDENCE)
    tag, log = evidence.asset_tag, evidence.untrusted_event_log
    return {
        "evidence": _keep(contents, canonical_json(_unchanging(evidence)).encode("ascii")),
        "event_log": None if log is None else _keep(contents, log),
        "attest": evidence.attest,
        "signature": evidence.signature,
        "tag_attest": None if tag is None else tag.attest,
        "tag_signature": None if tag is None else tag.signature,
        "created": evidence.untrusted_created,
    }


def read_result(row: Row, facts: bytes) -> AttestationResult:
    """The result of a row whose seal has held. facts: the content that ``findings`` names.

    One that was stored before ``host_serial`` was has 0.

    Raises:
        ValueError, LookupError, TypeError, AssertionError: another release of the verifier wrote it.
    """
    found = json.loads(facts)
    return AttestationResult(
        host_id=row["host_id"],
        host_name=row["host_name"],
        pool_id=row["pool_id"],
        findings=tuple(_read_finding(one) for one in found["findings"]),
        appraised_at=row["at"],
        expires_at=row["expires_at"],
        policy=PolicyUsed(*found["policy"]),
        references=tuple(ReferenceUsed(one[0], one[1], one[2]) for one in found["references"]),
        clock=clock_from_text(row["clock"]),
        ek_trust=found["ek_trust"],
        evidence_digest=row["evidence_digest"],
        host_serial=found.get("host_serial", 0),
    )


def read_evidence(row: Row, contents: dict[bytes, bytes]) -> QuoteEvidence | None:
    """The evidence of a row whose seal has held; None when none was stored or a content is missing."""
    if row["evidence"] is None:
        return None
    try:
        shell = json.loads(contents[bytes(row["evidence"])])
        log = None if row["event_log"] is None else contents[bytes(row["event_log"])]
        return _put_together(row, shell, log)
    except (XenTpmError, LookupError, ValueError, TypeError):
        return None


def altered_result(host_id: str, detail: str) -> AttestationResult:
    """What is said of a host whose record cannot be believed: nothing of what is in it, not even its time."""
    return AttestationResult(
        host_id=host_id,
        host_name="",
        pool_id="",
        findings=(finding("RECORD_ALTERED", where="store", component="verifier's store", detail=detail),),
        appraised_at=0.0,
        expires_at=0.0,
        policy=PolicyUsed("", ""),
    )


def clock_from_text(text: str | None) -> TpmClock | None:
    """The clock in the column ``clock``."""
    if text is None:
        return None
    clock, reset_count, restart_count, safe, firmware_version = json.loads(text)
    return TpmClock(clock, reset_count, restart_count, bool(safe), firmware_version)


def clean_text(text: str) -> str:
    """Without what a database refuses: zero characters and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")


def _clock_text(clock: TpmClock) -> str:
    fields = (clock.clock, clock.reset_count, clock.restart_count, clock.safe, clock.firmware_version)
    return canonical_json(fields)


def _facts(result: AttestationResult) -> dict[str, Any]:
    return {
        "version": 1,
        "findings": [_finding_fields(found) for found in result.findings],
        "policy": [result.policy.name, result.policy.digest],
        "references": [[used.id, used.label, used.matched] for used in result.references],
        "ek_trust": result.ek_trust,
        "host_serial": result.host_serial,
    }


def _finding_fields(found: Finding) -> list[str]:
    texts = (found.expected, found.actual, found.where, found.component, found.detail)
    return [found.code, found.severity.value, *texts]


def _read_finding(fields: list[str]) -> Finding:
    code, severity, expected, actual, where, component, detail = fields
    found = Finding(code, Severity(severity), expected, actual, where, component, detail)
    if found.severity is not found.kind.severity and not found.kind.adjustable:
        raise ValueError("{} is {}".format(code, severity))
    return found


def _unchanging(evidence: QuoteEvidence) -> dict[str, Any]:
    """What of the evidence is the same in every quote while the host runs.

    A member that was added later is left out where there is nothing for it, so that contents stay the same.
    """
    tag, boot_log, setup = evidence.asset_tag, evidence.untrusted_boot_log, evidence.untrusted_boot_setup
    unchanging = {
        "version": 1,
        "host_uuid": evidence.untrusted_host_uuid,
        "ak_name": evidence.untrusted_ak_name.hex(),
        "ak_public": evidence.untrusted_ak_public.hex(),
        "pcrs": [
            [bank, [[index, value.hex()] for index, value in values.items()]]
            for bank, values in evidence.untrusted_pcrs.items()
        ],
        "nv_public": None if tag is None else tag.untrusted_nv_public.hex(),
        "boot_log": None if boot_log is None else boot_log_to_json(boot_log),
    }
    return unchanging if setup is None else {**unchanging, "measured_boot": boot_setup_to_json(setup)}


def _put_together(row: Row, shell: dict[str, Any], log: bytes | None) -> QuoteEvidence:
    tag, boot_log, setup = shell["nv_public"], shell["boot_log"], shell.get("measured_boot")
    return QuoteEvidence(
        attest=bytes(row["attest"]),
        signature=bytes(row["signature"]),
        untrusted_host_uuid=shell["host_uuid"],
        untrusted_created=row["created"],
        untrusted_ak_name=bytes.fromhex(shell["ak_name"]),
        untrusted_ak_public=bytes.fromhex(shell["ak_public"]),
        untrusted_pcrs={
            bank: {index: bytes.fromhex(value) for index, value in values} for bank, values in shell["pcrs"]
        },
        asset_tag=None
        if tag is None
        else CertifiedTag(bytes.fromhex(tag), bytes(row["tag_attest"]), bytes(row["tag_signature"])),
        untrusted_event_log=log,
        untrusted_boot_log=None if boot_log is None else boot_log_from_json(boot_log, "boot_log"),
        untrusted_boot_setup=None if setup is None else boot_setup_from_json(setup, "measured_boot"),
    )


def _keep(contents: dict[bytes, bytes], data: bytes) -> bytes:
    sha256 = content_id(data)
    contents[sha256] = data
    return sha256
