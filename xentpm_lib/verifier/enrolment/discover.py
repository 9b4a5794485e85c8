"""First contact with a pool: which one it is, who is its master, which hosts it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.plain import is_uuid
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.xapi.connections import Connections
from xentpm_lib.verifier.xapi.deadline import Deadline
from xentpm_lib.verifier.xapi.faults import XapiFailure, plain_name
from xentpm_lib.verifier.xapi.pool import HostInfo, PoolClient
from xentpm_lib.verifier.xapi.session import Credentials, XapiOptions
from xentpm_lib.verifier.xapi.tls import fingerprint
from xentpm_lib.verifier.xapi.url import Address, parse_url

__all__ = ["Discovered", "discover", "find_master"]

_MASTER_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Discovered:
    """A pool and its hosts, the master first."""

    pool: PoolRecord
    hosts: tuple[HostInfo, ...]


def find_master(url: str, tls: TlsTrust, timeout: float = _MASTER_LIMIT_S) -> str:
    """The URL of the master of the pool that has the host at ``url``; no password is sent.

    Where servers are recognised by pins, the master's has to be confirmed, too, before `discover`.

    Raises:
        UsageError: ``url`` is none.
        CollectionError: ``POOL_UNREACHABLE``, ``TLS_CERTIFICATE``, ``COLLECTION_TIMEOUT``, ``XAPI_ERROR``.
    """
    address, connections = parse_url(url), Connections(tls)
    try:
        connections.call(address, "pool.get_all_records", ("OpaqueRef:NULL",), Deadline(timeout))
    except XapiFailure as failure:
        if failure.code == "HOST_IS_SLAVE":
            return _other(address, failure.params[0] if failure.params else "").url
    finally:
        connections.close()
    return address.url


def discover(
    url: str, tls: TlsTrust, credentials: Callable[[], Credentials], options: XapiOptions | None = None
) -> Discovered:
    """Log in to the pool of any of its hosts, and learn what there is to know about it.

    The record's addresses are those of all hosts, the master first. Where servers are recognised by pins,
    the certificates of the other hosts are taken from the master, whom ``tls`` recognised.

    Raises:
        UsageError: ``url`` is none.
        CollectionError: the master cannot be reached, is not recognised, or refuses.
    """
    address = parse_url(url)
    first = PoolRecord(pool_id="", name="", addresses=(address.url,), tls=tls)
    with PoolClient(first, credentials, options) as client:
        info, hosts = client.info(), tuple(client.hosts())
        if len({host.uuid for host in hosts}) != len(hosts):
            raise CollectionError("XAPI_ERROR", "the pool's records contradict each other")
        if not all(is_uuid(uuid) for uuid in (info.uuid, *(host.uuid for host in hosts))):
            raise CollectionError("XAPI_ERROR", "what the pool shows as UUIDs are none")
        master = client.master_url or address.url
        record = PoolRecord(
            pool_id=info.uuid,
            name=plain_name(info.name),
            addresses=_addresses(parse_url(master), hosts),
            tls=replace(tls, pins=_pins(client, tls, hosts)) if tls.pins else tls,
        )
    return Discovered(record, hosts)


def _addresses(master: Address, hosts: tuple[HostInfo, ...]) -> tuple[str, ...]:
    """Where to ask for the pool's master: at the address that works now, then at every host's own."""
    found = [master.url]
    for host in hosts:
        try:
            found.append(master.at(host.address).url)
        except UsageError:
            continue  # a host without a management address
    return tuple(dict.fromkeys(found))


def _pins(client: PoolClient, tls: TlsTrust, hosts: tuple[HostInfo, ...]) -> tuple[str, ...]:
    pins = [pin.lower() for pin in tls.pins]
    for host in hosts:
        try:
            pins.append(fingerprint(client.server_certificate(host.uuid)))
        except (CollectionError, ValueError):
            continue  # it can be pinned later; until then the host is not relied on as master
    return tuple(dict.fromkeys(pins))


def _other(address: Address, host: str) -> Address:
    try:
        return address.at(host)
    except UsageError as error:
        raise CollectionError("XAPI_ERROR", f"{address.url} tells no usable address of its master") from error
