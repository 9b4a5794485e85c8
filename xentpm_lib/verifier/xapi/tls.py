"""TLS with a pool's servers: recognised by an authority's certificate, or by their own that was pinned."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from functools import lru_cache
from typing import NamedTuple

from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.xapi.deadline import Deadline
from xentpm_lib.verifier.xapi.url import Address, parse_url

__all__ = ["CONNECT_TIMEOUT_S", "ServerCertificate", "connect", "fetch_certificate", "fingerprint"]

CONNECT_TIMEOUT_S = 10.0
"""For TCP and TLS together."""
_CONTEXTS_KEPT = 64


class ServerCertificate(NamedTuple):
    """A certificate that a server has shown. Untrusted until somebody compared its fingerprint."""

    der: bytes

    @property
    def pem(self) -> str:
        """As PEM."""
        return ssl.DER_cert_to_PEM_cert(self.der)

    @property
    def pin(self) -> str:
        """SHA-256 of the DER, 64 hex digits, as ``TlsTrust.pins`` has it."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def for_people(self) -> str:
        """The pin as ``openssl x509 -fingerprint -sha256`` prints it: ``AB:CD:…``."""
        return ":".join(self.pin[at : at + 2].upper() for at in range(0, 64, 2))


def fingerprint(pem: str) -> str:
    """The pin of the first certificate in PEM text. Raises: ValueError when there is none."""
    start, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    begins, ends = pem.find(start), pem.find(end)
    if begins < 0 or ends < begins:
        raise ValueError("no certificate")
    return ServerCertificate(ssl.PEM_cert_to_DER_cert(pem[begins : ends + len(end)])).pin


def connect(address: Address, trust: TlsTrust, deadline: Deadline) -> ssl.SSLSocket:
    """A connection to a server that ``trust`` recognises; nothing was sent over it yet.

    Where there are pins the server's certificate has to be one of them; where there are authorities it
    has to be issued by one of them for this host name. Where there are both, both.

    Raises:
        CollectionError: ``POOL_UNREACHABLE``, or ``TLS_CERTIFICATE``.
    """
    if not trust.pins and not trust.ca_pem:
        raise CollectionError("TLS_CERTIFICATE", f"{address.url}: nothing is known to recognise it by")
    connection = _handshake(address, _context(trust.ca_pem), deadline)
    if trust.pins:
        shown = ServerCertificate(connection.getpeercert(binary_form=True) or b"").pin
        if not any(hmac.compare_digest(shown, pin.lower()) for pin in trust.pins):
            connection.close()
            message = f"{address.url} shows another certificate than the pinned: SHA-256 {shown}"
            raise CollectionError("TLS_CERTIFICATE", message, permanent=True)
    return connection


def fetch_certificate(url: str, timeout_s: float = CONNECT_TIMEOUT_S) -> ServerCertificate:
    """The certificate that a server shows, to be confirmed by a person; nothing is sent to the server.

    Raises:
        UsageError: ``url`` is none.
        CollectionError: ``POOL_UNREACHABLE``.
    """
    with _handshake(parse_url(url), _context(""), Deadline(timeout_s)) as connection:
        return ServerCertificate(connection.getpeercert(binary_form=True) or b"")


@lru_cache(maxsize=_CONTEXTS_KEPT)
def _context(ca_pem: str) -> ssl.SSLContext:
    """Settings for servers that have to be known to these authorities; empty: the caller looks at pins."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not ca_pem:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the file may hold the server's own certificate
    try:
        context.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError) as error:
        raise CollectionError("TLS_CERTIFICATE", "the authorities' certificates cannot be read") from error
    return context


def _handshake(address: Address, context: ssl.SSLContext, deadline: Deadline) -> ssl.SSLSocket:
    plain = _dial(address, deadline)
    try:
        connection = context.wrap_socket(
            plain, server_hostname=address.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
    except (OSError, ValueError) as error:
        plain.close()
        raise CollectionError("POOL_UNREACHABLE", f"{address.url}: {_reason(error)}") from error
    try:
        connection.settimeout(deadline.remaining())
        connection.do_handshake()  # the limit is for the handshake as a whole
        return connection
    except ssl.SSLCertVerificationError as error:
        connection.close()
        message = f"{address.url}: {error.verify_message}"
        raise CollectionError("TLS_CERTIFICATE", message, permanent=True) from error
    except (OSError, ValueError) as error:
        connection.close()
        raise CollectionError("POOL_UNREACHABLE", f"{address.url}: TLS: {_reason(error)}") from error


def _dial(address: Address, deadline: Deadline) -> socket.socket:
    """A TCP connection to the first of the host's IP addresses that takes one. Raises: CollectionError."""
    failure: Exception = OSError("the name has no address")
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _name, target in found:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(deadline.remaining())
                connection.connect(target)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            except OSError as error:
                connection.close()
                failure = error
    except (OSError, UnicodeError) as error:
        failure = error
    raise CollectionError("POOL_UNREACHABLE", f"{address.url}: {_reason(failure)}") from failure


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "failed").replace("_", " ").lower()
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
