"""Threads: started on demand, used again, ended when idle."""

import threading
import time

from xentpm_lib.verifier.fleet.workers import Workers


class _Work:
    """Notes who did what; a job is an Event to wait for, or a number."""

    def __init__(self, idle_s=0.05):
        self.begun, self.done = [], []
        self.lock = threading.Lock()
        self.workers = Workers(self.work, idle_s)

    def work(self, job):
        self.begun.append(job)
        if isinstance(job, threading.Event):
            assert job.wait(100)
        elif isinstance(job, Exception):
            raise job
        with self.lock:
            self.done.append((job, threading.get_ident()))
        return job - 1 if isinstance(job, int) and job > 1 else None


def _until(true, limit=60):
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_thread_does_one_job_after_the_other():
    work = _Work()
    work.workers.run(3)
    _until(lambda: len(work.done) == 3)
    assert [job for job, _ in work.done] == [3, 2, 1]
    assert len({thread for *_, thread in work.done}) == 1


def test_an_idle_thread_is_used_again_and_ends_after_a_while():
    work = _Work(idle_s=600)
    for job in (1, 1):
        work.workers.run(job)
        _until(lambda: work.workers._idle)
    assert len({thread for *_, thread in work.done}) == 1
    work.workers._idle_s = 0.05
    work.workers.run(1)
    _until(lambda: not len(work.workers))
    assert not work.workers._idle


def test_jobs_that_hang_hold_up_no_other():
    work, hang = _Work(), threading.Event()
    for _ in range(4):
        work.workers.run(hang)
    work.workers.run(50)
    _until(lambda: len(work.done) == 50)
    assert len(work.workers) >= 4
    hang.set()
    assert work.workers.close(60)


def test_closing_ends_what_is_idle_waits_for_the_rest_and_takes_nothing_more():
    work, busy = _Work(idle_s=60), threading.Event()
    work.workers.run(1)
    work.workers.run(busy)
    _until(lambda: len(work.done) == 1 and busy in work.begun)
    started = time.monotonic()
    assert not work.workers.close(0.2)
    assert time.monotonic() - started < 60
    work.workers.run(1)
    busy.set()
    assert work.workers.close(60)
    assert len(work.done) == 2


def test_a_thread_whose_work_fails_ends_and_is_not_counted(caplog):
    work = _Work()
    work.workers.run(RuntimeError("boom"))
    _until(lambda: not len(work.workers))
    assert "boom" in caplog.text


def test_no_job_is_lost_between_idle_and_ended():
    """Jobs come just when threads end."""
    work = _Work(idle_s=0.001)
    for _ in range(400):
        work.workers.run(1)
        time.sleep(0.001)
    _until(lambda: len(work.done) == 400)
    assert work.workers.close(60)
