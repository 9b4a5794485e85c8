"""A TLS server that answers as badly as a test wants it to: real sockets, real TLS, whatever bytes.

    with HostileServer(directory, lambda call: call.answer(SUCCESS)) as server:
        server.url, server.pem, server.calls

The script gets each request as a ``Call`` and answers with its methods, or with ``call.connection`` itself.
"""

import contextlib
import re
import socket
import ssl
import threading
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple

from xentpm_lib.simulator.certificates import make_certificate, server_context

__all__ = ["Call", "HostileServer", "failure", "success"]

_IDLE_S = 60  # so long a server hangs, unless the test ends before: more than any limit of a test on time


def success(value: Any) -> bytes:
    """The body of an answer with a value."""
    return _body({"Status": "Success", "Value": value})


def failure(*description: str) -> bytes:
    """The body of an answer with an error."""
    return _body({"Status": "Failure", "ErrorDescription": list(description)})


def _body(answer: Any) -> bytes:
    return xmlrpc.client.dumps((answer,), methodresponse=True, allow_none=True).encode()


class Call:
    """One request: its method, its parameters, and the connection that it came over."""

    def __init__(self, connection: ssl.SSLSocket, body: bytes, ended: threading.Event) -> None:
        self.connection = connection
        self.ended = ended
        self.params, self.method = xmlrpc.client.loads(body)

    def answer(self, body: bytes, *headers: str, status: str = "200 OK", size: Optional[int] = None) -> None:
        """Answer over HTTP/1.1. size: what Content-Length says, if not the truth."""
        length = len(body) if size is None else size
        lines = ["HTTP/1.1 " + status, "Content-Type: text/xml", f"Content-Length: {length}", *headers]
        self.connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def drip(self, data: bytes, pause_s: float = 0.05) -> None:
        """Send a byte at a time until nobody listens any more."""
        for at in range(len(data)):
            if self.ended.is_set():
                return
            self.connection.sendall(data[at : at + 1])
            time.sleep(pause_s)

    def hang(self) -> None:
        """Say nothing until the test ends."""
        self.ended.wait(_IDLE_S)


class HostileServer:
    """A server. tls: False for one that shakes no hands. names: the address in its certificate."""

    def __init__(
        self,
        directory: Path,
        script: Callable[[Call], None],
        tls: bool = True,
        address: str = "127.0.0.1",
        names: str = "",
        port: int = 0,
    ) -> None:
        self.script = script
        self.calls: List[Tuple[str, tuple]] = []
        self.connections = 0
        self.most_bytes = 1 << 30  # of a request; of a larger one only the head is read
        self._tls = tls
        self._ended = threading.Event()
        self._open: List[socket.socket] = []
        names = names or address
        stem = f"hostile-{address}-{names}"
        self.show_certificate(directory / f"{stem}.pem", directory / f"{stem}.key", names)
        self._listener = socket.create_server((address, port))
        self.port = self._listener.getsockname()[1]
        self.url = f"https://{address}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def show_certificate(self, certificate: Path, key: Path, names: str = "127.0.0.1") -> None:
        """Show this certificate to connections from now on; it is made if it is not there."""
        self.pem = make_certificate(certificate, key, "hostile", names)
        self._context = server_context(certificate, key)

    def __enter__(self) -> "HostileServer":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self._ended.set()
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    @property
    def methods(self) -> List[str]:
        """The methods that were called."""
        return [method for method, _params in self.calls]

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(_IDLE_S)
        if not self._tls:
            self._ended.wait(_IDLE_S)
            return
        with contextlib.suppress(OSError, ValueError):
            with self._context.wrap_socket(plain, server_side=True) as connection:
                self._open.append(connection)
                with connection.makefile("rb") as reader:
                    while not self._ended.is_set():
                        body = self._request(reader)
                        if body is None:
                            return
                        call = Call(connection, body, self._ended)
                        self.calls.append((call.method, call.params))
                        self.script(call)

    def _request(self, reader: Any) -> Optional[bytes]:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline()
            if not line:
                return None
            head += line
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None
        if int(length.group(1)) > self.most_bytes:
            self._ended.wait(_IDLE_S)
            return None
        return bytes(reader.read(int(length.group(1))))
