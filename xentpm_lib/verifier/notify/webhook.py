"""The channel ``webhook``: a signed POST of the notification's body."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import requests

from xentpm_lib import __version__
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.config import ChannelConfig
from xentpm_lib.verifier.notify.delivery import DeliveryError
from xentpm_lib.verifier.notify.document import clean
from xentpm_lib.verifier.notify.http_client import Answer, HttpClient
from xentpm_lib.verifier.notify.signature import signature_headers, webhook_key

__all__ = ["WebhookChannel"]

_MAX_CAUSES = 10  # errors within one another
_MAX_SAID = 160  # characters of an answer's body in an error
_THIS_ONE = (400, 409, 410, 413, 415, 422)
"""Status codes by which a receiver refuses one message, not the sender."""


class WebhookChannel:
    """Delivered once the receiver answered with a status of 200 to 299. Everything else is tried again."""

    def __init__(self, config: ChannelConfig, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self._clock = clock
        self._client = HttpClient(config.timeout, config.ca_file, config.proxy)
        self._server = urlsplit(config.url).netloc

    def deliver(self, notification: Notification) -> None:
        """POST it. Raises: DeliveryError."""
        body = notification.body.encode("utf-8")
        headers = {
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"xentpm-attest/{__version__}",
            **self._signature(notification.notification_id, body),
        }
        try:
            answer = self._client.post(self.config.url, headers, body)
        except TimeoutError as error:
            raise DeliveryError(f"{self._server}: {error}") from error
        except (requests.RequestException, OSError) as error:
            raise DeliveryError(f"{self._server}: {_reason(error)}") from error
        self._judge(answer)

    def close(self) -> None:
        """Close the connection that is kept open."""
        self._client.close()

    def _signature(self, notification_id: str, body: bytes) -> dict[str, str]:
        if self.config.secret is None:
            raise DeliveryError("the channel has no secret")
        try:
            key = webhook_key(self.config.secret.read())
        except UsageError as error:
            raise DeliveryError(error.message) from error
        return signature_headers(key, notification_id, int(self._clock()), body)

    def _judge(self, answer: Answer) -> None:
        if 200 <= answer.status <= 299:
            return
        if 300 <= answer.status <= 399:
            raise DeliveryError(f"{self._server}: it redirects (status {answer.status}); give the final URL")
        said = clean(" ".join(answer.text.split()), _MAX_SAID)
        message = f"{self._server}: status {answer.status}{': ' + said if said else ''}"
        raise DeliveryError(
            message, wide=answer.status not in _THIS_ONE, retry_after=_seconds(answer.headers)
        )


def _seconds(headers: dict[str, str]) -> float:
    """What ``Retry-After`` asks for, as far as it is a number of seconds. Spec: RFC 9110, section 10.2.3."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0.0


def _reason(error: Exception) -> str:
    """What happened, without the URL that was called, as the innermost error says it."""
    seen: BaseException | None = error
    found = type(error).__name__
    for _ in range(_MAX_CAUSES):
        if seen is None:
            break
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {clean(seen.verify_message, _MAX_SAID)}"
        if isinstance(seen, OSError) and seen.strerror:
            found = clean(seen.strerror, _MAX_SAID)
        reason = getattr(seen, "reason", None)
        seen = reason if isinstance(reason, BaseException) else seen.__cause__ or seen.__context__
    return found
