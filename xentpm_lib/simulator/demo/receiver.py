"""The demo's webhook receiver: what an orchestrator would run. It believes signed requests only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Receiver"]

_MAX_BODY = 1 << 20  # bytes
_KEY_SIZE = 32  # bytes


class Receiver:
    """Listens on loopback. got: the documents whose signature held, in the order in which they came."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(_KEY_SIZE)
        self.got: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self._server.server_port}/xentpm"

    @property
    def secret(self) -> str:
        """The secret, as the sender's file has it."""
        return "whsec_" + base64.b64encode(self._key).decode("ascii")

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[Receiver]:
        """A receiver that answers, until the end of the block."""
        receiver = cls()
        thread = threading.Thread(target=receiver._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver._server.shutdown()
            receiver._server.server_close()

    def take(self, headers: Any, body: bytes) -> bool:
        """Keep a request whose signature holds. Spec: Standard Webhooks 1.0.0."""
        named = "{}.{}.".format(headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""))
        digest = hmac.new(self._key, named.encode("utf-8") + body, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(digest).decode("ascii")
        if not hmac.compare_digest(expected, headers.get("webhook-signature", "")):
            return False
        self.got.append(json.loads(body))
        return True


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Answer 204 when the signature holds, 401 when it does not."""
            length = min(int(self.headers.get("content-length", "0")), _MAX_BODY)
            good = receiver.take(self.headers, self.rfile.read(length))
            self.send_response(204 if good else 401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
