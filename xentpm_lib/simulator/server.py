"""The endpoint's HTTP and HTTPS servers: HTTP/1.1 with connections kept open, on loopback only."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.simulator.rpc import FRONT_ENDS, Api

__all__ = ["ADDRESS", "IDLE_TIMEOUT_S", "MAX_BODY_BYTES", "MAX_CONNECTIONS", "Endpoint"]

ADDRESS = "127.0.0.1"
MAX_BODY_BYTES = 300 * 1024
_MAX_LENGTH_DIGITS = 10
"""As XAPI limits the body of a call."""
IDLE_TIMEOUT_S = 60.0
"""A connection that says nothing for this long is closed."""
MAX_CONNECTIONS = 512
"""Further ones are closed at once."""

_LOG = logging.getLogger(__name__)


class _Refused(Exception):
    """A request that is answered with an HTTP error and the end of the connection."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers; every path ends with an answer, unless the host is off."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "xentpm-sim"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for header and body

    def do_POST(self) -> None:
        try:
            front_end = FRONT_ENDS.get(self.path.partition("?")[0])
            if front_end is None:
                raise _Refused(404, "no such path: wanted /, /RPC2 or /jsonrpc")
            xapi, body = self.server.xapi, self._body()
            assert xapi is not None
            if not xapi.live:
                self.close_connection = True
                return  # the host is off: not a word
            self._send(200, front_end.content_type, front_end.answer(xapi, body))
        except _Refused as refusal:
            self._refuse(refusal.status, refusal.reason)
        except FormatError as error:
            self._refuse(500, error.message)

    def do_GET(self) -> None:
        if self.headers.get("Content-Length") or self.headers.get("Transfer-Encoding"):
            self.close_connection = True  # the body is not read, so what follows is not a request
        self._send(200, "text/plain", b"A simulated XenServer pool: XML-RPC at /, JSON-RPC 2.0 at /jsonrpc\n")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding"):
            raise _Refused(411, "wanted Content-Length")
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit()):
            raise _Refused(411, "wanted Content-Length")
        size = int(text) if len(text) <= _MAX_LENGTH_DIGITS else MAX_BODY_BYTES + 1
        if size > MAX_BODY_BYTES:
            raise _Refused(413, f"the body may have {MAX_BODY_BYTES} bytes")
        body = self.rfile.read(size)
        if len(body) != size:
            raise _Refused(400, "the body is shorter than Content-Length")
        return body

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True
        self._send(status, "text/plain", reason.encode("utf-8", "replace") + b"\n")

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug("connection of %s: %s", self.client_address[0], format % args)


class _Server(ThreadingHTTPServer):
    """One listening socket; a thread for each connection, which also does the TLS handshake."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    timeout = 0  # of handle_request, which is called when there is one

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None, idle_timeout_s: float) -> None:
        self.xapi: Api | None = None  # from the start on
        self.idle_timeout_s = idle_timeout_s
        self._tls = tls
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__((address, port), _Handler)

    def server_bind(self) -> None:
        """As the base class, without its look-up of the host's name."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.xapi is None or not self.xapi.live:
            self.shutdown_request(request)
            return
        if not self._places.acquire(blocking=False):
            _LOG.warning("more than %d connections: one refused", MAX_CONNECTIONS)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            request.settimeout(self.idle_timeout_s)
            if self._tls is not None:
                request = self._tls.wrap_socket(request, server_side=True)
            super().process_request_thread(request, client_address)
        except OSError as error:
            _LOG.debug("handshake: %s", error)
            self.shutdown_request(request)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection broke, or the handler has a fault: never a traceback on the terminal."""
        _LOG.debug("connection ended early", exc_info=True)


class Endpoint:
    """The servers at one address: HTTPS where there is a TLS context, plain HTTP where asked for.

    The ports are taken at once; callers wait until ``start``.
    port: of the URL that is given out, 0 for a free one; with plain HTTP that is the plain one's.
    tls_port: the other one's, then; 0 for a free one.
    Raises: UsageError when a port cannot be had.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None,
        plain: bool = False,
        port: int = 0,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        address: str = ADDRESS,
        tls_port: int = 0,
    ) -> None:
        self._servers: list[tuple[str, _Server]] = []
        if plain:
            self._servers.append(("http", _listen(address, port, None, idle_timeout_s)))
        if tls is not None:
            tls_port = tls_port if plain else port
            self._servers.append(("https", _listen(address, tls_port, tls, idle_timeout_s)))
        self._pipe = os.pipe()  # wakes the thread for its end
        self._thread = threading.Thread(target=self._serve, name=f"endpoint {address}", daemon=True)

    @property
    def urls(self) -> list[str]:
        """The addresses; the first is the one to give out."""
        return [f"{scheme}://{server.server_name}:{server.server_port}" for scheme, server in self._servers]

    @property
    def ports(self) -> list[int]:
        """The ports, in the order of ``urls``."""
        return [server.server_port for _scheme, server in self._servers]

    def start(self, xapi: Api) -> None:
        """Serve this API until ``stop``."""
        for _scheme, server in self._servers:
            server.xapi = xapi
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections. Those that are open end with the process. May be called twice."""
        if self._thread.is_alive():
            os.write(self._pipe[1], b".")
            self._thread.join()
            for end in self._pipe:
                os.close(end)
        for _scheme, server in self._servers:
            server.server_close()

    def _serve(self) -> None:
        """One thread for all servers; each connection has another."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe[0], selectors.EVENT_READ)
            for _scheme, server in self._servers:
                selector.register(server, selectors.EVENT_READ, server)
            while True:
                for key, _events in selector.select():
                    if key.data is None:
                        return
                    key.data.handle_request()


def _listen(address: str, port: int, tls: ssl.SSLContext | None, idle_timeout_s: float) -> _Server:
    try:
        return _Server(address, port, tls, idle_timeout_s)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use", "leave out --port to get a free one") from error
        raise UsageError(f"port {port}: {error.strerror}", "leave out --port to get a free one") from error
