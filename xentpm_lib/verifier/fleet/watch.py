"""Attest all hosts again and again, until told to stop."""

from __future__ import annotations

import gc
import logging
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.empty_pools import remove_empty_pools
from xentpm_lib.verifier.fleet.fleet import Fleet
from xentpm_lib.verifier.fleet.lock import WATCHED, WatchLock
from xentpm_lib.verifier.fleet.roster import Effects
from xentpm_lib.verifier.fleet.sightings import look_at_pools
from xentpm_lib.verifier.fleet.states import Transition
from xentpm_lib.verifier.fleet.systemd import Systemd
from xentpm_lib.verifier.notify.abandoned import give_up_abandoned
from xentpm_lib.verifier.notify.channels import channels_of
from xentpm_lib.verifier.notify.dispatcher import Dispatcher
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import AttestationResult
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import ALTERED, CHANGED

__all__ = ["DEFAULT_PACE", "Pace", "Watch", "until_signalled", "watch"]

_LEAST_WAIT_S = 0.02
"""Between two looks at the schedule: hosts that are due within it are started together."""
_SPREAD_S = 0.005
"""At a start, hosts that are overdue are begun with so far apart, at most all within one period."""
_DISPATCHER_S = 0.5
_DEFAULT_KEEP_S = 90 * 86400.0
_WHO = "xentpm-attest"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often, in seconds. follow: looking for what other commands changed. status: telling how it goes.

    upkeep: removing old results. look: at which hosts the pools have.
    grace: after a start, before it is told of hosts whose lease ended while nobody watched: until then each
    had its turn, and most leases are renewed.
    """

    follow: float = 2.0
    status: float = 60.0
    upkeep: float = 3600.0
    look: float = 300.0
    grace: float = 180.0


DEFAULT_PACE = Pace()


class _Every:
    """Tells when something is due that recurs."""

    def __init__(self, seconds: float, at_once: bool = False) -> None:
        self._seconds = seconds
        self._next = time.monotonic() + (0 if at_once else seconds)

    def due(self) -> bool:
        """Whether it is; then it is due again after its time."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class Watch:
    """One run of ``watch`` on a station.

    stored: called with each result that was stored, and the change that it made; in another thread.
    """

    def __init__(
        self,
        station: Station,
        pace: Pace = DEFAULT_PACE,
        stored: Callable[[AttestationResult, Transition | None], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._station = station
        self._pace = pace
        self._clock = clock
        self._told = stored
        self._fleet = Fleet(station, self._stored, clock=clock)
        self._dispatcher = Dispatcher(
            station.store, channels_of(station.channels, self._fleet.client_of), clock
        )
        self._systemd = Systemd()
        self._upkeep = threading.Thread()
        self._look = threading.Thread()

    def run(self, stop: threading.Event) -> None:
        """Watch until ``stop`` is set; ends within 5 seconds then.

        Raises:
            StoreError: another process watches, the store was altered, or results cannot be stored any more.
        """
        with WatchLock(self._station.store, stop) as lock:
            started = time.monotonic()
            self._begin()
            try:
                self._loop(stop, lock, started)
            finally:
                self._end()

    def _begin(self) -> None:
        hosts = self._fleet.roster.hosts()
        for host in hosts:
            self._fleet.add(host, self._first_turn(host, len(hosts)))
        gc.collect()
        gc.freeze()  # what is known of the hosts stays: nobody need wait while it is searched for garbage
        self._fleet.start()
        self._dispatcher.start()
        _LOG.info("hosts watched: %d, in pools: %d", len(hosts), len(self._station.registry.pools()))
        self._systemd.ready(self._status())

    def _first_turn(self, host: HostRecord, hosts: int) -> float:
        """In how many seconds a host has its first turn: where it was when the last watch ended."""
        policy = self._fleet.roster.policy(host.host_id)
        if policy is None:
            return 0.0
        period = policy.timing.period
        due = self._fleet.appraised_at.get(host.host_id, 0.0) + period - self._clock()
        return due if 0 < due <= period else random.random() * min(period, hosts * _SPREAD_S)

    def _loop(self, stop: threading.Event, lock: WatchLock, started: float) -> None:
        follow, status = _Every(self._pace.follow), _Every(self._pace.status)
        upkeep, look = _Every(self._pace.upkeep), _Every(self._pace.look, at_once=True)
        alive = _Every(self._systemd.watchdog_s / 3 or self._pace.status)
        recorder, counted = self._fleet.recorder, 0
        while not stop.is_set():
            wait_s = self._fleet.engine.tick()
            if recorder.failure is not None:
                raise recorder.failure
            if follow.due():
                self._follow(lock)
                recorder.tell_restored = time.monotonic() - started >= self._pace.grace
            if alive.due():
                self._systemd.alive(self._status())
            if status.due():
                self._note_end()
                done, counted = self._fleet.engine.attestations - counted, self._fleet.engine.attestations
                _LOG.info("%s; %d attestations in %g s", self._status(), done, self._pace.status)
            if upkeep.due() and not self._upkeep.is_alive():
                self._upkeep = threading.Thread(target=self._clean_up, name="upkeep", daemon=True)
                self._upkeep.start()
            if look.due() and not self._look.is_alive():
                self._look = threading.Thread(target=self._look_at_pools, name="look", daemon=True)
                self._look.start()
            stop.wait(min(max(wait_s, _LEAST_WAIT_S), self._pace.follow))

    def _end(self) -> None:
        self._systemd.stopping()
        self._dispatcher.close(_DISPATCHER_S)
        self._fleet.close()
        _LOG.info("ended")

    def _follow(self, lock: WatchLock) -> None:
        """Take up what other commands changed. Raises: StoreError: altered, or somebody else watches."""
        try:
            if not lock.held():
                return
            registry = self._station.registry
            for entry in self._station.store.entries(after=registry.seq):
                self._fleet.roster.take(entry)
        except StoreError as error:
            if error.code in (ALTERED, WATCHED):
                raise
            _LOG.error("the store cannot be read, trying again: %s", error)
            return
        self._take_up(self._fleet.roster.take_effects())
        self._forget_pools()

    def _forget_pools(self) -> None:
        """Forget the pools whose last host was forgotten, once their marks are taken off."""
        try:
            remove_empty_pools(self._station, _WHO)
        except StoreError as error:
            if error.code == ALTERED:
                raise
            if error.code != CHANGED:  # else it is tried again when that is taken up
                _LOG.error("a pool without hosts cannot be forgotten: %s", error)

    def _take_up(self, effects: Effects) -> None:
        schedule, roster, now = self._fleet.engine.schedule, self._fleet.roster, time.monotonic()
        for pool_id in effects.pools:
            self._fleet.clients.drop(pool_id)
        for host_id in effects.gone:
            with self._fleet.engine.lock:
                schedule.remove(host_id)
        for host_id in effects.begun:
            self._add(host_id)
        for host_id in effects.judged_anew:
            policy = roster.policy(host_id)
            with self._fleet.engine.lock:
                known = host_id in schedule
                if known and policy is not None:
                    schedule.retime(host_id, policy.timing, now)
                    schedule.hurry(host_id, now)
                elif known:
                    schedule.remove(host_id)
            if not known:
                self._add(host_id)

    def _add(self, host_id: str) -> None:
        host = self._station.registry.find_host(host_id)
        if host is not None and self._fleet.add(host, 0.0):
            _LOG.info("host %s is watched", host.name)

    def _stored(self, result: AttestationResult, change: Transition | None) -> None:
        if change is not None:
            old = "new" if change.old is None else change.old.value
            failed = ", ".join(dict.fromkeys(one.code for one in result.findings if one.failed))
            codes = f" ({failed})" if failed else ""
            level = logging.INFO if result.state.value == "trusted" else logging.WARNING
            _LOG.log(level, "host %s: %s -> %s%s", result.host_name, old, change.new.value, codes)
            self._dispatcher.wake()
        if self._told is not None:
            self._told(result, change)

    def _clean_up(self) -> None:
        """Remove what the policies do not want kept, and give up what no channel delivers."""

        def keep(host_id: str) -> float:
            policy = self._fleet.roster.policy(host_id)
            return _DEFAULT_KEEP_S if policy is None else policy.keep_results_s

        def keep_notifications(host_id: str) -> float:
            policy = self._fleet.roster.policy(host_id)
            return _DEFAULT_KEEP_S if policy is None else policy.keep_notifications_s

        try:
            give_up_abandoned(self._station.store, self._station.channels, self._clock())
            removed = self._station.store.prune(self._clock(), keep, keep_notifications)
        except StoreError as error:
            _LOG.error("old results cannot be removed: %s", error)
        else:
            _LOG.info("removed %d old results, %d notifications", removed.results, removed.notifications)

    def _note_end(self) -> None:
        """See that it is noted where the ledger ends; an error once a minute as long as it cannot be."""
        try:
            self._station.store.note_end()
        except StoreError as error:
            if error.code in (ALTERED, WATCHED):
                raise
            _LOG.error("%s", error)

    def _look_at_pools(self) -> None:
        """See which hosts the pools have that are not enrolled."""
        engine = self._fleet.engine
        with engine.lock:
            troubled = engine.schedule.pools_in_trouble
        registry = self._station.registry
        passed_over = {pool.pool_id for pool in registry.empty_pools()} | set(troubled)
        pools = [pool.pool_id for pool in registry.pools() if pool.pool_id not in passed_over]
        try:
            if look_at_pools(self._station, pools, self._fleet.client_of, self._clock):
                self._dispatcher.wake()
        except Exception:  # what is wrong with the store is found elsewhere, too, and told there
            _LOG.exception("the pools' hosts cannot be looked at")

    def _status(self) -> str:
        """How it goes, in a line."""
        counts = self._fleet.states.counts()
        told = [
            f"{number} {'new' if state is None else state.value}" for state, number in counts.most_common()
        ]
        engine = self._fleet.engine
        with engine.lock:
            troubled = len(engine.schedule.pools_in_trouble)
        status = f"{sum(counts.values())} hosts: {', '.join(told) or 'none'}"
        return status + (f"; {troubled} pools out of reach" if troubled else "")


def watch(
    station: Station,
    pace: Pace = DEFAULT_PACE,
    stored: Callable[[AttestationResult, Transition | None], None] | None = None,
) -> None:
    """Watch a station until SIGINT or SIGTERM. For the main thread. Raises: StoreError, as ``Watch.run``."""
    until_signalled(Watch(station, pace, stored).run)


def until_signalled(run: Callable[[threading.Event], None]) -> None:
    """Run something with an event that SIGINT and SIGTERM set; a second one ends the process at once."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def ended(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    try:
        for number in signals:
            signal.signal(number, ended)
        run(stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
