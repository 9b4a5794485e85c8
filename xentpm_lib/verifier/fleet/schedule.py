"""Which host is due when, and which may be asked now. No clock, no threads: times are given, of any clock.

Every pool may always be asked about one host, so a pool that hangs takes nothing from another one; what is
asked beyond that, at once, is bounded for each pool and for all together. In a pool whose master did not
answer only one host at a time is tried, and what that try shows counts for all its hosts that are due.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from xentpm_lib.verifier.policy.model import Timing

__all__ = ["DEFAULT_LIMITS", "Ended", "Job", "Limits", "Outcome", "Schedule"]


@dataclass(frozen=True, slots=True)
class Limits:
    """per_pool: hosts of one pool at once. extra: of all pools, beside the first of each."""

    per_pool: int = 4
    extra: int = 64


DEFAULT_LIMITS = Limits()


class Outcome(Enum):
    """What became of a try. ANSWERED: there is something to judge. HOST_FAILED: only the master answered."""

    ANSWERED = "answered"
    HOST_FAILED = "host failed"
    POOL_FAILED = "pool failed"


class _Place(Enum):
    WAITING = 1
    QUEUED = 2
    RUNNING = 3
    GONE = 4


@dataclass(slots=True, eq=False)
class _Task:
    """A host. due: of the next try. first_due: of the first try of this turn."""

    host_id: str
    pool_id: str
    timing: Timing
    due: float
    first_due: float
    failures: int = 0
    place: _Place = _Place.WAITING
    again: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One host to be asked now. attempt: 1 for the first try of a turn.

    probe: the pool's master did not answer the last time.
    """

    task: _Task
    attempt: int
    probe: bool = False

    @property
    def host_id(self) -> str:
        """XAPI UUID of the host."""
        return self.task.host_id

    @property
    def pool_id(self) -> str:
        """XAPI UUID of its pool."""
        return self.task.pool_id


@dataclass(frozen=True, slots=True)
class Ended:
    """A try that is over. final: the turn is over too, so that its outcome counts."""

    host_id: str
    final: bool


@dataclass(slots=True)
class _Pool:
    """hosts, running: how many."""

    queue: deque[_Task] = field(default_factory=deque)
    hosts: int = 0
    running: int = 0
    in_trouble: bool = False


class Schedule:
    """The tasks of all hosts. Not safe for several threads at once: its owner holds a lock.

    random: for the jitter.
    """

    def __init__(self, random: Random, limits: Limits = DEFAULT_LIMITS) -> None:
        self._random = random
        self._limits = limits
        self._tasks: dict[str, _Task] = {}
        self._pools: dict[str, _Pool] = {}
        self._heap: list[tuple[float, int, _Task]] = []
        self._number = 0
        self._extra = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, host_id: str) -> bool:
        return host_id in self._tasks

    @property
    def running(self) -> int:
        """How many hosts are being asked."""
        return sum(pool.running for pool in self._pools.values())

    @property
    def queued(self) -> int:
        """How many hosts are due and wait for their pool."""
        return sum(task.place is _Place.QUEUED for pool in self._pools.values() for task in pool.queue)

    @property
    def pools_in_trouble(self) -> tuple[str, ...]:
        """Pools whose master did not answer the last try."""
        return tuple(pool_id for pool_id, pool in self._pools.items() if pool.in_trouble)

    def put(self, host_id: str, pool_id: str, timing: Timing, due: float) -> None:
        """Add a host, or begin anew with one: what still runs for it does not count any more."""
        self.remove(host_id)
        task = _Task(host_id, pool_id, timing, due, due)
        self._tasks[host_id] = task
        self._pools.setdefault(pool_id, _Pool()).hosts += 1
        self._wait(task)

    def retime(self, host_id: str, timing: Timing, now: float) -> None:
        """Another timing for a host; a turn that was farther away than the new period begins earlier."""
        task = self._tasks[host_id]
        task.timing = timing
        if task.place is _Place.WAITING and task.due > now + timing.period:
            task.due = task.first_due = now + timing.period * self._random.random()
            self._wait(task)

    def remove(self, host_id: str) -> None:
        """Forget a host, if it is known."""
        task = self._tasks.pop(host_id, None)
        if task is not None:
            task.place = _Place.GONE
            self._pools[task.pool_id].hosts -= 1
            self._forget_pool(task.pool_id)

    def hurry(self, host_id: str, now: float) -> None:
        """Ask a host as soon as possible; once more where it is just being asked."""
        task = self._tasks.get(host_id)
        if task is None:
            return
        if task.place is _Place.RUNNING:
            task.again = True
        elif task.place is _Place.WAITING:
            task.due = task.first_due = now
            task.failures = 0
            self._wait(task)

    def next_due(self) -> float | None:
        """When ``release`` has something to do next; None when no host waits."""
        while self._heap and not _current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def release(self, now: float) -> set[str]:
        """Queue the hosts that are due. Returns the pools that now have something to ``take``."""
        pools = set()
        due = self.next_due()
        while due is not None and due <= now:
            task = heapq.heappop(self._heap)[2]
            task.place = _Place.QUEUED
            self._pools[task.pool_id].queue.append(task)
            pools.add(task.pool_id)
            due = self.next_due()
        return pools

    def take(self, pool_id: str) -> Job | None:
        """The next host of the pool to be asked; None when there is none, or not now."""
        pool = self._pools.get(pool_id)
        if pool is None or not self._has_room(pool):
            return None
        for task in _queued(pool.queue):
            task.place = _Place.RUNNING
            self._extra += pool.running > 0
            pool.running += 1
            return Job(task, task.failures + 1, pool.in_trouble)
        return None

    def finished(self, job: Job, outcome: Outcome, now: float, permanent: bool = False) -> tuple[Ended, ...]:
        """Tell what became of a job.

        permanent: further tries of this turn are of no use.
        Returns the tries that are over: this one, and after POOL_FAILED those of all queued hosts of the
        pool. None of a host that was removed meanwhile.
        """
        pool = self._pools[job.pool_id]
        pool.running -= 1
        self._extra -= pool.running > 0
        pool.in_trouble = outcome is Outcome.POOL_FAILED
        over = [job.task] if job.task.place is _Place.RUNNING else []
        if outcome is Outcome.POOL_FAILED:
            over += list(_queued(pool.queue))
        answered = outcome is Outcome.ANSWERED or permanent
        ended = tuple(self._over(task, answered, now) for task in over)
        self._forget_pool(job.pool_id)
        return ended

    def _over(self, task: _Task, answered: bool, now: float) -> Ended:
        task.failures += 1
        timing = task.timing
        final = answered or task.failures >= timing.attempts
        if final:
            task.due = task.first_due = self._next_turn(task, now)
            task.failures = 0
        else:
            task.due = now + timing.backoff * 2 ** (task.failures - 1)
        if task.again:
            task.again, task.failures, task.due, task.first_due = False, 0, now, now
        self._wait(task)
        return Ended(task.host_id, final)

    def _next_turn(self, task: _Task, now: float) -> float:
        """One period after this turn's beginning, with jitter; at once where that is over."""
        jitter = task.timing.jitter * (2 * self._random.random() - 1)
        return max(now, task.first_due + task.timing.period * (1 + jitter))

    def _wait(self, task: _Task) -> None:
        task.place = _Place.WAITING
        self._number += 1
        heapq.heappush(self._heap, (task.due, self._number, task))

    def _has_room(self, pool: _Pool) -> bool:
        if pool.running == 0:
            return True
        return (
            not pool.in_trouble and pool.running < self._limits.per_pool and self._extra < self._limits.extra
        )

    def _forget_pool(self, pool_id: str) -> None:
        """Drop a pool without hosts, once nothing runs for it."""
        pool = self._pools[pool_id]
        if not pool.hosts and not pool.running:
            del self._pools[pool_id]


def _current(entry: tuple[float, int, _Task]) -> bool:
    """Whether a heap entry is still meant: the task was not moved, queued or removed since."""
    due, _number, task = entry
    return task.place is _Place.WAITING and task.due == due


def _queued(queue: deque[_Task]) -> Iterator[_Task]:
    """Take the tasks off the queue that still are in it."""
    while queue:
        task = queue.popleft()
        if task.place is _Place.QUEUED:
            yield task
