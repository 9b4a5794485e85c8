"""One attestation of some hosts, now: asked, judged, recorded, and its changes told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier.fleet.once import attest_once
from xentpm_lib.verifier.operations.delivering import deliver
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.station import Station

__all__ = ["Attested", "attest"]


@dataclass(slots=True)
class Attested:
    """results: in the order of the hosts. problems: what else went wrong, in sentences.

    unjudged: hosts that were not asked, because their group has no policy that can be used.
    """

    results: list[AttestationResult] = field(default_factory=list)
    unjudged: list[HostRecord] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def attest(
    station: Station,
    hosts: Sequence[HostRecord],
    done: Callable[[AttestationResult], None] = lambda _result: None,
) -> Attested:
    """Attest hosts now; record the results, and tell of changes unless a watch that runs does.

    done: called with each result, in another thread.

    Raises:
        PolicyError: no host's group has a policy that can be used.
        StoreError: the results cannot be recorded.
    """
    found = {host.host_id: _policy_error(station, host) for host in hosts}
    errors = {host_id: error for host_id, error in found.items() if error is not None}
    judged = [host for host in hosts if host.host_id not in errors]
    if not judged:
        raise next(iter(errors.values()))
    results = attest_once(station, judged, lambda result, _change: done(result))
    station.refresh()
    unjudged = [host for host in hosts if host.host_id in errors]
    problems = [f"{host.name} was not asked: {errors[host.host_id].message}" for host in unjudged]
    return Attested(results, unjudged, problems + deliver(station))


def _policy_error(station: Station, host: HostRecord) -> PolicyError | None:
    try:
        station.registry.policy_for(host)
    except PolicyError as error:
        return error
    return None
