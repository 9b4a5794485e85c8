"""A mail server as far as a client that sends can tell: RFC 5321 on a real socket, plain or with TLS.

It keeps the messages and can refuse the recipients, demand a password, or hang.
"""

import email
import email.message
import email.policy
import socketserver
import ssl
import threading
from base64 import b64decode
from pathlib import Path
from typing import List, Optional

__all__ = ["MailServer"]


class MailServer:
    """mode: ``take``, ``refuse`` (the recipient), or ``hang`` (after the connection)."""

    def __init__(self, mode: str = "take", certificate: Optional[Path] = None) -> None:
        self.mode = mode
        self.messages: List[email.message.EmailMessage] = []
        self.logins: List[str] = []
        self.closing = threading.Event()
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.converse(self)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "MailServer":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def converse(self, handler: socketserver.StreamRequestHandler) -> None:
        """One connection."""
        if self.mode == "hang":
            self.closing.wait(600)
            return

        def say(text: str) -> None:
            handler.wfile.write(text.encode("ascii") + b"\r\n")

        say("220 localhost ready")
        while True:
            line = handler.rfile.readline(1000).decode("ascii", "replace").strip()
            word = line.upper().split(" ")[0] if line else "QUIT"
            if word == "EHLO":
                say("250-localhost")
                say("250 AUTH PLAIN")
            elif word == "AUTH":
                self.logins.append(b64decode(line.split(" ")[2]).decode("utf-8"))
                say("235 welcome")
            elif word == "RCPT" and self.mode == "refuse":
                say("550 no such mailbox")
            elif word == "DATA":
                say("354 go on")
                self._take(handler)
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")

    def _take(self, handler: socketserver.StreamRequestHandler) -> None:
        lines = []
        while True:
            line = handler.rfile.readline()
            if line in (b".\r\n", b""):
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        self.messages.append(message)  # type: ignore[arg-type]
