"""The public keys whose signed files an import takes: PEM, a JWK, or the JWKS that a station prints.

Spec: RFC 7517, RFC 7518 section 6.2.1, RFC 7638.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.evidence.strict_json import Limits, load_json, mapping

__all__ = ["MAX_KEYS_LENGTH", "key_id", "key_members", "read_trusted_keys"]

MAX_KEYS_LENGTH = 64 * 1024  # characters of a file
_COORDINATE_SIZE = 32  # bytes, of a point on P-256
_LIMITS = Limits(length=MAX_KEYS_LENGTH, depth=4, tokens=4096)
_PEM = re.compile("-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_HINT = "`xentpm-attest keys jwks` on the station that exports prints its key."


def read_trusted_keys(text: str) -> tuple[ec.EllipticCurvePublicKey, ...]:
    """The P-256 keys in a file: ``PUBLIC KEY`` blocks, a JWK or a JWKS.

    Raises:
        UsageError: there is none, or one that is not a P-256 key.
    """
    try:
        if len(text) > MAX_KEYS_LENGTH:
            raise FormatError(f"{len(text)} characters, at most {MAX_KEYS_LENGTH}")
        keys = _from_json(text) if text.lstrip().startswith("{") else _from_pem(text)
    except (FormatError, ValueError, TypeError) as error:
        raise UsageError(f"these are no public keys: {error}", _HINT) from error
    if not keys:
        raise UsageError("there is no public key in the file", _HINT)
    return keys


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """The key's JWK thumbprint: 43 characters of base64url."""
    canonical = json.dumps(key_members(key), separators=(",", ":"), sort_keys=True).encode("ascii")
    return _base64url(hashlib.sha256(canonical).digest())


def key_members(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """What a JWK has to hold of a key; coordinates have all their bytes, also where they begin with zeros."""
    point = key.public_numbers()
    return {"crv": "P-256", "kty": "EC", "x": _coordinate(point.x), "y": _coordinate(point.y)}


def _from_pem(text: str) -> tuple[ec.EllipticCurvePublicKey, ...]:
    return tuple(
        _p256(serialization.load_pem_public_key(block.encode("ascii"))) for block in _PEM.findall(text)
    )


def _from_json(text: str) -> tuple[ec.EllipticCurvePublicKey, ...]:
    document = mapping(load_json(text, "keys", _LIMITS), "keys")
    listed = document.get("keys", [document])
    if not isinstance(listed, list):
        raise FormatError("expected an array", where="keys")
    return tuple(_from_jwk(mapping(one, "keys")) for one in listed)


def _from_jwk(jwk: dict[str, Any]) -> ec.EllipticCurvePublicKey:
    if (jwk.get("kty"), jwk.get("crv")) != ("EC", "P-256") or "d" in jwk:
        raise FormatError("expected a public key of type EC on P-256", where="keys")
    x, y = (_number(jwk.get(name)) for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise FormatError("expected a P-256 key")
    return key


def _number(text: object) -> int:
    if not isinstance(text, str) or len(text) != 43:
        raise FormatError(f"expected {_COORDINATE_SIZE} bytes in base64url", where="keys")
    data = base64.urlsafe_b64decode(text + "=")
    if _base64url(data) != text:
        raise FormatError("not canonical base64url", where="keys")
    return int.from_bytes(data, "big")


def _coordinate(number: int) -> str:
    return _base64url(number.to_bytes(_COORDINATE_SIZE, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
