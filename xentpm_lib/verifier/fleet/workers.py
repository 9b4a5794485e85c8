"""Threads that do jobs: started when a job has none, ended when there was none for them for a while.

The thread that became idle last is used first, so that there are no more of them than jobs at once. How many
that are is the schedule's business: a pool that hangs holds only the threads of its own jobs.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["IDLE_S", "Workers"]

IDLE_S = 10.0
"""A thread that had no job for this long ends."""

_LOG = logging.getLogger(__name__)
_Job = TypeVar("_Job")


class Workers(Generic[_Job]):
    """The threads. work: does a job and gives the next one, or None. It must not raise."""

    def __init__(
        self,
        work: Callable[[_Job], _Job | None],
        idle_s: float = IDLE_S,
    ) -> None:
        self._work = work
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: list[_Worker[_Job]] = []
        self._alive = 0
        self._none_left = threading.Condition(self._lock)
        self._closed = False

    def __len__(self) -> int:
        return self._alive

    def run(self, job: _Job) -> None:
        """Do a job in the idle thread that was used last, or in a new one."""
        with self._lock:
            if self._closed:
                return
            if self._idle:
                worker = self._idle.pop()
            else:
                worker = _Worker(self)
                self._alive += 1
                threading.Thread(target=worker.loop, name="worker", daemon=True).start()
            worker.jobs.put(job)

    def close(self, timeout_s: float) -> bool:
        """End the idle threads now and the others after their job. Whether all did within the time."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._closed = True
            for worker in self._idle:
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
            self._idle.append(worker)
        try:
            return worker.jobs.get(timeout=self._idle_s)
        except queue.Empty:
            pass
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                return None
        return worker.jobs.get()  # somebody gave it one at the last moment

    def _ended(self) -> None:
        with self._lock:
            self._alive -= 1
            self._none_left.notify_all()


class _Worker(Generic[_Job]):
    """One thread's side."""

    def __init__(self, workers: Workers[_Job]) -> None:
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._workers = workers

    def loop(self) -> None:
        """Do jobs until there are none."""
        workers = self._workers
        try:
            job = self.jobs.get()
            while job is not None and not workers._closed:
                job = workers._work(job) or workers._next(self)
        except Exception:
            _LOG.exception("a thread failed")
        finally:
            workers._ended()
