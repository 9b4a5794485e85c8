"""One way to SQLite and PostgreSQL: opening, transactions with one writer at a time, errors in our words.

SQLite: one file of mode 0600, write-ahead log, every commit synced to the disk. PostgreSQL: by pg8000, with
TLS that proves the server unless it is on this machine or the URL says otherwise.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import StoreError

__all__ = ["BUSY_TIMEOUT_S", "Database"]

BUSY_TIMEOUT_S = 30
"""How long a writer waits for another one before it gives up."""

_SOCKET_TIMEOUT_S = 2 * BUSY_TIMEOUT_S  # for connecting, and for each answer
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
            taken = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar()
            try:
                yield connection if taken else None
            finally:
                plain.invalidate()  # closes the connection, and the server lets go of the lock

    def _connect(self) -> Connection:
        """A connection. TLS that cannot be made is an error of the socket, which SQLAlchemy lets through."""
        try:
            return self._engine.connect()
        except OSError as error:
            raise StoreError("the store {} cannot be used: {}".format(self.name, error)) from error

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


def _prepare_file(path: str) -> None:
    """Make the file ours alone before SQLite opens it; its -wal and -shm take the file's mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        status = os.stat(path)
    except OSError as error:
        message = "the store {} cannot be used: {}".format(path, error.strerror or error)
        raise StoreError(message, "Make a station: xentpm-attest init.") from error
    if not stat.S_ISREG(status.st_mode):
        raise StoreError("the store {} is no file".format(path))
    if status.st_mode & _OTHERS:
        message = "others can read or write the store {}: its mode is {:o}".format(
            path, status.st_mode & 0o777
        )
        raise StoreError(message, "chmod 600 {}; and find out who has read it.".format(path))


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite, not by the driver
    cursor = connection.cursor()
    for pragma in (
        "busy_timeout={}".format(BUSY_TIMEOUT_S * 1000),
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "trusted_schema=OFF",
        "journal_size_limit={}".format(64 * 1024 * 1024),
    ):
        cursor.execute("PRAGMA " + pragma)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_engine(url: URL) -> Engine:
    arguments: dict[str, Any] = {"application_name": "xentpm-attest", "timeout": _SOCKET_TIMEOUT_S}
    arguments.update(_transport(url))
    bare = url.set(query={})
    engine = sqlalchemy.create_engine(
        bare, hide_parameters=True, pool_pre_ping=True, pool_recycle=3600, connect_args=arguments
    )
    event.listen(engine, "connect", _configure_postgresql)
    event.listen(engine, "handle_error", _as_database_error)
    return engine


def _as_database_error(context: ExceptionContext) -> OperationalError | None:
    """A connection that is reset or times out raises the socket's error: pg8000 and SQLAlchemy pass it on."""
    if not isinstance(context.original_exception, OSError):
        return None
    context.is_disconnect = True
    return OperationalError(None, None, context.original_exception)


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
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _hint(error: object) -> str:
    said = str(error).lower()
    if "locked" in said or "lock timeout" in said:
        return "Another process has been writing for too long. Try again."
    if "disk" in said or "full" in said:
        return "Look at the free space of its file system."
    return ""
