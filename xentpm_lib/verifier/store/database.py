"""One way to SQLite and PostgreSQL: opening, transactions with one writer at a time, errors in our words.

SQLite: one file of mode 0600, write-ahead log, every commit synced to the disk. PostgreSQL: by pg8000, with
TLS that proves the server unless it is on this machine or the URL says otherwise.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import ssl
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import StoreError

__all__ = ["BUSY_TIMEOUT_S", "Database"]

BUSY_TIMEOUT_S = 30
"""How long a writer waits for another one before it gives up."""

_SOCKET_TIMEOUT_S = 2 * BUSY_TIMEOUT_S  # for connecting, and for each answer
_LOCKED_PAUSE_S = 0.02
_RELEASE_S = 1.0  # a PostgreSQL server notices a moment later that a lock's holder has gone
_WRITE_LOCK = 0x78656E74706D01  # "xentpm" and 1: an advisory lock of PostgreSQL
_WRITE = "xentpm_write"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_EXAMPLES = "Like sqlite:////var/lib/xentpm-attest/store.sqlite or postgresql+pg8000://USER@HOST/DATABASE."
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SSL_MODES = ("disable", "require", "verify-full")


class Database:
    """A database that may not have the tables yet. Used by several threads."""

    def __init__(self, url: str) -> None:
        """Raises: UsageError for a URL of anything else; StoreError for a file that others can read."""
        parsed = _parse(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path = parsed.database if self.is_sqlite else None
        # What stands for it in messages: never with a password in it.
        self.name = self.path or parsed.set(query={}).render_as_string(hide_password=True)
        self._engine = _sqlite_engine(parsed) if self.is_sqlite else _postgresql_engine(parsed)

    def close(self) -> None:
        """Give back all connections."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of a SQLite database. Raises: StoreError."""
        with self._errors(), self._connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that no other writer of any process runs beside. Raises: StoreError."""
        with self._errors(), self._connect() as plain:
            connection = plain.execution_options(**{_WRITE: True})
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITE_LOCK})
                yield connection

    @contextmanager
    def hold(self, key: int) -> Iterator[Connection | None]:
        """PostgreSQL: a connection that holds an advisory lock to the end; None when another has it."""
        with self._errors(), self._connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            taken = _try_lock(connection, key)
            try:
                yield connection if taken else None
            finally:
                plain.invalidate()  # closes the connection, and the server lets go of the lock

    def _connect(self) -> Connection:
        """A connection. What pg8000 cannot make sense of while it connects, SQLAlchemy lets through."""
        try:
            return self._engine.connect()
        except SQLAlchemyError:
            raise
        except Exception as error:
            raise StoreError("the store {} cannot be used: {}".format(self.name, _said(error))) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            code = "XENTPM_STORE_BUSY" if "locked" in str(error.orig).lower() else "XENTPM_STORE"
            message = "the store {} cannot be used: {}".format(self.name, _first_line(error.orig))
            raise StoreError(message, _hint(error.orig), code) from error
        except SQLAlchemyError as error:
            message = "the store {} cannot be used: {}".format(self.name, _first_line(error))
            raise StoreError(message) from error


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError("the store's URL cannot be read", _EXAMPLES) from None
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if not parsed.database or parsed.database == ":memory:" or parsed.query:
            raise UsageError("the store needs a file: a database in memory forgets", _EXAMPLES)
        return parsed
    if parsed.drivername in ("postgresql", "postgresql+pg8000"):
        return parsed.set(drivername="postgresql+pg8000")
    raise UsageError("the store cannot be in {}".format(ascii(parsed.drivername)), _EXAMPLES)


def _sqlite_engine(url: URL) -> Engine:
    _prepare_file(str(url.database))
    engine = sqlalchemy.create_engine(
        url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _try_lock(connection: Connection, key: int) -> bool:
    """Take an advisory lock of PostgreSQL; False when somebody has it who does not let go of it just now."""
    end = time.monotonic() + _RELEASE_S
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar():
        if time.monotonic() > end:
            return False
        time.sleep(_LOCKED_PAUSE_S)
    return True


def _prepare_file(path: str) -> None:
    """Make the file ours alone before SQLite opens it; its -wal and -shm take the file's mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        status = os.stat(path)
    except OSError as error:
        message = "the store {} cannot be used: {}".format(path, error.strerror or error)
        raise StoreError(message, _hint_for(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise StoreError("the store {} is no file".format(path))
    if status.st_mode & _OTHERS:
        message = "others can read or write the store {}: its mode is {:o}".format(
            path, status.st_mode & 0o777
        )
        raise StoreError(message, "chmod 600 {}; and find out who has read it.".format(path))


def _hint_for(error: OSError) -> str:
    """What to do where the file cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return "Make a station: xentpm-attest init."
    if error.errno == errno.EROFS:
        return "Mount the station's directory so that it can be written to."
    return "Run as the user that owns the station; look at the rights and at the disk."


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout={}".format(BUSY_TIMEOUT_S * 1000))
    _use_write_ahead_log(cursor)
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        "journal_size_limit={}".format(64 * 1024 * 1024),
    ):
        cursor.execute("PRAGMA " + pragma)
    cursor.close()


def _use_write_ahead_log(cursor: sqlite3.Cursor) -> None:
    """Where two make a new file's log at once, SQLite tells one of them at once that the file is locked."""
    end = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(_LOCKED_PAUSE_S)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_engine(url: URL) -> Engine:
    arguments: dict[str, Any] = {"application_name": "xentpm-attest", "timeout": _SOCKET_TIMEOUT_S}
    arguments.update(_transport(url))
    if url.password is None:
        arguments["password"] = ""  # None would be an AttributeError where the server asks for one
    bare = url.set(query={})
    engine = sqlalchemy.create_engine(
        bare, hide_parameters=True, pool_pre_ping=True, pool_recycle=3600, connect_args=arguments
    )
    engine.dialect.do_ping = _ping(engine.dialect.do_ping)  # type: ignore[method-assign,assignment]
    event.listen(engine, "connect", _configure_postgresql)
    event.listen(engine, "handle_error", _as_database_error)
    return engine


def _ping(ping: Callable[[DBAPIConnection], bool]) -> Callable[[DBAPIConnection], bool]:
    """Whether a pooled connection still works. SQLAlchemy takes only the driver's own errors for a no."""

    def works(connection: DBAPIConnection) -> bool:
        try:
            return ping(connection)
        except Exception:
            return False

    return works


def _as_database_error(context: ExceptionContext) -> OperationalError | None:
    """What pg8000 raises of other kinds, and SQLAlchemy lets through: a connection that is reset or times out
    is an error of the socket, an answer that is no PostgreSQL server's a KeyError, ValueError or another.
    """
    error = context.original_exception
    if context.sqlalchemy_exception is not None or not isinstance(error, Exception):
        return None
    context.is_disconnect = True
    return OperationalError(None, None, error)


def _configure_postgresql(connection: Any, _record: object) -> None:
    connection.rollback()
    cursor = connection.cursor()
    cursor.execute("SET lock_timeout = '{}s'".format(BUSY_TIMEOUT_S))
    cursor.execute("SET synchronous_commit = on")
    cursor.close()
    connection.commit()


def _transport(url: URL) -> dict[str, Any]:
    """pg8000's arguments for the URL's query: ``unix_sock``, ``sslmode``, ``sslrootcert``."""
    query = {name: value for name, value in url.query.items() if isinstance(value, str)}
    unknown = set(url.query) - {"unix_sock", "sslmode", "sslrootcert"}
    if unknown or len(query) != len(url.query):
        raise UsageError("the store's URL has the unknown option {}".format(ascii(min(unknown or {"?"}))))
    if "unix_sock" in query:
        return {"unix_sock": query["unix_sock"]}
    mode = query.get("sslmode", "disable" if (url.host or "localhost") in _LOOPBACK else "verify-full")
    if mode not in _SSL_MODES:
        raise UsageError("sslmode={} is none of {}".format(ascii(mode), ", ".join(_SSL_MODES)))
    if mode == "disable":
        return {"ssl_context": False}  # None would ask for TLS and not look at who answers
    try:
        context = ssl.create_default_context(cafile=query.get("sslrootcert"))
    except (OSError, ssl.SSLError) as error:
        raise UsageError("sslrootcert cannot be read: {}".format(error)) from error
    if mode == "require":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return {"ssl_context": context}


def _first_line(error: object) -> str:
    """What the driver says; pg8000 says it as a dictionary of the server's fields."""
    arguments = getattr(error, "args", ())
    if arguments and isinstance(arguments[0], dict):
        return str(arguments[0].get("M", "the server reports an error"))[:300]
    return _said(error)


def _said(error: object) -> str:
    """In one line. Of errors that are no sentences in themselves, the kind, too."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    if isinstance(error, (LookupError, ValueError, struct.error)) and not isinstance(error, OSError):
        return "the server's answer makes no sense ({}: {})".format(type(error).__name__, said)
    return said


def _hint(error: object) -> str:
    said = str(error).lower()
    if "locked" in said or "lock timeout" in said:
        return "Another process has been writing for too long. Try again."
    if "disk" in said or "full" in said:
        return "Look at the free space of its file system."
    return ""
