"""A server that says it is a pool that is enrolled already: whether it is, before anything is written."""

from __future__ import annotations

from xentpm_lib.verifier.enrolment.discover import Discovered, discover
from xentpm_lib.verifier.enrolment.enrol import identity_findings
from xentpm_lib.verifier.errors import CollectionError, EnrolmentError
from xentpm_lib.verifier.operations.pools import credentials_of, recognised_by
from xentpm_lib.verifier.records import HostRecord, PoolRecord
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials
from xentpm_lib.verifier.xapi.pool import PoolClient
from xentpm_lib.verifier.xapi.url import parse_url

__all__ = ["checked", "differences"]

_CODE = "XENTPM_POOL_CHANGED"


def checked(
    station: Station, found: Discovered, url: str, login: StoredCredentials, replace: bool
) -> Discovered:
    """The pool as it is to be written down. Its UUID is the server's word, and proves nothing.

    1. A pool that is new here, or one of the known addresses of the pool, is taken as it was found.
    2. A server elsewhere that is recognised as the pool's are now: by a pinned certificate; where there are
       authorities only, who certify others too, an enrolled host of the pool has to answer its challenge
       as well. What is written down is what was learnt under that recognition.
    3. Any other: only with ``replace``, and only if an enrolled host of the pool answers its challenge.

    Raises:
        EnrolmentError: ``XENTPM_POOL_CHANGED``: it is none of these. Nothing was changed.
    """
    known = station.registry.find_pool(found.pool.pool_id)
    # 1. New, or where it always was.
    if known is None or parse_url(url).url in known.addresses:
        return found
    hosts = [host for host in station.registry.hosts() if host.pool_id == known.pool_id]
    # 2. Recognised.
    again = _recognised(known, url, login)
    if again is not None and (known.tls.pins or _answered(again, hosts, login)):
        return again
    # 3. On somebody's word, with a proof.
    if not replace:
        raise EnrolmentError(
            f"{url} says that it is the pool {known.name} ({known.pool_id}), which is enrolled at"
            f" {known.addresses[0]}; it is not known to be, so nothing was changed",
            "If the pool has moved: enroll --replace. Else somebody poses as your pool: change the password"
            " if it was that pool's.",
            _CODE,
        )
    if hosts and not _answered(found, hosts, login):
        raise EnrolmentError(
            f"no enrolled host of the pool {known.name} ({known.pool_id}) answers at {url} with its enrolled"
            " keys, so nothing was changed",
            "Start one of them; or, if the pool was installed anew, forget its hosts first.",
            _CODE,
        )
    return found


def differences(known: PoolRecord, pool: PoolRecord) -> tuple[str, ...]:
    """What changes in the record of a pool, in words."""
    told = []
    if known.name != pool.name:
        told.append(f"its name is {pool.name}, and was {known.name}")
    if known.addresses != pool.addresses:
        told.append(f"it is asked at {', '.join(pool.addresses)}, and was at {', '.join(known.addresses)}")
    if known.tls != pool.tls:
        now, before = recognised_by(pool.tls), recognised_by(known.tls)
        other = "another: " if now == before else ""
        told.append(f"it is recognised by {other}{now}, and was by {before}")
    return tuple(told)


def _recognised(known: PoolRecord, url: str, login: StoredCredentials) -> Discovered | None:
    """The pool, learnt anew from a server that is recognised as the known pool's; None when it is not.

    Learnt anew, for what was learnt otherwise may have come from another server.
    """
    try:
        again = discover(url, known.tls, lambda: credentials_of(login))
    except CollectionError:
        return None
    return again if again.pool.pool_id == known.pool_id else None


def _answered(found: Discovered, hosts: list[HostRecord], login: StoredCredentials) -> bool:
    """Whether one of the hosts opens a challenge for its enrolled keys there."""
    there = {info.uuid for info in found.hosts}
    with PoolClient(found.pool, lambda: credentials_of(login)) as client:
        return any(_answers(client, host) for host in hosts if host.host_id in there)


def _answers(client: PoolClient, host: HostRecord) -> bool:
    try:
        return not identity_findings(client, host, challenge=True)
    except CollectionError:
        return False
