"""Threads that do the jobs of one pool each, so that a pool that hangs holds only its own.

A thread is started when a job has none, does job after job of its pool, and ends when there was none for a
while. How many there are is the schedule's business.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["IDLE_S", "Workers"]

IDLE_S = 10.0
"""A thread that had no job for this long ends."""

_LOG = logging.getLogger(__name__)
_Job = TypeVar("_Job")


class Workers(Generic[_Job]):
    """The threads of all pools.

    work: does a job and gives the pool's next one, or None. It must not raise.
    """

    def __init__(
        self,
        work: Callable[[str, _Job], _Job | None],
        idle_s: float = IDLE_S,
    ) -> None:
        self._work = work
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: defaultdict[str, list[_Worker[_Job]]] = defaultdict(list)
        self._alive = 0
        self._none_left = threading.Condition(self._lock)
        self._closed = False

    def __len__(self) -> int:
        return self._alive

    def run(self, pool_id: str, job: _Job) -> None:
        """Do a job in the pool's thread that was used last of those that are idle, or in a new one."""
        with self._lock:
            if self._closed:
                return
            idle = self._idle[pool_id]
            worker = idle.pop() if idle else None
            if worker is None:
                worker = _Worker(self, pool_id)
                self._alive += 1
                threading.Thread(target=worker.loop, name=f"pool {pool_id[:8]}", daemon=True).start()
            worker.jobs.put(job)

    def close(self, timeout_s: float) -> bool:
        """End the idle threads now and the others after their job. Whether all did within the time."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._closed = True
            for idle in self._idle.values():
                for worker in idle:
                    worker.jobs.put(None)
            self._idle.clear()
            while self._alive:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._none_left.wait(left)
        return True

    # What the threads call.

    def _next(self, worker: _Worker[_Job]) -> _Job | None:
        """The job that somebody gave to the worker; None when it is to end."""
        with self._lock:
            if self._closed:
                return None
            self._idle[worker.pool_id].append(worker)
        try:
            return worker.jobs.get(timeout=self._idle_s)
        except queue.Empty:
            pass
        with self._lock:
            idle = self._idle[worker.pool_id]
            if worker in idle:
                idle.remove(worker)
                return None
        return worker.jobs.get()  # somebody gave it one at the last moment

    def _ended(self, pool_id: str) -> None:
        with self._lock:
            self._alive -= 1
            if not self._idle.get(pool_id):
                self._idle.pop(pool_id, None)
            self._none_left.notify_all()


class _Worker(Generic[_Job]):
    """One thread's side."""

    def __init__(self, workers: Workers[_Job], pool_id: str) -> None:
        self.pool_id = pool_id
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._workers = workers

    def loop(self) -> None:
        """Do jobs until there are none."""
        workers = self._workers
        try:
            job = self.jobs.get()
            while job is not None:
                job = workers._work(self.pool_id, job) or workers._next(self)
        except Exception:
            _LOG.exception("a thread of pool %s failed", self.pool_id)
        finally:
            workers._ended(self.pool_id)
