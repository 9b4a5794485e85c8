"""A receiver of webhooks: a real HTTP(S) server that keeps what it got and answers as the test wants.

with Receiver() as receiver:
    receiver.answers = [503, 200]      # status codes, one for each request; the last one stays
    receiver.url
    receiver.got                       # requests, in the order in which they came
"""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Union

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Receiver", "Request", "make_certificate"]

DRIP_S = 0.05


class Request(NamedTuple):
    """What came. headers: names in lower case. at: monotonic seconds."""

    path: str
    headers: Dict[str, str]
    body: bytes
    at: float


class Receiver:
    """answers: status codes; or ``hang``, ``drip``, ``drip-body``, ``drip-to-the-end``, ``drop``.

    Also ``redirect``. To a proxy's CONNECT it answers as ``drip`` says.
    ``wait`` and ``wait-then-503`` answer once ``go`` is set.
    """

    def __init__(self, certificate: Optional[Path] = None) -> None:
        self.got: List[Request] = []
        self.answers: List[Union[int, str]] = [200]
        self.headers: Dict[str, str] = {}
        self.body = b""
        self.closing = threading.Event()
        self.go = threading.Event()
        self._count = 0
        self._server = _Server(self)
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.url = "{}://127.0.0.1:{}/hook".format(scheme, self.port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, count: int, seconds: float = 60.0) -> List[Request]:
        """The requests, once there are so many."""
        end = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < end, "{} requests of {}".format(len(self.got), count)
            time.sleep(0.01)
        return list(self.got)

    def next_answer(self) -> Union[int, str]:
        """What to do with the request that just came."""
        self._count += 1
        return self.answers[min(self._count, len(self.answers)) - 1]


class _Server(ThreadingHTTPServer):
    """The server of a receiver."""

    daemon_threads = True

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver


class _Handler(BaseHTTPRequestHandler):
    """Takes a request down and answers it."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    @property
    def receiver(self) -> Receiver:
        """Who wants to know."""
        return self.server.receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.got.append(Request(self.path, headers, body, time.monotonic()))
        answer = self.receiver.next_answer()
        if isinstance(answer, int):
            self._answer(answer)
        elif answer == "redirect":
            self.receiver.headers = {"Location": self.receiver.url + "/elsewhere"}
            self._answer(307)
        elif answer == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif answer in ("wait", "wait-then-503"):
            self.receiver.go.wait(600)
            self._answer(200 if answer == "wait" else 503)
        elif answer == "hang":
            self.receiver.closing.wait(600)
        else:
            self._drip(answer)

    def do_GET(self) -> None:
        self.receiver.got.append(Request(self.path, {}, b"GET", time.monotonic()))
        self._answer(200)

    def do_CONNECT(self) -> None:
        self._drip("drip")

    def _answer(self, status: int) -> None:
        self.send_response(status)
        for name, value in self.receiver.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.receiver.body)))
        self.end_headers()
        self.wfile.write(self.receiver.body)

    def _drip(self, where: str) -> None:
        """An answer that never ends, a byte now and then, so that no read ever times out."""
        start = b"HTTP/1.1 200 OK\r\nX-Long: "
        if where == "drip-body":
            start = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        if where == "drip-to-the-end":
            start = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        try:
            self.wfile.write(start)
            while not self.receiver.closing.wait(DRIP_S):
                self.wfile.write(b"x")
        except OSError:
            self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        pass


def make_certificate(place: Path, name: str = "127.0.0.1") -> Path:
    """A new self-signed server certificate for an IP address or a DNS name, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        alternative = x509.IPAddress(ipaddress.ip_address(name))  # type: Union[x509.IPAddress, x509.DNSName]
    except ValueError:
        alternative = x509.DNSName(name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = place / "{}.pem".format(name)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    path.chmod(0o600)
    return path
