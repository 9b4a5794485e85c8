"""Who a host's TPM is: its identity document, and the challenge that proves that two keys are in one TPM."""

from __future__ import annotations

import hmac
import secrets

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.encoding import decode_base64, encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.verifier.enrolment.credential import make_credential
from xentpm_lib.verifier.errors import CollectionError, EnrolmentError
from xentpm_lib.verifier.findings import Finding, finding
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.xapi.pool import PoolClient

__all__ = ["challenge_keys", "identity_findings", "read_identity"]

_SECRET_SIZE = 32  # bytes
_MAX_ANSWER = 64  # bytes: a digest of the largest hash
_IDENTITY, _CHALLENGE = "tpm_get_attestation_identity", "tpm_challenge"


def read_identity(client: PoolClient, host_uuid: str, timeout: float | None = None) -> Identity:
    """What the host says of its TPM: untrusted.

    Raises:
        CollectionError: the host does not answer.
        EnrolmentError: ``XENTPM_IDENTITY``: it answers with something else.
    """
    text = client.call_plugin(host_uuid, _IDENTITY, {}, timeout)
    try:
        return Identity.from_xml(text)
    except FormatError as error:
        raise EnrolmentError(
            f"the host's identity document is malformed: {error.message}"[:500],
            "install the same release of xentpm on the host and here",
            "XENTPM_IDENTITY",
        ) from error


def challenge_keys(
    client: PoolClient, host_uuid: str, identity: Identity, timeout: float | None = None
) -> None:
    """Prove that the TPM with the identity's EK holds its AK. It costs the TPM a private operation.

    A fresh random secret is encrypted to the EK for the Name of the AK; a TPM opens it only if it has both.

    Raises:
        EnrolmentError: ``XENTPM_CHALLENGE_FAILED``: it was not opened, or the answer is another.
            ``XENTPM_EK_UNUSABLE``: no secret can be encrypted to such a key.
        CollectionError: the host does not answer.

    Spec: TPM 2.0 Library Part 1, Credential Protection.
    """
    secret = secrets.token_bytes(_SECRET_SIZE)
    credential = make_credential(identity.ek, identity.ak.name(), secret)
    try:
        text = client.call_plugin(host_uuid, _CHALLENGE, {"challenge": encode_base64(credential)}, timeout)
        answer = decode_base64(text.strip(), "challenge", 1, _MAX_ANSWER)
    except CollectionError as error:
        if error.finding != "PLUGIN_ERROR":
            raise
        raise _failed(f"the TPM did not open the challenge: {error.message}") from error
    except FormatError as error:
        raise _failed("the answer to the challenge is malformed") from error
    if not hmac.compare_digest(answer, secret):
        raise _failed("the answer to the challenge is wrong")


def identity_findings(
    client: PoolClient, host: HostRecord, challenge: bool = False, timeout: float | None = None
) -> tuple[Finding, ...]:
    """Read a host's identity anew and tell what is not as it was enrolled; empty when all is.

    challenge: let the TPM prove once more that both keys are its own, as enrolment does.
    timeout: seconds for each of the one or two calls.

    Raises:
        CollectionError: the host does not answer.
    """
    try:
        identity = read_identity(client, host.host_id, timeout)
    except EnrolmentError as error:
        return (finding("EVIDENCE_MALFORMED", where="identity", detail=error.message),)
    found = _differences(identity, host)
    if challenge and not found:
        try:
            challenge_keys(client, host.host_id, identity, timeout)
        except EnrolmentError as error:
            component = "endorsement key"
            found.append(finding("EK_CHANGED", where="ek", component=component, detail=error.message))
    return tuple(found)


def _differences(identity: Identity, host: HostRecord) -> list[Finding]:
    found = []
    for code, where, component, expected, actual in (
        ("EK_CHANGED", "ek", "endorsement key", host.ek.name(), identity.ek.name()),
        ("AK_CHANGED", "ak", "attestation key", host.ak.name(), identity.ak.name()),
    ):
        if not hmac.compare_digest(expected, actual):
            found.append(_changed(code, expected.hex(), actual.hex(), where, component))
    enrolled, shown = host.system_uuid.lower(), identity.system_uuid.lower()
    if enrolled and enrolled != shown:
        found.append(_changed("UUID_CHANGED", enrolled, shown, "system_uuid", "machine"))
    return found


def _changed(code: str, expected: str, actual: str, where: str, component: str) -> Finding:
    return finding(code, expected=expected, actual=actual, where=where, component=component)


def _failed(message: str) -> EnrolmentError:
    hint = "the attestation key is not proven to be in the TPM of the endorsement key: investigate"
    return EnrolmentError(message, hint, "XENTPM_CHALLENGE_FAILED")
