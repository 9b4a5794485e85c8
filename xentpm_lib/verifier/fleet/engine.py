"""Schedule, threads and recorder put together: what is due is attested, and what came of it is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.fleet.attestation import (
    Attempted,
    Subject,
    attest_host,
    collection_result,
    defect_result,
)
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.fleet.kept_logs import KeptLogs
from xentpm_lib.verifier.fleet.recorder import Recorder, Recording
from xentpm_lib.verifier.fleet.roster import Roster
from xentpm_lib.verifier.fleet.schedule import Job, Outcome, Schedule
from xentpm_lib.verifier.fleet.workers import Workers
from xentpm_lib.verifier.xapi.pool import PoolClient

__all__ = ["Engine"]

_POOL_FINDINGS = frozenset({"POOL_UNREACHABLE", "TLS_CERTIFICATE", "XAPI_AUTHENTICATION"})
_MAX_WAIT_S = 1.0


class Engine:
    """Attests what the schedule says. ``tick`` has to be called until ``close``.

    Every access to the schedule holds ``lock``; hosts are added and removed under it.
    monotonic: the schedule's clock. clock: seconds since 1970, the results'.
    """

    def __init__(
        self,
        roster: Roster,
        schedule: Schedule,
        recorder: Recorder,
        clients: Clients,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lock = threading.Lock()
        self.schedule = schedule
        self.attestations = 0
        self._roster = roster
        self._recorder = recorder
        self._clients = clients
        self._clock = clock
        self._monotonic = monotonic
        self._book = ChallengeBook(clock)
        self._logs = KeptLogs()
        self._ending = False
        self._workers: Workers[Job] = Workers(self._work)

    @property
    def threads(self) -> int:
        """How many threads there are that ask hosts."""
        return len(self._workers)

    def tick(self) -> float:
        """Start what is due. Returns after how many seconds to call again, at most one."""
        now = self._monotonic()
        with self.lock:
            jobs = [job for pool_id in self.schedule.release(now) for job in self._takes(pool_id)]
            due = self.schedule.next_due()
        for job in jobs:
            self._workers.run(job)
        return _MAX_WAIT_S if due is None else min(max(due - self._monotonic(), 0.0), _MAX_WAIT_S)

    def close(self, timeout_s: float) -> bool:
        """Begin nothing more and wait for what is under way; what fails later does not count any more.

        Returns whether all ended within the time.
        """
        ended = self._workers.close(timeout_s)
        self._ending = True
        return ended

    def _takes(self, pool_id: str) -> list[Job]:
        return list(iter(lambda: self.schedule.take(pool_id), None))

    def _work(self, job: Job) -> Job | None:
        """Do a job; returns the pool's next one. Whatever happens, the schedule is told that it is done."""
        subject = self._roster.subject(job.host_id)
        attempted = None if subject is None else self._attempted(job, subject)
        failure = None if attempted is None else attempted.failure
        with self.lock:
            permanent = failure is not None and failure.permanent
            ended = self.schedule.finished(job, _outcome(failure), self._monotonic(), permanent)
            jobs = self._takes(job.pool_id)
        for other in jobs[1:]:
            self._workers.run(other)
        for one in ended:
            if one.final and attempted is not None:
                self._keep(one.host_id, attempted, subject)
        return jobs[0] if jobs else None

    def _attempted(self, job: Job, subject: Subject) -> Attempted:
        """What came of asking the host. Never raises."""
        try:
            return self._asked(job, subject)
        except Exception:
            return defect_result(subject, self._clock())

    def _asked(self, job: Job, subject: Subject) -> Attempted:
        pool = self._roster.pool(job.pool_id)
        if pool is None:
            unknown = CollectionError("POOL_UNREACHABLE", "the pool is not known", permanent=True)
            return collection_result(subject, unknown, self._clock())
        client = self._clients.of(pool)
        failure = _failure_of_master(client) if job.probe else None
        if failure is None:
            attempted = attest_host(client, subject, self._book, self._clock)
            failure = attempted.failure
            if failure is None or failure.finding != "COLLECTION_TIMEOUT":
                return attempted
            failure = _failure_of_master(client) or failure
        return collection_result(subject, failure, self._clock())

    def _keep(self, host_id: str, attempted: Attempted, subject: Subject | None) -> None:
        """Hand a result to the recorder: the host's own, or what another one's try showed of its pool."""
        outline = self._roster.outline(host_id)
        if outline is None or (self._ending and attempted.failure is not None):
            return
        self.attestations += 1
        if attempted.result.host_id != host_id and attempted.failure is not None:
            subject = self._roster.subject(host_id)
            if subject is None:
                return
            attempted = collection_result(subject, attempted.failure, self._clock())
        evidence = attempted.evidence
        if evidence is not None and attempted.verified is not None:
            evidence = self._logs.evidence(host_id, evidence, attempted.verified)
        judged = None if subject is None else subject.host
        self._recorder.put(Recording(attempted.result, outline, evidence, judged))


def _outcome(failure: CollectionError | None) -> Outcome:
    if failure is None:
        return Outcome.ANSWERED
    return Outcome.POOL_FAILED if failure.finding in _POOL_FINDINGS else Outcome.HOST_FAILED


def _failure_of_master(client: PoolClient) -> CollectionError | None:
    """Why the pool's master does not answer a simple question; None when it does.

    A master that hangs is told from a host that does: then the pool cannot be reached.
    """
    try:
        client.info()
    except CollectionError as error:
        if error.finding == "COLLECTION_TIMEOUT":
            return CollectionError("POOL_UNREACHABLE", error.message, error.hint)
        return error
    return None
