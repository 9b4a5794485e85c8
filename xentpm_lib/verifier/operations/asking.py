"""Asking hosts for evidence from a command: the fleet's parts, put together for a short while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field

from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.fleet.attestation import Attempted, Subject, attest_host
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.fleet.others import take_up
from xentpm_lib.verifier.fleet.roster import Roster
from xentpm_lib.verifier.fleet.states import States
from xentpm_lib.verifier.operations.pools import credentials_for
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.station import Station

__all__ = ["Asking", "asking"]

_AT_A_TIME = 16
_CLOSE_S, _STOP_S = 5.0, 1.0


@dataclass(frozen=True, slots=True)
class Asking:
    """All that it takes to ask hosts: the fleet's parts, put together for a short while."""

    station: Station
    states: States
    roster: Roster
    clients: Clients
    book: ChallengeBook
    stopped: threading.Event = field(default_factory=threading.Event)

    def subject(self, host: HostRecord) -> Subject:
        """What the host is judged by. Raises: PolicyError when its group has no policy."""
        self.station.registry.policy_for(host)
        subject = self.roster.subject(host.host_id)
        assert subject is not None, "a host with a policy can be judged"
        return subject

    def ask(self, host: HostRecord) -> Attempted:
        """Attest a host, as often as its policy says until there is an answer. Raises: PolicyError."""
        subject = self.subject(host)
        client = self.clients.of(self.station.registry.pool(host.pool_id))
        timing = subject.policy.timing
        attempted = attest_host(client, subject, self.book)
        for attempt in range(1, timing.attempts):
            if attempted.failure is None or attempted.failure.permanent:
                break
            if self.stopped.wait(timing.backoff * 2 ** (attempt - 1)):
                break
            attempted = attest_host(client, subject, self.book)
        return attempted

    def ask_all(self, hosts: Sequence[HostRecord], done: Callable[[HostRecord, Attempted], None]) -> None:
        """Attest hosts, several at a time; ``done`` is called in this thread.

        Whatever ends it early, as Ctrl-C, ends the calls that are under way, too.

        Raises:
            PolicyError: the group of a host has no policy.
        """
        for host in hosts:
            self.subject(host)
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="attest") as pool:
            running = {pool.submit(self.ask, host): host for host in hosts}
            try:
                for future in as_completed(running):
                    done(running[future], future.result())
            except BaseException:
                self.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                self.clients.close(_STOP_S)
                raise


@contextmanager
def asking(station: Station) -> Iterator[Asking]:
    """Ready to ask; logged out afterwards. Raises: StoreError."""
    states = States()
    roster = Roster(station.registry, states)
    for stored in station.store.latest().values():
        take_up(states, stored)
    clients = Clients(lambda pool_id: credentials_for(station, pool_id))
    try:
        yield Asking(station, states, roster, clients, ChallengeBook())
    finally:
        clients.close(_CLOSE_S)
