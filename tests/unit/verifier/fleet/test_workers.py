"""Threads of pools: started on demand, ended when idle, never of another pool."""

import threading
import time

from xentpm_lib.verifier.fleet.workers import Workers


class _Work:
    """Notes who did what; a job is an Event to wait for, or a number."""

    def __init__(self, idle_s=0.05):
        self.done = []
        self.lock = threading.Lock()
        self.workers = Workers(self.work, idle_s)

    def work(self, pool_id, job):
        if isinstance(job, threading.Event):
            assert job.wait(20)
        elif isinstance(job, Exception):
            raise job
        with self.lock:
            self.done.append((pool_id, job, threading.get_ident()))
        return job - 1 if isinstance(job, int) and job > 1 else None


def _until(true, limit=10):
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_thread_does_the_jobs_of_its_pool_one_after_the_other():
    work = _Work()
    work.workers.run("a", 3)
    _until(lambda: len(work.done) == 3)
    assert [job for _, job, _ in work.done] == [3, 2, 1]
    assert len({thread for *_, thread in work.done}) == 1


def test_an_idle_thread_is_used_again_and_ends_after_a_while():
    work = _Work(idle_s=0.3)
    for job in (1, 1):
        work.workers.run("a", job)
        _until(lambda: work.workers._idle.get("a"))
    assert len({thread for *_, thread in work.done}) == 1
    _until(lambda: not len(work.workers))
    assert not work.workers._idle


def test_a_pool_that_hangs_holds_only_its_own_threads():
    work, hang = _Work(), threading.Event()
    for _ in range(4):
        work.workers.run("bad", hang)
    work.workers.run("good", 50)
    _until(lambda: len(work.done) == 50)
    assert len(work.workers) >= 4
    hang.set()
    assert work.workers.close(10)


def test_closing_ends_what_is_idle_waits_for_the_rest_and_takes_nothing_more():
    work, busy = _Work(idle_s=60), threading.Event()
    work.workers.run("a", 1)
    work.workers.run("b", busy)
    _until(lambda: len(work.done) == 1)
    started = time.monotonic()
    assert not work.workers.close(0.2)
    assert time.monotonic() - started < 5
    work.workers.run("a", 1)
    busy.set()
    assert work.workers.close(10)
    assert len(work.done) == 2


def test_a_thread_whose_work_fails_ends_and_is_not_counted(caplog):
    work = _Work()
    work.workers.run("a", RuntimeError("boom"))
    _until(lambda: not len(work.workers))
    assert "boom" in caplog.text


def test_no_job_is_lost_between_idle_and_ended():
    """Jobs come just when threads end."""
    work = _Work(idle_s=0.001)
    for _ in range(400):
        work.workers.run("a", 1)
        time.sleep(0.001)
    _until(lambda: len(work.done) == 400)
    assert work.workers.close(10)
