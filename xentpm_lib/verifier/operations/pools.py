"""Pools: first contact, how their servers are recognised, and how the station logs in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cryptography import x509

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.enrolment.discover import discover, find_master
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.operations.station_use import append
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.secret import SecretRef
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient
from xentpm_lib.verifier.xapi.tls import fetch_certificate

__all__ = [
    "Contact",
    "ListedPool",
    "credentials_for",
    "credentials_of",
    "first_contact",
    "known_login",
    "listing",
    "master_of",
    "pin",
    "present_master",
    "recognised_by",
    "set_login",
]

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Contact:
    """What a server shows before anything is known of it. subject: what its certificate says, untrusted."""

    pin: str
    for_people: str
    subject: str


@dataclass(frozen=True, slots=True)
class ListedPool:
    """A pool, for people. recognised_by, login: in words, without secrets."""

    pool_id: str
    name: str
    url: str
    addresses: tuple[str, ...]
    hosts: int
    recognised_by: str
    login: str

    def to_object(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "uuid": self.pool_id,
            "name": self.name,
            "addresses": list(self.addresses),
            "hosts": self.hosts,
            "recognised_by": self.recognised_by,
            "login": self.login,
        }


def first_contact(url: str) -> Contact:
    """Look at a server's certificate; nothing is sent to it. Raises: UsageError, CollectionError."""
    shown = fetch_certificate(url)
    try:
        subject = x509.load_der_x509_certificate(shown.der).subject.rfc4514_string()
    except ValueError:
        subject = "a certificate that cannot be read"
    return Contact(shown.pin, shown.for_people, subject or "no name")


def master_of(url: str, tls: TlsTrust) -> str:
    """The URL of the pool's master; no password is sent. Raises: UsageError, CollectionError."""
    return find_master(url, tls)


def present_master(pool: PoolRecord) -> str:
    """The URL of whom the pool's servers call their master now.

    Neither are they recognised nor is a password sent: it is where to look, not whom to believe.

    Raises:
        CollectionError: nobody answers.
    """
    return _first_answer(pool.addresses, lambda url: master_of(url, TlsTrust(pins=(first_contact(url).pin,))))


def listing(station: Station) -> list[ListedPool]:
    """All pools. Raises: StoreError."""
    hosts = station.registry.hosts()
    return [
        ListedPool(
            pool.pool_id,
            pool.name,
            pool.addresses[0],
            pool.addresses,
            sum(host.pool_id == pool.pool_id for host in hosts),
            recognised_by(pool.tls),
            _login(known_login(station, pool)),
        )
        for pool in station.registry.pools()
    ]


def known_login(station: Station, pool: PoolRecord | None) -> StoredCredentials | None:
    """How the station logs in to a pool; None when it does not know. Raises: StoreError."""
    return None if pool is None else station.store.get_credentials(pool.pool_id)


def set_login(station: Station, pool: PoolRecord, login: StoredCredentials) -> None:
    """Log in by ``login`` from now on; it is tried first. Raises: CollectionError, UsageError, StoreError."""
    with PoolClient(pool, lambda: credentials_of(login)) as client:
        info = client.info()
    if info.uuid != pool.pool_id:
        raise UsageError(
            f"{pool.addresses[0]} is another pool now: {info.uuid}", "Enrol it: xentpm-attest enroll."
        )
    station.store.put_credentials(pool.pool_id, login)
    append(station, ledger_bodies.note(pool.pool_id, f"the log-in was changed, user {login.username}"))


def credentials_of(login: StoredCredentials) -> Credentials:
    """With the password itself. Raises: UsageError when it is not where it should be."""
    return Credentials(login.username, login.password().reveal())


def credentials_for(station: Station, pool_id: str) -> Credentials:
    """How to log in to a pool. Raises: UsageError when nothing is kept, StoreError."""
    login = station.store.get_credentials(pool_id)
    if login is None:
        raise UsageError("no password is kept for the pool", "Give it: xentpm-attest pool password POOL.")
    return credentials_of(login)


def pin(station: Station, pool: PoolRecord, tls: TlsTrust) -> PoolRecord:
    """Recognise the pool's servers by something else. It is tried, and has to be the same pool.

    Raises:
        UsageError: it is another pool.
        CollectionError, StoreError.
    """
    login = known_login(station, pool)
    if login is None:
        raise UsageError(f"no password of {pool.name} is kept", "Enrol the pool again: xentpm-attest enroll.")
    found = _discovered(pool, tls, login)
    if found.pool_id != pool.pool_id:
        raise UsageError(f"{pool.addresses[0]} is another pool now: {found.pool_id}", "Enrol it.")
    changed = replace(pool, tls=found.tls, addresses=found.addresses)
    append(station, ledger_bodies.pool_changed(changed))
    return changed


def _discovered(pool: PoolRecord, tls: TlsTrust, login: StoredCredentials) -> PoolRecord:
    """The pool by its present master, who may be new in it, else by any address that is known."""
    master = present_master(pool)
    urls = dict.fromkeys((master, *pool.addresses))
    try:
        return _first_answer(urls, lambda url: discover(url, tls, lambda: credentials_of(login)).pool)
    except CollectionError as error:
        if error.finding == "TLS_CERTIFICATE":
            shown = first_contact(master).pin
            error.hint = f"The pool's master is {master}. If its certificate is this one: --pin {shown}."
        raise


def _first_answer(urls: Iterable[str], ask: Callable[[str], _Answer]) -> _Answer:
    """What the first of the servers says that answers. Raises: CollectionError, the first server's."""
    failure: CollectionError | None = None
    for url in urls:
        try:
            return ask(url)
        except CollectionError as error:
            failure = failure or error
    assert failure is not None, "a pool has an address"
    raise failure


def recognised_by(tls: TlsTrust) -> str:
    """How the servers of a pool are recognised, in words."""
    pins = f"{len(tls.pins)} pinned certificate{'s' * (len(tls.pins) != 1)}" if tls.pins else ""
    return " and ".join(filter(None, ["an authority" if tls.ca_pem else "", pins]))


def _login(login: StoredCredentials | None) -> str:
    if login is None:
        return "none: xentpm-attest pool password"
    where = str(login.secret) if isinstance(login.secret, SecretRef) else "kept encrypted"
    return f"{login.username}, password {where}"
