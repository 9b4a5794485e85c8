"""One attestation of some hosts, now: asked, judged, recorded, and its changes told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.fleet.once import attest_once
from xentpm_lib.verifier.fleet.sightings import look_at_pools
from xentpm_lib.verifier.operations.delivering import deliver
from xentpm_lib.verifier.operations.pools import credentials_for
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.records import HostRecord, UnenrolledHost
from xentpm_lib.verifier.result import AttestationResult, State
from xentpm_lib.verifier.station import Station

__all__ = ["Attested", "attest"]

_CLOSE_S = 5.0


@dataclass(slots=True)
class Attested:
    """results: in the order of the hosts. problems: what else went wrong, in sentences.

    unjudged: hosts that have no result, because their group has no policy that can be used, or because they
    were forgotten meanwhile.
    unenrolled: hosts of the pools that were looked at, of which no keys are known.
    failure: what is wrong with the station although everything is recorded; to be raised in the end.
    """

    results: list[AttestationResult] = field(default_factory=list)
    unjudged: list[HostRecord] = field(default_factory=list)
    unenrolled: list[UnenrolledHost] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failure: StoreError | None = None


def attest(
    station: Station,
    hosts: Sequence[HostRecord],
    done: Callable[[AttestationResult], None] = lambda _result: None,
    whole_pools: bool = False,
) -> Attested:
    """Attest hosts now; record the results, and tell of changes unless a watch that runs does.

    done: called with each result, in another thread. whole_pools: see, too, whether the hosts' pools have
    others, which are not enrolled.

    Raises:
        PolicyError: no host's group has a policy that can be used.
        StoreError: the results cannot be recorded.
    """
    found = {host.host_id: _policy_error(station, host) for host in hosts}
    errors = {host_id: error for host_id, error in found.items() if error is not None}
    judged = [host for host in hosts if host.host_id not in errors]
    if not judged:
        raise next(iter(errors.values()))
    results = attest_once(station, judged, lambda result, _change: done(result), who=who())
    station.refresh()
    unenrolled = _unenrolled(station, judged, results) if whole_pools else []
    unjudged = [host for host in hosts if host.host_id in errors]
    problems = [f"{host.name} was not asked: {errors[host.host_id].message}" for host in unjudged]
    told = {result.host_id for result in results}
    lost = [host for host in judged if host.host_id not in told]
    unjudged += lost
    problems += [f"{host.name} was not judged: it was forgotten, or has no policy any more" for host in lost]
    return Attested(results, unjudged, unenrolled, problems + deliver(station), _failure(station))


def _failure(station: Station) -> StoreError | None:
    """That the changes of state are not protected from who can write to the database."""
    try:
        station.store.note_end()
    except StoreError as error:
        return error
    return None


def _unenrolled(
    station: Station, hosts: Sequence[HostRecord], results: Sequence[AttestationResult]
) -> list[UnenrolledHost]:
    """What the pools of these hosts have besides; those that did not answer just now are not asked."""
    out_of_reach = {one.host_id for one in results if one.state is State.UNREACHABLE}
    pools = dict.fromkeys(host.pool_id for host in hosts)
    asked = dict.fromkeys(host.pool_id for host in hosts if host.host_id not in out_of_reach)
    clients = Clients(lambda pool_id: credentials_for(station, pool_id))
    try:
        look_at_pools(station, asked, lambda pool_id: clients.of(station.registry.pool(pool_id)))
    finally:
        clients.close(_CLOSE_S)
    station.refresh()
    return [one for one in station.registry.unenrolled() if one.pool_id in pools]


def _policy_error(station: Station, host: HostRecord) -> PolicyError | None:
    try:
        station.registry.policy_for(host)
    except PolicyError as error:
        return error
    return None
