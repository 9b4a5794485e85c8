"""The signature of a webhook, as the Standard Webhooks specification has it: receivers' libraries check it.

Spec: Standard Webhooks 1.0.0, https://www.standardwebhooks.com; RFC 2104.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.secret import Secret

__all__ = ["MAX_KEY_BYTES", "MIN_KEY_BYTES", "signature_headers", "webhook_key"]

MIN_KEY_BYTES = 24
MAX_KEY_BYTES = 64
_PREFIX = "whsec_"
_HINT = 'Make one: echo "whsec_$(openssl rand -base64 32)"'


def webhook_key(secret: Secret) -> bytes:
    """The key in a secret ``whsec_<base64>``: 24 to 64 bytes.

    Raises:
        UsageError: it is written otherwise.
    """
    text = secret.reveal()
    if not text.startswith(_PREFIX):
        raise UsageError("the webhook's secret does not begin with whsec_", _HINT)
    try:
        key = base64.b64decode(text[len(_PREFIX) :].encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("the webhook's secret is not base64 behind whsec_", _HINT) from error
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        wanted = f"expected {MIN_KEY_BYTES} to {MAX_KEY_BYTES}"
        raise UsageError(f"the webhook's secret has {len(key)} bytes, {wanted}", _HINT)
    return key


def signature_headers(key: bytes, notification_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that say who sent the body, and when. timestamp: seconds since 1970 of this attempt."""
    signed = b"%s.%d.%s" % (notification_id.encode("ascii"), timestamp, body)
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode("ascii")
    return {
        "webhook-id": notification_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
