"""Attest some hosts once, with all the tries that their policies give."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.fleet import Fleet
from xentpm_lib.verifier.fleet.states import Transition
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.station import Station

__all__ = ["attest_once"]

_LEAST_WAIT_S, _LOOK_S = 0.01, 0.2


def attest_once(
    station: Station,
    hosts: Sequence[HostRecord],
    told: Callable[[AttestationResult, Transition | None], None] | None = None,
    stop: threading.Event | None = None,
    who: str = "",
) -> list[AttestationResult]:
    """Attest hosts, store what comes of it, and put what changed into the outbox.

    told: called with each result as soon as it is stored, in another thread, one call at a time.
    who: asked for it, for the records.
    stop: set it to end early. Returns the results in the order of ``hosts``; without those that were not
    reached when it was stopped, and of hosts that somebody else forgot meanwhile, or left without a policy.

    Raises:
        PolicyError: the group of one of them has no usable policy.
        StoreError: the store cannot be used.
    """
    station.refresh()  # what was told last may have been told by a watch
    for host in hosts:
        station.registry.policy_for(host)
    turn = _Turn({host.host_id for host in hosts}, told)
    fleet = Fleet(station, turn.stored)
    turn.ended = lambda host_id: _remove(fleet, host_id)
    fleet.recorder.who = who or fleet.recorder.who
    fleet.start()
    try:
        for host in hosts:
            fleet.add(host, 0.0)
        _drive(fleet, turn, stop or threading.Event())
    finally:
        fleet.close()
    return [turn.results[host.host_id] for host in hosts if host.host_id in turn.results]


class _Turn:
    """Who is still waited for."""

    def __init__(
        self, waiting: set[str], told: Callable[[AttestationResult, Transition | None], None] | None
    ) -> None:
        self.results: dict[str, AttestationResult] = {}
        self.done = threading.Event()
        self.ended: Callable[[str], None] = lambda host_id: None
        self.waiting = waiting
        self._told = told
        self._lock = threading.Lock()
        if not waiting:
            self.done.set()

    def stored(self, result: AttestationResult, change: Transition | None) -> None:
        """A result is stored; the first one of each host counts."""
        if result.host_id not in self.waiting:
            return
        self.ended(result.host_id)
        self.results[result.host_id] = result
        if self._told is not None:
            self._told(result, change)
        self.leave(result.host_id)

    def leave(self, host_id: str) -> None:
        """A host is not waited for any more."""
        with self._lock:
            self.waiting.discard(host_id)
            if not self.waiting:
                self.done.set()


def _remove(fleet: Fleet, host_id: str) -> None:
    with fleet.engine.lock:
        fleet.engine.schedule.remove(host_id)


def _drive(fleet: Fleet, turn: _Turn, stop: threading.Event) -> None:
    """Start what is due until every host has its result. Raises: what made the recorder fail."""
    seen = fleet.roster.registry.seq
    while not turn.done.is_set() and not stop.is_set():
        if seen != fleet.roster.registry.seq:
            seen = fleet.roster.registry.seq
            for host_id in [one for one in list(turn.waiting) if fleet.roster.policy(one) is None]:
                turn.leave(host_id)
        wait_s = fleet.engine.tick()
        if fleet.recorder.failure is not None:
            raise fleet.recorder.failure
        if fleet.recorder.lost:
            lost = ", ".join(sorted(fleet.recorder.lost))
            hint = "Look for what is wrong with the store: xentpm-attest store check."
            raise StoreError(f"no result can be stored of host {lost}", hint)
        turn.done.wait(min(max(wait_s, _LEAST_WAIT_S), _LOOK_S))
