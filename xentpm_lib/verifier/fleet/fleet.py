"""Everything that attesting a station's hosts takes, put together; ``watch`` and ``once`` drive it."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable
from random import Random

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.fleet.engine import Engine
from xentpm_lib.verifier.fleet.others import take_up
from xentpm_lib.verifier.fleet.recorder import Recorder
from xentpm_lib.verifier.fleet.roster import Roster
from xentpm_lib.verifier.fleet.schedule import DEFAULT_LIMITS, Limits, Schedule
from xentpm_lib.verifier.fleet.states import States, Transition
from xentpm_lib.verifier.notify.change import Announcer
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient

__all__ = ["Fleet"]

_ENGINE_S, _CLIENTS_S, _LATE_S, _RECORDER_S = 0.8, 0.8, 0.2, 1.0
"""How long each is waited for at the end: all together less than 5 seconds, whatever hangs."""

_LOG = logging.getLogger(__name__)


class Fleet:
    """The hosts of a station, ready to be attested. ``start``, ``add``, ``tick`` again and again, ``close``.

    stored: called with each result that was stored, and the change that it made; in another thread.
    """

    def __init__(
        self,
        station: Station,
        stored: Callable[[AttestationResult, Transition | None], None],
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.station = station
        self.clock = clock
        self.states = States()
        self.roster = Roster(station.registry, self.states)
        self.appraised_at = self._restore()
        self.clients = Clients(self._credentials)
        announcer = Announcer(station.channels)
        self.recorder = Recorder(
            station.store, self.states, announcer, self.roster, stored, self._again, clock
        )
        self.engine = Engine(self.roster, Schedule(Random(), limits), self.recorder, self.clients, clock)

    def start(self) -> None:
        """Begin to store results. Raises the process's limit of open files, as each pool takes some."""
        _raise_file_limit()
        self.recorder.start()

    def add(self, host: HostRecord, due_in_s: float) -> bool:
        """Have a host attested. False when there is no policy to do it by."""
        policy = self.roster.policy(host.host_id)
        if policy is None:
            _LOG.error(
                "host %s: its group %s has no usable policy; it is not attested", host.name, host.group
            )
            return False
        with self.engine.lock:
            due = time.monotonic() + due_in_s
            self.engine.schedule.put(host.host_id, host.pool_id, policy.timing, due)
        return True

    def close(self) -> None:
        """End within 5 seconds, and store what is known."""
        quiet = self.engine.close(_ENGINE_S)
        if not self.clients.close(_CLIENTS_S):
            _LOG.info("not all pools could be logged out of")
        if not quiet and not self.engine.close(_LATE_S):
            _LOG.info("some hosts were still being asked; that does not count")
        if not self.recorder.close(_RECORDER_S):
            _LOG.error("the last results could not be stored")

    def _again(self, host_id: str) -> None:
        """Attest a host at once whose last result could not count any more."""
        with self.engine.lock:
            self.engine.schedule.hurry(host_id, time.monotonic())

    def _restore(self) -> dict[str, float]:
        """Go on from what is stored. Returns when each host was attested last."""
        registry = self.station.registry
        for host in registry.hosts():
            change = registry.state(host.host_id)
            if change is not None:
                self.states.told(host.host_id, change.new, change.at)
                self.states.passed(host.host_id, registry.states_since_trust(host.host_id))
        latest = self.station.store.latest()
        for host_id, stored in latest.items():
            if stored.altered:
                _LOG.critical("the stored result of host %s was altered: xentpm-attest store check", host_id)
            take_up(self.states, stored)
        return {host_id: stored.result.appraised_at for host_id, stored in latest.items()}

    def client_of(self, pool_id: str) -> PoolClient:
        """The pool's client, which its hosts are attested by, too. Raises: UsageError for an unknown pool."""
        return self.clients.of(self.station.registry.pool(pool_id))

    def _credentials(self, pool_id: str) -> Credentials:
        stored = self.station.store.get_credentials(pool_id)
        if stored is None:
            hint = "Give one: xentpm-attest pool password URL."
            raise UsageError("there is no user name and password for the pool", hint)
        return Credentials(stored.username, stored.password().reveal())


def _raise_file_limit() -> None:
    """As far as it goes without rights: services begin with 1,024, too few for 300 pools."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        _LOG.info("the limit of %d open files cannot be raised", soft)
