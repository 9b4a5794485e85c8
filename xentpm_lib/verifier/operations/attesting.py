"""One attestation of some hosts, now: asked, judged, recorded, and its changes told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xentpm_lib.verifier.fleet.once import attest_once
from xentpm_lib.verifier.operations.delivering import deliver
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.station import Station

__all__ = ["Attested", "attest"]


@dataclass(slots=True)
class Attested:
    """results: in the order of the hosts. problems: what else went wrong, in sentences."""

    results: list[AttestationResult] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def attest(
    station: Station,
    hosts: Sequence[HostRecord],
    done: Callable[[AttestationResult], None] = lambda _result: None,
) -> Attested:
    """Attest hosts now; record the results, and tell of changes unless a watch that runs does.

    done: called with each result, in another thread.

    Raises:
        PolicyError: a host's group has no policy.
        StoreError: the results cannot be recorded.
    """
    results = attest_once(station, hosts, lambda result, _change: done(result))
    station.refresh()
    return Attested(results, deliver(station))
