"""An Attestation Result as a signed token that anybody who has the station's public key can check offline.

It is a JWT, signed with ES256, whose claims follow the EAT Attestation Result (EAR): ``ear.status`` says in
one word what to make of the host, and ``xentpm.result`` holds the whole result. docs/attestation-results.md
lists the claims. Only ``affirming`` and ``warning`` belong to trusted hosts.

Spec: RFC 7519 (JWT), RFC 7517 (JWK), RFC 9711 (EAT), draft-fv-rats-ear-05 (EAR), draft-ietf-rats-ar4si
(trustworthiness claims).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from xentpm_lib import __version__
from xentpm_lib.errors import EvidenceError, FormatError
from xentpm_lib.evidence.strict_json import Limits, load_json, mapping, members
from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.reference.trusted_keys import key_id, key_members, read_trusted_keys
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.result_json import result_from_object, result_to_object

__all__ = [
    "CLOCK_TOLERANCE",
    "EAR_PROFILE",
    "MAX_TOKEN_LENGTH",
    "TOKEN_TYPE",
    "VerifiedToken",
    "ear_status",
    "jwks",
    "sign_result",
    "verify_token",
]

EAR_PROFILE = "tag:github.com,2023:veraison/ear"
TOKEN_TYPE = "JWT"
MAX_TOKEN_LENGTH = 1024 * 1024  # characters
MAX_HEADER_LENGTH = 512  # characters; a station's has some 150
CLOCK_TOLERANCE = 60.0  # seconds that a station's clock may be ahead of the reader's

_ALGORITHM = "ES256"
_DEVELOPER = "xentpm"
_RESULT = "xentpm.result"
_VERIFIER = "ear.verifier-id"
_LIMITS = Limits(length=MAX_TOKEN_LENGTH, depth=12, tokens=400_000)
_CLAIMS = ("eat_profile", "iat", "nbf", "exp", "sub", _VERIFIER, "submods", _RESULT)

# Spec: draft-ietf-rats-ar4si, section 2.3: 2 to 31 affirms, 32 to 95 warns, 96 and above contraindicates.
_GENUINE = 2
_APPROVED_BOOT = 3  # of executables: what was loaded while booting, which is all that PCRs prove
_UNRECOGNIZED_EXECUTABLES = 33
_UNRECOGNIZED = 97  # of instance-identity and hardware
_NO_CLAIM = 0
_EXECUTABLE_CODES = frozenset({"PCR_CHANGED", "PCR_NOT_EXTENDED", "DYNAMIC_LAUNCH_MISSING"})
_STATUS = {
    State.TRUSTED: "affirming",
    State.UNTRUSTED_MEASUREMENT: "contraindicated",
    State.UNTRUSTED_KEY: "contraindicated",
    State.UNTRUSTED_EVIDENCE: "contraindicated",
    State.UNREACHABLE: "none",
    State.PENDING_APPROVAL: "none",
}


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose signature, times and claims held.

    status: ``affirming``, ``warning``, ``contraindicated`` or ``none``. key_id: of the station's key.
    """

    result: AttestationResult
    status: str
    issued_at: int
    key_id: str


def sign_result(result: AttestationResult, key: ec.EllipticCurvePrivateKey, now: float) -> str:
    """The result as a compact JWT, signed with the station's P-256 key. It expires when the result does.

    now: seconds since 1970, UTC.

    Raises:
        EvidenceError: ``XENTPM_RESULT_EXPIRED``: a result that is no longer in force is not vouched for.
        FormatError: the result is too large, or its times cannot be.
    """
    if not now < math.floor(result.expires_at):
        hint = "Attest the host again: xentpm-attest attest."
        raise EvidenceError("the result has expired", hint, "XENTPM_RESULT_EXPIRED")
    claims = _claims(result_from_object(result_to_object(result)), math.floor(now))  # as it will be read
    claims[_VERIFIER] = {"developer": _DEVELOPER, "build": "xentpm {}".format(__version__)}
    payload = json.dumps(claims, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    headers = {"typ": TOKEN_TYPE, "kid": key_id(key.public_key())}
    token = jwt.PyJWS().encode(payload, key, _ALGORITHM, headers)
    if len(token) > MAX_TOKEN_LENGTH:
        raise FormatError("{} characters, at most {}".format(len(token), MAX_TOKEN_LENGTH), where="token")
    return token


def verify_token(token: str, keys: str, now: float, host_id: str) -> VerifiedToken:
    """Verify a token about one host.

    1. Its header names ES256 and one of the keys, and nothing else.
    2. The key's signature is over it.
    3. Its claims are those that a station writes for the result in it, and no others.
    4. It is about the host.
    5. It is in force: issued, at most ``CLOCK_TOLERANCE`` from now, and not expired.

    keys: the station's JWKS, a JWK or PEM. now: seconds since 1970, UTC. host_id: XAPI UUID.

    Raises:
        EvidenceError: a check failed. The message tells which.
        UsageError: there is no usable key in ``keys``.
    """
    trusted = {key_id(key): key for key in read_trusted_keys(keys)}
    try:
        signer = _signer(token, trusted)  # 1.
        payload = jwt.PyJWS().decode(token, trusted[signer], algorithms=[_ALGORITHM])  # 2.
        claims = members(load_json(payload.decode("ascii"), "token", _LIMITS), "token", _CLAIMS)
        result, status = _result(claims)  # 3.
    except jwt.PyJWTError as error:
        raise _refused("it has no signature that holds") from error
    except (FormatError, UnicodeDecodeError) as error:
        raise _refused(str(error)) from error
    if result.host_id != host_id:  # 4.
        raise _refused("it is about another host")
    if max(claims["iat"], claims["nbf"]) > now + CLOCK_TOLERANCE:  # 5.
        raise _refused("it is from the future")
    if not now < claims["exp"]:
        raise _refused("it has expired")
    return VerifiedToken(result, status, claims["iat"], signer)


def jwks(*keys: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> dict[str, Any]:
    """The public keys as a JSON Web Key Set; nothing in it is secret. Spec: RFC 7517, RFC 7638 (``kid``)."""
    return {"keys": [_jwk(key) for key in keys]}


def ear_status(result: AttestationResult) -> str:
    """What an EAR says of the result: ``affirming``, ``warning``, ``contraindicated`` or ``none``.

    A trusted host with a warning is ``warning``. ``none`` says nothing about a host: it could not be
    reached, or waits for reference values. So only ``affirming`` is good by itself.
    """
    status = _STATUS[result.state]
    warned = any(found.severity is Severity.WARNING for found in result.findings)
    return "warning" if status == "affirming" and warned else status


def _claims(result: AttestationResult, issued_at: int) -> dict[str, Any]:
    """All claims but the verifier's own name, for a result that was read from JSON."""
    appraisal = {
        "ear.status": ear_status(result),
        "ear.trustworthiness-vector": _vector(result),
        "ear.appraisal-policy-id": "xentpm:{}:sha256:{}".format(result.policy.name, result.policy.digest),
    }
    return {
        "eat_profile": EAR_PROFILE,
        "iat": issued_at,
        "nbf": math.floor(result.appraised_at),
        "exp": math.floor(result.expires_at),
        "sub": result.host_id,
        "submods": {result.host_id: appraisal},
        _RESULT: result_to_object(result),
    }


def _vector(result: AttestationResult) -> dict[str, int]:
    """Claims about what was looked at; 0 where nothing is claimed."""
    if result.state is State.UNTRUSTED_KEY:
        return {"instance-identity": _UNRECOGNIZED, "hardware": _NO_CLAIM, "executables": _NO_CLAIM}
    if result.state is State.UNTRUSTED_MEASUREMENT:
        changed = any(found.failed and found.code in _EXECUTABLE_CODES for found in result.findings)
        return {**_identity(result), "executables": _UNRECOGNIZED_EXECUTABLES if changed else _NO_CLAIM}
    if result.state is State.TRUSTED:
        return {**_identity(result), "executables": _APPROVED_BOOT}
    return {"instance-identity": _NO_CLAIM, "hardware": _NO_CLAIM, "executables": _NO_CLAIM}


def _identity(result: AttestationResult) -> dict[str, int]:
    known = result.ek_trust in ("certificate", "pinned")
    certified = result.ek_trust == "certificate"
    return {
        "instance-identity": _GENUINE if known else _NO_CLAIM,
        "hardware": _GENUINE if certified else _NO_CLAIM,
    }


def _signer(token: str, trusted: dict[str, ec.EllipticCurvePublicKey]) -> str:
    """The ``kid`` of the header, when the header is exactly as a station writes it."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise FormatError("{} characters, at most {}".format(len(token), MAX_TOKEN_LENGTH), where="token")
    if not token.isascii() or len(token.partition(".")[0]) > MAX_HEADER_LENGTH:
        raise FormatError("not a header as a station writes it", where="token header")
    header = members(jwt.get_unverified_header(token), "token header", ("alg", "typ", "kid"))
    if header["alg"] != _ALGORITHM or header["typ"] != TOKEN_TYPE:
        raise FormatError("not a {} signed with {}".format(TOKEN_TYPE, _ALGORITHM), where="token header")
    if not isinstance(header["kid"], str) or header["kid"] not in trusted:
        raise FormatError("signed with a key that is not trusted", where="token header")
    return header["kid"]


def _result(claims: dict[str, Any]) -> tuple[AttestationResult, str]:
    """The result and the status, when the claims are what a station writes for them."""
    result = result_from_object(claims[_RESULT], _RESULT)
    build = members(claims[_VERIFIER], _VERIFIER, ("developer", "build"))
    for name, value in _claims(result, _number(claims["iat"])).items():
        if claims[name] != value:
            raise FormatError("not what the result makes it", where=name)
    if not all(isinstance(value, str) for value in build.values()):
        raise FormatError("not text", where=_VERIFIER)
    return result, mapping(claims["submods"], "submods")[result.host_id]["ear.status"]


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FormatError("not a number", where="iat")
    return value


def _jwk(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> dict[str, Any]:
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return {**key_members(public), "kid": key_id(public), "use": "sig", "alg": _ALGORITHM}


def _refused(reason: str) -> EvidenceError:
    return EvidenceError("the token is refused: {}".format(reason), code="XENTPM_TOKEN_REFUSED")
