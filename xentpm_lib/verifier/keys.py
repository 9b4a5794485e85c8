"""The station's own keys: one secret that others are derived from, and the key that signs results.

They are two files in a directory of the station: ``master.key``, 64 hex digits, and ``signing.pem``, made
when the first result is signed. Who can read them can forge the store's records and the station's results,
so files that others can read are refused rather than used. Without ``master.key`` the store cannot be
read any more: it belongs into the backup.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.encoding import decode_hex
from xentpm_lib.verifier.errors import StoreError

__all__ = ["KEY_SIZE", "RESTORE_KEYS", "StationKeys"]

KEY_SIZE = 32  # bytes, of the master key and of each derived one

_MASTER = "master.key"
_SIGNING = "signing.pem"
_MAX_FILE_SIZE = 4096  # bytes
_CODE = "XENTPM_KEYS"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BACKUP = "Restore the directory from the backup."
RESTORE_KEYS = "Restore the keys directory from a backup. Without one: begin in a new directory, enrol again."
"""What to do where the keys of a station are gone. New ones open nothing that was written with the old."""


class StationKeys:
    """The keys in one directory. Nothing in here is ever printed: neither repr nor error tells a key."""

    def __init__(self, directory: str, master: bytes) -> None:
        self._directory = directory
        self._master = master

    @classmethod
    def open(cls, directory: str | os.PathLike[str], create: bool = False) -> StationKeys:
        """The keys in ``directory``; with ``create`` they are made when they are not there.

        The directory gets mode 0700, its files 0600. Two processes that start at once get the same keys.

        Raises:
            StoreError: ``XENTPM_KEYS``: there are none, they cannot be read or written, they are damaged, or
                somebody else can read them.
        """
        path = os.fspath(directory)
        try:
            if create:
                os.makedirs(path, mode=0o700, exist_ok=True)
            _check_directory(path)
            if create:
                _create(path, _MASTER, lambda: secrets.token_hex(KEY_SIZE).encode("ascii") + b"\n")
            return cls(path, _parse_master(_read(path, _MASTER)))
        except OSError as error:
            raise _unusable(path, error) from error

    @staticmethod
    def exist(directory: str | os.PathLike[str]) -> bool:
        """Whether the directory has the secret that all keys are derived from."""
        return os.path.lexists(os.path.join(directory, _MASTER))

    @property
    def directory(self) -> str:
        """Where the files are; the store keeps the head of its ledger there."""
        return self._directory

    @cached_property
    def ledger_key(self) -> bytes:
        """32 bytes: authenticates the entries of the ledger."""
        return self.derive("ledger")

    @cached_property
    def result_key(self) -> bytes:
        """32 bytes: authenticates stored results."""
        return self.derive("results")

    @cached_property
    def credential_key(self) -> bytes:
        """32 bytes: encrypts the pools' passwords, AES-256-GCM."""
        return self.derive("credentials")

    @cached_property
    def evidence_key(self) -> bytes:
        """32 bytes: authenticates stored evidence."""
        return self.derive("evidence")

    def derive(self, purpose: str) -> bytes:
        """32 bytes that nobody can tell from random ones, another for each purpose.

        Spec: RFC 5869, HKDF with SHA-256; info = ``xentpm station key 1: <purpose>``.
        """
        info = "xentpm station key 1: {}".format(purpose).encode("utf-8")
        return HKDF(hashes.SHA256(), KEY_SIZE, salt=None, info=info).derive(self._master)

    @cached_property
    def signing_key(self) -> ec.EllipticCurvePrivateKey:
        """The P-256 key that signs results and exports; made when it is used first.

        Raises:
            StoreError: ``XENTPM_KEYS``, as for ``open``.
        """
        try:
            _create(self._directory, _SIGNING, _new_signing_key)
            return _parse_signing(_read(self._directory, _SIGNING))
        except OSError as error:
            raise _unusable(self._directory, error) from error

    def __repr__(self) -> str:
        return "StationKeys({!r})".format(self._directory)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("keys are not to be pickled")


def _new_signing_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _parse_master(data: bytes) -> bytes:
    try:
        return decode_hex(data.decode("ascii").rstrip("\n"), _MASTER, KEY_SIZE, KEY_SIZE)
    except (FormatError, UnicodeDecodeError):
        raise StoreError("{} is not {} hex digits".format(_MASTER, 2 * KEY_SIZE), _BACKUP, _CODE) from None


def _parse_signing(data: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        message = "{} is not a private key without a password".format(_SIGNING)
        raise StoreError(message, _BACKUP, _CODE) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise StoreError("{} is not a P-256 key".format(_SIGNING), _BACKUP, _CODE)
    return key


def _check_directory(path: str) -> None:
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise StoreError("{} is not a directory".format(path), code=_CODE)
    _check_private(path, status)


def _check_private(path: str, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        message = "{} belongs to user {}, not to {}".format(path, status.st_uid, os.geteuid())
        raise StoreError(message, "Run as the user that owns the station.", _CODE)
    if status.st_mode & _OTHERS:
        message = "{} is open to others: mode {:04o}".format(path, stat.S_IMODE(status.st_mode))
        hint = "Take it as read by them: make a new station, or be sure that nobody did, then chmod go= {}"
        raise StoreError(message, hint.format(path), _CODE)


def _read(directory: str, name: str) -> bytes:
    path = os.path.join(directory, name)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError("{} is not a file".format(path), code=_CODE)
        _check_private(path, status)
        return file.read(_MAX_FILE_SIZE)


@contextmanager
def _locked(directory: str) -> Iterator[int]:
    """Keep other processes of the project from making keys; the lock ends with the process."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _create(directory: str, name: str, content: Callable[[], bytes]) -> None:
    """Make a file whole or not at all, unless it is there."""
    path = os.path.join(directory, name)
    if os.path.lexists(path):
        return
    with _locked(directory) as descriptor:
        if os.path.lexists(path):
            return
        _write(path + ".new", content())
        os.rename(path + ".new", path)
        os.fsync(descriptor)


def _write(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    if os.path.lexists(path):  # of a process that was killed; nobody used it
        os.unlink(path)
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _unusable(directory: str, error: OSError) -> StoreError:
    path = error.filename if isinstance(error.filename, str) else directory
    message = "the station's keys cannot be used: {}: {}".format(path, error.strerror or error)
    return StoreError(message, RESTORE_KEYS if isinstance(error, FileNotFoundError) else "", _CODE)
