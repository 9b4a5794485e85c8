"""The finding codes: everything that appraisal or collection can have to say, and what to do about it.

The codes are stable: policies, programs and docs/attestation-results.md name them. A finding is data in a
result, never an exception.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

__all__ = [
    "FINDING_KINDS",
    "LASTING",
    "REENROL_COMMAND",
    "Category",
    "Finding",
    "FindingKind",
    "Severity",
    "advice_for",
    "finding",
]

REENROL_COMMAND = "xentpm-attest enroll --replace --host HOST --ek-ca FILE"
"""For a host that is to be enrolled anew. HOST: see `advice_for`. FILE: the makers' certificates."""

_HOST = re.compile(r"\bHOST\b")


class Severity(str, Enum):
    """How much a finding counts. One that FAILED makes the host untrusted."""

    FAILED = "failed"
    WARNING = "warning"
    INFO = "info"


class Category(str, Enum):
    """What a finding is about; a failed one's category decides which kind of untrusted a host is."""

    KEY = "key"
    EVIDENCE = "evidence"
    MEASUREMENT = "measurement"
    COLLECTION = "collection"
    APPROVAL = "approval"


@dataclass(frozen=True)
class FindingKind:
    """What is fixed for all findings of a code.

    adjustable: a policy may give it another severity. What holds the chain of proof together is not.
    title: a sentence for people. advice: the administrator's next step.
    """

    category: Category
    severity: Severity
    adjustable: bool
    title: str
    advice: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. ``expected`` and ``actual`` are text, digests hex; empty where there is none.

    where: what it is about, for programs: ``sha256:9``, ``asset_tag``, ``ak``, ``event_log[17]``; or empty.
    component: what it is about, for people: ``dom0 initrd``, ``endorsement key``; or empty.
    """

    code: str
    severity: Severity
    expected: str = ""
    actual: str = ""
    where: str = ""
    component: str = ""
    detail: str = ""

    @property
    def kind(self) -> FindingKind:
        """What is fixed for the code."""
        return FINDING_KINDS[self.code]

    @property
    def failed(self) -> bool:
        """Whether it makes the host untrusted."""
        return self.severity is Severity.FAILED


def finding(code: str, severity: Severity | None = None, **fields: str) -> Finding:
    """A finding of a known code, with the code's own severity unless another is given.

    Raises:
        KeyError: there is no such code, a mistake in the program.
    """
    return Finding(code, severity or FINDING_KINDS[code].severity, **fields)


def advice_for(advice: str, host: str) -> str:
    """Advice whose commands can be typed as they stand. host: quoted for a shell where it has to be."""
    return _HOST.sub(lambda _match: host, advice)


_FAILED, _WARNING, _INFO = Severity.FAILED, Severity.WARNING, Severity.INFO
_KEY, _EVIDENCE, _MEASUREMENT = Category.KEY, Category.EVIDENCE, Category.MEASUREMENT
_COLLECTION, _APPROVAL = Category.COLLECTION, Category.APPROVAL

_COMPROMISED = "Treat the host as compromised until it is explained: something in its dom0 answers wrongly."
_REENROL = (
    f"If the TPM or main board was replaced on purpose, enrol again: {REENROL_COMMAND} (or --ek-pin, as at"
    " first). Else investigate."
)
_REBASELINE = (
    "If the change was planned, approve it: xentpm-attest baseline approve HOST."
    " Else restore the component and reboot."
)
_UPDATE = "Install the same release of xentpm on the host and here, then try again."

FINDING_KINDS: dict[str, FindingKind] = {
    # The chain of proof, in the order of the checks.
    "EVIDENCE_MALFORMED": FindingKind(
        _EVIDENCE, _FAILED, False, "The evidence is not a quote evidence document", _UPDATE
    ),
    "AK_UNFIT": FindingKind(
        _KEY,
        _FAILED,
        False,
        "The enrolled attestation key could sign what no TPM has made",
        f"Make it another one (xentpm --rotate_ak) and enrol it again: {REENROL_COMMAND}.",
    ),
    "SIGNATURE_SCHEME": FindingKind(
        _KEY,
        _FAILED,
        False,
        "The signature's scheme or hash is not allowed or does not fit the key",
        _COMPROMISED,
    ),
    "SIGNATURE_INVALID": FindingKind(
        _KEY, _FAILED, False, "The signature is not by the enrolled attestation key", _REENROL
    ),
    "ATTEST_MALFORMED": FindingKind(
        _EVIDENCE,
        _FAILED,
        False,
        "What was signed is no statement of a TPM of the type that was asked for",
        _COMPROMISED,
    ),
    "NONCE_MISMATCH": FindingKind(
        _EVIDENCE,
        _FAILED,
        False,
        "The quote does not answer this challenge; it may be an old one",
        _COMPROMISED,
    ),
    "EVIDENCE_EXPIRED": FindingKind(
        _EVIDENCE,
        _FAILED,
        False,
        "The answer took longer than evidence may be old",
        "Look at the load of host and network.",
    ),
    "SIGNER_MISMATCH": FindingKind(
        _KEY,
        _FAILED,
        False,
        "The signing key is not a primary key of the endorsement hierarchy with the enrolled Name",
        _REENROL,
    ),
    "AK_CHANGED": FindingKind(
        _KEY, _FAILED, False, "The host shows another attestation key than it enrolled", _REENROL
    ),
    "EK_CHANGED": FindingKind(
        _KEY, _FAILED, False, "The host shows another endorsement key: it has another TPM", _REENROL
    ),
    "UUID_CHANGED": FindingKind(
        _KEY,
        _FAILED,
        False,
        "The host shows another UUID than it enrolled: another machine or a cloned disk",
        _REENROL,
    ),
    "PCR_SELECTION": FindingKind(
        _EVIDENCE, _FAILED, False, "The quote is not over the PCRs that were asked for", _COMPROMISED
    ),
    "PCR_DIGEST": FindingKind(
        _EVIDENCE, _FAILED, False, "The PCR values are not those that the TPM signed", _COMPROMISED
    ),
    "CLOCK_WENT_BACK": FindingKind(
        _EVIDENCE,
        _FAILED,
        False,
        "The TPM's clock or counters went back: an old quote, or the TPM was cleared",
        f"If the TPM was cleared on purpose, enrol again: {REENROL_COMMAND}. Else investigate.",
    ),
    "CLOCK_UNSAFE": FindingKind(
        _EVIDENCE,
        _WARNING,
        True,
        "The TPM lost power without notice, so its clock may be behind",
        "Nothing, once; look at it if it stays.",
    ),
    "TPM_FIRMWARE_CHANGED": FindingKind(
        _EVIDENCE,
        _WARNING,
        True,
        "The TPM runs another firmware version than at the last attestation",
        "If the TPM's firmware was not updated on purpose, investigate.",
    ),
    "HOST_REBOOTED": FindingKind(
        _MEASUREMENT, _INFO, True, "The host was started anew since the last attestation", ""
    ),
    "EK_TRUST_NOT_ALLOWED": FindingKind(
        _KEY,
        _FAILED,
        False,
        "The policy does not allow the way in which the endorsement key is trusted",
        f"Enrol again with the maker's certificates, or a pinned key (--ek-pin): {REENROL_COMMAND}.",
    ),
    "EK_FIRST_USE": FindingKind(
        _KEY,
        _WARNING,
        False,
        "The endorsement key was trusted on first use: nobody vouches that it is a TPM's",
        f"Enrol again with the maker's certificates, or a pinned key (--ek-pin): {REENROL_COMMAND}.",
    ),
    # Reference values.
    "NO_REFERENCE_VALUES": FindingKind(
        _APPROVAL,
        _FAILED,
        False,
        "There are no reference values to compare the host with",
        "If it is known to be good: xentpm-attest baseline capture HOST --label LABEL.",
    ),
    "PCR_CHANGED": FindingKind(
        _MEASUREMENT, _FAILED, False, "A measurement is not the expected one", _REBASELINE
    ),
    "PCR_NOT_EXTENDED": FindingKind(
        _MEASUREMENT,
        _FAILED,
        False,
        "Nothing was measured into a PCR that the policy requires",
        "Measured boot is not set up or was undone: xentpm --status on the host tells which part.",
    ),
    "DYNAMIC_LAUNCH_MISSING": FindingKind(
        _MEASUREMENT,
        _FAILED,
        False,
        "There was no dynamic launch (TXT)",
        "Boot the tboot entry; look at TXT in the BIOS.",
    ),
    # The event log.
    "EVENT_LOG_MISSING": FindingKind(
        _EVIDENCE,
        _FAILED,
        True,
        "The policy wants an event log and the host sent none",
        'Most Xen hosts have none: use a policy with [event_log] replay = "when_present".',
    ),
    "EVENT_LOG_MALFORMED": FindingKind(_EVIDENCE, _FAILED, True, "The event log cannot be read", _UPDATE),
    "EVENT_LOG_MISMATCH": FindingKind(
        _EVIDENCE,
        _FAILED,
        True,
        "The event log does not lead to the PCR values that the TPM signed",
        _COMPROMISED,
    ),
    "EVENT_LOG_UNKNOWN_EVENT": FindingKind(
        _EVIDENCE,
        _FAILED,
        True,
        "The event log has an event of a type that is not known",
        "Look at the event: xentpm-attest explain HOST.",
    ),
    "BOOT_LOG_MISMATCH": FindingKind(
        _EVIDENCE,
        _WARNING,
        True,
        "Boot files were changed after this boot; the next boot will differ",
        "Planned: xentpm-attest baseline predict HOST, then restart. Else find out who changed them.",
    ),
    # What dom0 says of its measured boot set-up: a word that no TPM has signed.
    "MEASURED_BOOT_UNDONE": FindingKind(
        _MEASUREMENT,
        _WARNING,
        True,
        "The host says that its measured boot was undone, most often by an update",
        "Run xentpm-boot enable on the host and restart it; then: xentpm-attest attest HOST.",
    ),
    "MEASURED_BOOT_PENDING": FindingKind(
        _MEASUREMENT,
        _WARNING,
        True,
        "The host says that measured boot was set up after this boot",
        "Restart the host; then: xentpm-attest attest HOST.",
    ),
    # The asset tag.
    "ASSET_TAG_MISSING": FindingKind(
        _MEASUREMENT,
        _FAILED,
        True,
        "The host has no asset tag where one is expected",
        "Set it on the host: xentpm --tpm_set_asset_tag TAG, then reboot. If it is to have none:"
        " xentpm-attest asset-tag HOST --none.",
    ),
    "ASSET_TAG_UNEXPECTED": FindingKind(
        _MEASUREMENT,
        _WARNING,
        True,
        "The host has an asset tag that nobody told the verifier of",
        "Tell it: xentpm-attest asset-tag HOST TAG.",
    ),
    "ASSET_TAG_WRONG": FindingKind(
        _MEASUREMENT,
        _FAILED,
        True,
        "The host has another asset tag than expected",
        "It may be another machine, or in another place. Look.",
    ),
    "ASSET_TAG_INVALID": FindingKind(
        _EVIDENCE, _FAILED, False, "The asset tag is not proven by the host's TPM", _COMPROMISED
    ),
    # Collection: why there is no evidence.
    "POOL_UNREACHABLE": FindingKind(
        _COLLECTION,
        _FAILED,
        False,
        "No host of the pool answers as its master",
        "Look at the network and at the pool's master.",
    ),
    "HOST_OFFLINE": FindingKind(
        _COLLECTION,
        _FAILED,
        False,
        "The host is off or out of reach of its pool's master",
        "Look at the host's power and network.",
    ),
    "COLLECTION_TIMEOUT": FindingKind(
        _COLLECTION, _FAILED, False, "The host did not answer in time", "Look at the host's load and its TPM."
    ),
    "TLS_CERTIFICATE": FindingKind(
        _COLLECTION,
        _FAILED,
        False,
        "The server's certificate is not the one that is trusted",
        "If it was replaced on purpose: xentpm-attest pool pin URL. Else somebody may be in between.",
    ),
    "XAPI_AUTHENTICATION": FindingKind(
        _COLLECTION,
        _FAILED,
        False,
        "The pool refuses the user name or password",
        "Give the new one: xentpm-attest pool password URL.",
    ),
    "XAPI_ERROR": FindingKind(
        _COLLECTION, _FAILED, False, "XAPI answered with an error", "Look at the error and at the host's log."
    ),
    "HOST_UNKNOWN": FindingKind(
        _COLLECTION,
        _FAILED,
        False,
        "The pool does not know the host any more",
        "If it left the pool: xentpm-attest forget HOST.",
    ),
    # The host answers, but not with evidence.
    "PLUGIN_MISSING": FindingKind(
        _EVIDENCE,
        _FAILED,
        False,
        "The host has no plugin named tpm",
        "Install the supplemental pack; a host upgrade removes it.",
    ),
    "PLUGIN_ERROR": FindingKind(
        _EVIDENCE,
        _FAILED,
        False,
        "The host's plugin cannot give evidence",
        "Look at the error; xentpm --status on the host tells more.",
    ),
    # The verifier itself.
    "RECORD_ALTERED": FindingKind(
        _KEY,
        _FAILED,
        False,
        "The verifier's own record of the host was altered",
        f"Restore the store from a backup, or enrol again: {REENROL_COMMAND}. Find out who has access to it.",
    ),
    "INTERNAL_ERROR": FindingKind(
        _EVIDENCE,
        _FAILED,
        False,
        "The verifier failed while it appraised the host",
        "Report it with the log; the host is not trusted meanwhile.",
    ),
}

LASTING = frozenset({"AK_CHANGED", "CLOCK_WENT_BACK", "EK_CHANGED", "RECORD_ALTERED", "UUID_CHANGED"})
"""Codes that stay with a host until it is enrolled anew: it was another one once, whatever it shows today."""
