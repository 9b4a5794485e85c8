"""HTTP requests that end: a time limit for the whole of one, however slowly the other side sends."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["MAX_ANSWER_BYTES", "Answer", "HttpClient"]

MAX_ANSWER_BYTES = 16 * 1024
_CONNECT_PART = 0.5
"""Of the time limit, for TCP and again for TLS."""


class Answer:
    """What came back. text: the beginning of the body, as Latin-1; headers: names in lower case."""

    def __init__(self, status: int, headers: dict[str, str], text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text


class HttpClient:
    """Posts to one server. Follows no redirect; looks at neither environment nor netrc. For one thread.

    ca_file: PEM file of authorities instead of the usual ones. proxy: URL of a proxy.
    """

    def __init__(self, timeout: float, ca_file: str = "", proxy: str = "") -> None:
        self._timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = ca_file or True
        if proxy:
            self._session.proxies = {"http": proxy, "https": proxy}
        self._adapter = _Adapter()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

    def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send ``body`` and return the answer.

        Raises:
            TimeoutError: there was no whole answer within the time limit.
            requests.RequestException: there was none.
        """
        expired = self._adapter.begin()
        guard = threading.Timer(self._timeout, self._adapter.abort)
        guard.daemon = True
        guard.start()
        try:
            answer = self._post(url, headers, body)
            failure = None
        except Exception as error:
            failure = error
        finally:
            guard.cancel()
            guard.join()  # it ends this request, or none
            self._adapter.end()
        # An answer that was cut off because the time was over can look like a whole one.
        if expired.is_set() or isinstance(failure, requests.Timeout):
            self.close()
            raise TimeoutError(f"no answer within {self._timeout:g} s") from failure
        if failure is not None:
            raise failure
        return answer

    def close(self) -> None:
        """Close the connection that is kept open."""
        self._session.close()
        self._adapter.end()

    def _post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        limits = (self._timeout * _CONNECT_PART, self._timeout)
        with self._session.post(
            url, data=body, headers=headers, timeout=limits, allow_redirects=False, stream=True
        ) as response:
            # Undecoded: a compressed answer is not worth the risk.
            text = response.raw.read(MAX_ANSWER_BYTES, decode_content=False).decode("latin-1")
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, names, text)


class _Adapter(HTTPAdapter):
    """Knows the socket of its connection, so that a request can be ended from outside."""

    def __init__(self) -> None:
        self._expired = threading.Event()
        self._socket: socket.socket | None = None
        self._closed = False
        super().__init__(max_retries=0)

    def begin(self) -> threading.Event:
        """Begin a request. Returns what is set when it is ended by ``abort``."""
        self._expired = threading.Event()
        return self._expired

    def abort(self) -> None:
        """End the request that another thread makes, whether it is connected already or not yet."""
        self._expired.set()
        self._shut_down()

    def end(self) -> None:
        """A request is over; a connection that was closed is let go of."""
        if self._closed:
            self._let_go()

    def watch(self, fresh: socket.socket) -> None:
        """The socket of a new connection, before it speaks with a proxy or begins TLS."""
        self._let_go()
        self._socket, self._closed = fresh.dup(), False  # TLS takes the other one away
        if self._expired.is_set():
            self._shut_down()

    def closed(self) -> None:
        """The connection was closed; an answer may still be read from it."""
        self._closed = True

    def _let_go(self) -> None:
        known, self._socket = self._socket, None
        if known is not None:
            known.close()

    def _shut_down(self) -> None:
        known = self._socket
        if known is not None:
            with suppress(OSError):  # it is closed already
                known.shutdown(socket.SHUT_RDWR)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    def _pools(self) -> dict[str, type]:
        adapter = self

        def watched(base: Any) -> Any:
            class Connection(base):  # type: ignore[misc]
                def _new_conn(self) -> socket.socket:
                    fresh: socket.socket = super()._new_conn()
                    adapter.watch(fresh)
                    return fresh

                def close(self) -> None:
                    super().close()
                    adapter.closed()

            return Connection

        class Plain(HTTPConnectionPool):
            ConnectionCls = watched(HTTPConnectionPool.ConnectionCls)

        class Secure(HTTPSConnectionPool):
            ConnectionCls = watched(HTTPSConnectionPool.ConnectionCls)

        return {"http": Plain, "https": Secure}
