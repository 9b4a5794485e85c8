"""One session with a pool's master, shared by all threads: opened when needed, renewed, moved along."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.xapi.connections import Connections
from xentpm_lib.verifier.xapi.deadline import Deadline
from xentpm_lib.verifier.xapi.faults import XapiFailure, as_collection_error
from xentpm_lib.verifier.xapi.url import Address, parse_url

__all__ = ["Credentials", "MasterSession", "XapiOptions"]

_API_VERSION = "2.21"
_ORIGINATOR = "xentpm-attest"
_MAX_TRIES = 3
"""Of one call: the first, after a renewed session, after a change of the master."""
_MAX_CANDIDATES = 16
"""Servers that one attempt to log in asks."""
_IS_SLAVE = "HOST_IS_SLAVE"
_NO_SESSION = frozenset(("SESSION_INVALID", "SESSION_NOT_REGISTERED"))
_GONE = frozenset(("POOL_UNREACHABLE", "TLS_CERTIFICATE"))
_NOBODY = "OpaqueRef:NULL"


@dataclass(frozen=True)
class Credentials:
    """A user of the pool, with the role pool-admin. Its repr shows no password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class XapiOptions:
    """Time limits in seconds. call_s: of a call unless it is given one. login_s: of one server's log-in."""

    call_s: float = 60.0
    login_s: float = 20.0
    logout_s: float = 2.0


@dataclass(frozen=True)
class _Login:
    """A session: where it is, and its reference, which is a secret."""

    address: Address
    ref: str = field(repr=False)
    master: str = field(repr=False)


class MasterSession:
    """Calls methods at the pool's master, whichever host that is.

    Only servers that the pool's ``tls`` recognises are ever sent anything, and the password goes only to
    one that says of itself that it is the master.
    """

    def __init__(
        self,
        pool: PoolRecord,
        credentials: Callable[[], Credentials],
        options: XapiOptions,
    ) -> None:
        self._pool = pool
        self._credentials = credentials
        self._options = options
        self._connections = Connections(pool.tls)
        self._lock = threading.Lock()
        self._login: _Login | None = None
        self._hint: Address | None = None  # to be asked first
        self._avoid: Address | None = None  # to be asked last
        self._attempts = 0
        self._failure: CollectionError | None = None
        self._password = ""  # the last that was used: it must not be repeated in messages

    @property
    def address(self) -> Address | None:
        """The master that the session is with; None while there is none."""
        login = self._login
        return login.address if login else None

    def call(self, deadline: Deadline, method: str, *params: object) -> Any:
        """Call a method with the session. Raises: CollectionError; XapiFailure for what XAPI answers."""
        for left in reversed(range(_MAX_TRIES)):
            login = self._current(deadline)
            try:
                return self._connections.call(login.address, method, (login.ref, *params), deadline)
            except XapiFailure as failure:
                if failure.code not in _NO_SESSION and failure.code != _IS_SLAVE:
                    raise
                self._drop(login, failure)
                if not left:
                    raise CollectionError("XAPI_ERROR", f"the pool takes no session: {failure}") from failure
            except CollectionError as error:
                if error.finding not in _GONE:
                    raise
                self._drop(login)
                if not left:
                    raise
        raise AssertionError("not reached")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be repeated in messages, whatever a server says."""
        login = self._login
        return (login.ref, self._password) if login else (self._password,)

    def master(self, deadline: Deadline) -> str:
        """The reference of the master's host record. Raises: CollectionError."""
        return self._current(deadline).master

    def close(self) -> None:
        """Log out, as far as that goes quickly, and close all connections. Never fails."""
        taken = self._lock.acquire(timeout=self._options.logout_s)  # a thread may be logging in
        login, self._login = self._login, None
        if taken:
            self._lock.release()
        if login is not None:
            self._log_out(login.address, login.ref)
        self._connections.close()

    def doubt(self) -> None:
        """The master did not answer a simple question: log in anew, and ask the other addresses first."""
        login = self._login
        if login is not None:
            self._drop(login)

    def _log_out(self, address: Address, ref: str) -> None:
        try:
            self._connections.call(address, "session.logout", (ref,), Deadline(self._options.logout_s))
        except (CollectionError, XapiFailure):
            pass  # XAPI ends it some day

    def _drop(self, login: _Login, failure: XapiFailure | None = None) -> None:
        """Forget a session that is of no use, unless another thread has renewed it already."""
        with self._lock:
            if self._login is login:
                self._login = None
                self._hint = None
                self._avoid = None if failure is not None else login.address
                if failure is not None:
                    moved = failure.code == _IS_SLAVE
                    self._hint = _redirected(login.address, failure) if moved else login.address

    def _current(self, deadline: Deadline) -> _Login:
        """The session; a new one when there is none, made by one thread while the others wait."""
        seen = self._attempts
        with self._locked(deadline):
            if self._login is not None:
                return self._login
            if self._attempts != seen and self._failure is not None:
                known = self._failure  # what the thread got that we waited for
                raise CollectionError(known.finding, known.message, known.hint, known.permanent)
            try:
                self._login, self._failure = self._log_in(deadline), None
            except CollectionError as error:
                self._failure = error
                raise
            finally:
                self._attempts += 1
            return self._login

    @contextmanager
    def _locked(self, deadline: Deadline) -> Iterator[None]:
        try:
            taken = self._lock.acquire(timeout=deadline.remaining())
        except TimeoutError:
            taken = False
        if not taken:
            raise CollectionError("COLLECTION_TIMEOUT", "no session with the pool in time")
        try:
            yield
        finally:
            self._lock.release()

    def _log_in(self, deadline: Deadline) -> _Login:
        """Ask the servers in turn, the last known master first. Raises: CollectionError, the first one's."""
        waiting = self._candidates()
        asked: list[Address] = []
        failure: CollectionError | None = None
        while waiting and len(asked) < _MAX_CANDIDATES:
            address = waiting.pop(0)
            if address in asked:
                continue
            asked.append(address)
            try:
                return self._log_in_at(address, deadline)
            except XapiFailure as refusal:
                if refusal.code != _IS_SLAVE:
                    raise as_collection_error(refusal, self.secrets) from refusal
                waiting[:0] = filter(None, [_redirected(address, refusal)])
            except CollectionError as error:
                failure = failure or error
                if error.finding == "COLLECTION_TIMEOUT" and not _left(deadline):
                    break
        raise failure or CollectionError("POOL_UNREACHABLE", "no host of the pool is its master")

    def _candidates(self) -> list[Address]:
        """The servers to ask: the last known master, then the pool's addresses on record."""
        try:
            known = [parse_url(url) for url in self._pool.addresses]
        except UsageError as error:
            raise CollectionError("POOL_UNREACHABLE", error.message, error.hint, permanent=True) from error
        known = [address for address in known if address != self._avoid]
        return [one for one in (self._hint, *known, self._avoid) if one is not None]

    def _log_in_at(self, address: Address, deadline: Deadline) -> _Login:
        """A session with a server that is the pool's master. Raises: CollectionError, XapiFailure."""
        try:
            limit = deadline.part(self._options.login_s)
        except TimeoutError as error:
            raise CollectionError("COLLECTION_TIMEOUT", "no session with the pool in time") from error
        self._ask_for_master(address, limit)
        user = self._user()
        self._password = user.password
        params = (user.username, user.password, _API_VERSION, _ORIGINATOR)
        ref = self._connections.call(address, "session.login_with_password", params, limit)
        if not isinstance(ref, str) or not ref:
            raise CollectionError("XAPI_ERROR", f"{address.url}: the session is no text")
        try:
            pools = self._connections.call(address, "pool.get_all_records", (ref,), limit)
            return _Login(address, ref, self._checked_pool(pools, address))
        except (CollectionError, XapiFailure):
            self._log_out(address, ref)
            raise

    def _ask_for_master(self, address: Address, limit: Deadline) -> None:
        """Raises: XapiFailure when the server says that another one is the master; CollectionError."""
        try:
            self._connections.call(address, "pool.get_all_records", (_NOBODY,), limit)
        except XapiFailure as failure:
            if failure.code == _IS_SLAVE:
                raise

    def _user(self) -> Credentials:
        """The credentials as of now. Raises: CollectionError when they cannot be had."""
        try:
            return self._credentials()
        except XenTpmError as error:
            raise CollectionError("XAPI_AUTHENTICATION", error.message, error.hint, permanent=True) from error

    def _checked_pool(self, pools: Any, address: Address) -> str:
        """The master's reference, when the server is of this pool. Raises: CollectionError."""
        try:
            (record,) = pools.values()
            uuid, master = str(record["uuid"]), str(record["master"])
        except (AttributeError, ValueError, TypeError, KeyError) as error:
            raise CollectionError("XAPI_ERROR", f"{address.url}: no pool record") from error
        if self._pool.pool_id and uuid != self._pool.pool_id:
            raise CollectionError("POOL_UNREACHABLE", f"{address.url} belongs to another pool now")
        return master


def _redirected(address: Address, failure: XapiFailure) -> Address | None:
    """Where a slave says that the master is; None when it says nothing usable."""
    try:
        return address.at(failure.params[0])
    except (IndexError, UsageError):
        return None


def _left(deadline: Deadline) -> bool:
    try:
        return deadline.remaining() > 0
    except TimeoutError:
        return False
