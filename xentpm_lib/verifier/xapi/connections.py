"""Connections to a pool's master: as many as calls are made at once, kept for the next."""

from __future__ import annotations

import threading
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import XenAPI

from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.xapi.deadline import Deadline
from xentpm_lib.verifier.xapi.faults import raise_failure
from xentpm_lib.verifier.xapi.transport import Transport
from xentpm_lib.verifier.xapi.url import Address

__all__ = ["MAX_IDLE", "Connections"]

MAX_IDLE = 4
"""Connections that are kept while nobody uses them."""


class _Connection:
    """A connection with the client that speaks over it. The client holds no session and no password."""

    def __init__(self, address: Address, trust: TlsTrust) -> None:
        self.transport = Transport(address, trust)
        self._client = XenAPI.Session(address.url, transport=self.transport)

    def call(self, method: str, params: tuple[object, ...], deadline: Deadline) -> Any:
        """Call a method, the session among its parameters. Raises: CollectionError, XapiFailure."""
        self.transport.deadline = deadline
        try:
            answer = getattr(self._client, method)(*params)
        except xmlrpc.client.Fault as error:
            raise CollectionError("XAPI_ERROR", f"{method}: a fault instead of an answer") from error
        if not isinstance(answer, dict):
            raise CollectionError("XAPI_ERROR", f"{method}: the answer has no status")
        if answer.get("Status") == "Success" and "Value" in answer:
            return answer["Value"]
        return raise_failure(answer.get("ErrorDescription"))


class Connections:
    """Makes calls from any number of threads, each over a connection that is its own for that long."""

    def __init__(self, trust: TlsTrust) -> None:
        self._trust = trust
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._closed = False

    def call(self, address: Address, method: str, params: tuple[object, ...], deadline: Deadline) -> Any:
        """Call a method at a server. Raises: CollectionError, XapiFailure."""
        with self._taken(address) as connection:
            return connection.call(method, params, deadline)

    def close(self) -> None:
        """Close all, those in use too: their calls fail at once, and so do all that come later."""
        with self._lock:
            self._closed = True
            idle, busy = self._idle, list(self._busy)
            self._idle = []
        for connection in busy:
            connection.transport.abort()
        for connection in idle:
            connection.transport.close()

    @contextmanager
    def _taken(self, address: Address) -> Iterator[_Connection]:
        connection = self._take(address)
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _take(self, address: Address) -> _Connection:
        with self._lock:
            if self._closed:
                raise CollectionError("XAPI_ERROR", "the connection to the pool was closed here")
            fitting = [one for one in self._idle if one.transport.address == address]
            others = [one for one in self._idle if one.transport.address != address]
            connection = fitting.pop() if fitting else _Connection(address, self._trust)
            self._idle = fitting
            self._busy.add(connection)
        for other in others:  # of a master that is none any more
            other.transport.close()
        return connection

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
            if not self._closed and len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.transport.close()
