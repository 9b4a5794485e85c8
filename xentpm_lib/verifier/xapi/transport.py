"""HTTP for ``XenAPI.Session``: connections kept open, a time limit for each whole call, bounded answers."""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
import xmlrpc.client
from typing import Any, cast

from xentpm_lib import __version__
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.xapi.answer import MAX_ANSWER_BYTES, AnswerError, AnswerParser
from xentpm_lib.verifier.xapi.deadline import Deadline
from xentpm_lib.verifier.xapi.tls import CONNECT_TIMEOUT_S, connect
from xentpm_lib.verifier.xapi.url import Address

__all__ = ["IDLE_LIMIT_S", "Transport"]

IDLE_LIMIT_S = 45.0
"""A connection that was idle for longer is not used again: the server may be closing it."""
_PIECE = 65536  # bytes read at a time


class _Stream:
    """A TLS connection as ``http.client`` uses a socket, each step within what is left of the deadline."""

    def __init__(self, connection: ssl.SSLSocket, deadline: Deadline) -> None:
        self.connection = connection
        self.deadline = deadline
        self.received = 0
        self.finished = False  # the server wants it closed behind the answer

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self.connection.settimeout(self.deadline.remaining())
            rest = rest[self.connection.send(rest) :]

    def makefile(self, *_mode: object, **_options: object) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self), _PIECE)

    def readable(self) -> bool:
        """Whether something came, or the end, although nothing was asked."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(self.connection.pending() or poll.poll(0))


class _Reader(io.RawIOBase):
    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        stream = self._stream
        stream.connection.settimeout(stream.deadline.remaining())
        size = stream.connection.recv_into(buffer)
        stream.received += size
        return size


class _Stale(Exception):
    """A connection that was kept open is gone; the server has not begun to answer."""


class Transport(xmlrpc.client.Transport):
    """One connection to one server. Give it a ``deadline`` before each call; one call at a time.

    Every failure is a CollectionError: ``POOL_UNREACHABLE`` where there is no connection or it breaks,
    ``TLS_CERTIFICATE``, ``COLLECTION_TIMEOUT`` where the answer does not come in time, ``XAPI_ERROR``
    where it is no answer.
    """

    def __init__(self, address: Address, trust: TlsTrust) -> None:
        super().__init__()
        self.address = address
        self.deadline = Deadline(0)
        self._trust = trust
        self._stream: _Stream | None = None
        self._used_at = 0.0
        self._aborted = False

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        """Send a call and return the values of its answer. Raises: CollectionError, xmlrpc.client.Fault."""
        try:
            try:
                return self._exchange(handler, request_body)
            except _Stale:
                return self._exchange(handler, request_body)
        except TimeoutError as error:  # there was no time left to begin, or to begin anew
            raise self._late() from error

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.connection.close()

    def abort(self) -> None:
        """End the call that another thread makes over this connection, at once and for good."""
        self._aborted = True
        stream = self._stream
        if stream is not None:
            stream.deadline = Deadline(0)
            try:  # SSLSocket's own shutdown drops TLS first: what that thread sends just then could be read
                socket.socket.shutdown(stream.connection, socket.SHUT_RDWR)
            except OSError:
                pass

    def _exchange(self, path: str, body: bytes) -> Any:
        stream, reused = self._connected()
        received = stream.received
        try:
            answer = self._answer(stream, path, body)
        except TimeoutError as error:
            self.close()
            raise self._late() from error
        except (AnswerError, http.client.HTTPException, ValueError) as error:
            self.close()
            if reused and stream.received == received:
                raise _Stale from error
            raise self._failed(error) from error
        except OSError as error:
            self.close()
            if reused and stream.received == received:
                raise _Stale from error
            reason = error.strerror or type(error).__name__
            message = f"{self.address.url}: the connection broke: {reason}"
            raise CollectionError("POOL_UNREACHABLE", message) from error
        except BaseException:
            self.close()
            raise
        if stream.finished:
            self.close()
        self._used_at = time.monotonic()
        return answer

    def _connected(self) -> tuple[_Stream, bool]:
        """The connection, and whether it was used before."""
        self._check_open()
        stream = self._stream
        if stream is not None:
            if time.monotonic() - self._used_at < IDLE_LIMIT_S and not stream.readable():
                stream.deadline = self.deadline
                return stream, True
            self.close()
        connection = connect(self.address, self._trust, self.deadline.part(CONNECT_TIMEOUT_S))
        self._stream = _Stream(connection, self.deadline)
        self._check_open()
        return self._stream, False

    def _check_open(self) -> None:
        if self._aborted:
            self.close()
            raise CollectionError("XAPI_ERROR", "the connection to the pool was closed here")

    def _answer(self, stream: _Stream, path: str, body: bytes) -> Any:
        stream.sendall(self._head(path, len(body)) + body)
        response = http.client.HTTPResponse(cast(Any, stream), method="POST")
        response.begin()
        stream.finished = response.will_close
        _check(response)
        parser = AnswerParser(self.deadline.max_bytes)
        for piece in iter(lambda: response.read(_PIECE), b""):
            parser.feed(piece)
        if response.length:
            raise ConnectionResetError(104, "the answer is cut off")
        return parser.close()

    def _head(self, path: str, size: int) -> bytes:
        lines = (
            f"POST {path} HTTP/1.1",
            f"Host: {self.address.url.removeprefix('https://')}",
            "Content-Type: text/xml",
            f"Content-Length: {size}",
            "Accept-Encoding: identity",
            f"User-Agent: xentpm/{__version__}",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def _late(self) -> CollectionError:
        message = f"{self.address.url}: no answer within {self.deadline.seconds:g} seconds"
        return CollectionError("COLLECTION_TIMEOUT", message)

    def _failed(self, error: Exception) -> CollectionError:
        if isinstance(error, http.client.RemoteDisconnected):
            return CollectionError("POOL_UNREACHABLE", f"{self.address.url}: closed without an answer")
        if isinstance(error, http.client.IncompleteRead):
            return CollectionError("POOL_UNREACHABLE", f"{self.address.url}: the answer is cut off")
        reason = str(error) if isinstance(error, AnswerError) else f"no HTTP: {type(error).__name__}"
        return CollectionError("XAPI_ERROR", f"{self.address.url}: {reason}")


def _check(response: http.client.HTTPResponse) -> None:
    """Refuse at once what would be refused later. Raises: AnswerError."""
    if response.status != http.HTTPStatus.OK:
        raise AnswerError(f"HTTP status {response.status}")
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("identity", ""):
        raise AnswerError("the answer is compressed, which was not asked for")
    if response.length is not None and response.length > MAX_ANSWER_BYTES:
        raise AnswerError(f"more than {MAX_ANSWER_BYTES} bytes")
