"""The schedule: turns, tries, jitter, and that no pool takes anything from another. Time is a number here."""

from dataclasses import replace
from random import Random

import pytest

from xentpm_lib.verifier.fleet.schedule import Limits, Outcome, Schedule
from xentpm_lib.verifier.policy.model import Timing

TIMING = Timing(period=300, jitter=0.1, lease=900, evidence_age=60, call_timeout=60, attempts=3, backoff=5)
EXACT = replace(TIMING, jitter=0)


def _schedule(hosts=1, pools=1, timing=EXACT, limits=None, due=0.0):
    schedule = Schedule(Random(1), limits or Limits())
    for pool in range(pools):
        for host in range(hosts):
            schedule.put(f"p{pool}h{host}", f"p{pool}", timing, due)
    return schedule


def _take_all(schedule, now, pool="p0"):
    schedule.release(now)
    jobs = []
    while (job := schedule.take(pool)) is not None:
        jobs.append(job)
    return jobs


def _turn(schedule, now, outcome=Outcome.ANSWERED, pool="p0", **more):
    schedule.release(now)
    job = schedule.take(pool)
    assert job is not None
    return schedule.finished(job, outcome, now, **more)


def test_a_host_is_asked_when_due_and_not_before():
    schedule = _schedule(due=10)
    assert schedule.next_due() == 10
    assert not schedule.release(9.9)
    assert schedule.take("p0") is None
    assert schedule.release(10) == {"p0"}
    assert schedule.take("p0").attempt == 1
    assert schedule.take("p0") is None


def test_turns_do_not_drift():
    schedule = _schedule(due=10)
    schedule.release(10)
    job = schedule.take("p0")
    schedule.finished(job, Outcome.ANSWERED, 14)
    assert schedule.next_due() == 310


def test_a_turn_that_took_longer_than_the_period_is_followed_at_once():
    schedule = _schedule(due=0)
    schedule.release(0)
    schedule.finished(schedule.take("p0"), Outcome.ANSWERED, 1000)
    assert schedule.next_due() == 1000


def test_jitter_spreads_the_next_turns_within_its_part_of_the_period():
    schedule = _schedule(hosts=500, timing=TIMING)
    for _ in range(500):
        _turn(schedule, 0)
    dues = sorted(task.due for task in schedule._tasks.values())
    assert 270 <= dues[0] < 275
    assert 325 < dues[-1] <= 330
    assert len(set(dues)) == 500


def test_tries_of_a_turn_back_off_and_the_last_one_is_final():
    schedule = _schedule()
    (ended,) = _turn(schedule, 0, Outcome.HOST_FAILED)
    assert not ended.final and schedule.next_due() == 5
    (ended,) = _turn(schedule, 5, Outcome.HOST_FAILED)
    assert not ended.final and schedule.next_due() == 15
    schedule.release(15)
    job = schedule.take("p0")
    assert job.attempt == 3
    (ended,) = schedule.finished(job, Outcome.HOST_FAILED, 15)
    assert ended.final
    assert schedule.next_due() == 300, "the turn began at 0"


def test_an_answer_ends_the_turn_and_the_next_one_has_all_its_tries():
    schedule = _schedule()
    _turn(schedule, 0, Outcome.HOST_FAILED)
    (ended,) = _turn(schedule, 5)
    assert ended.final
    assert not _turn(schedule, 300, Outcome.HOST_FAILED)[0].final


def test_what_is_permanent_is_final_at_once():
    assert _turn(_schedule(), 0, Outcome.HOST_FAILED, permanent=True)[0].final


def test_only_so_many_hosts_of_a_pool_at_once():
    schedule = _schedule(hosts=10, limits=Limits(per_pool=4))
    jobs = _take_all(schedule, 0)
    assert len(jobs) == 4 and schedule.running == 4 and schedule.queued == 6
    schedule.finished(jobs[0], Outcome.ANSWERED, 1)
    assert len(_take_all(schedule, 1)) == 1


def test_hanging_pools_take_nothing_from_another():
    """Fifty pools hold all they can get; the last one is asked about one host all the same."""
    schedule = _schedule(hosts=10, pools=51, limits=Limits(per_pool=4, extra=20))
    schedule.release(0)
    hanging = [job for pool in range(50) for job in _take_all(schedule, 0, f"p{pool}")]
    assert len(hanging) == 50 + 20
    (job,) = _take_all(schedule, 0, "p50")
    for _ in range(9):
        schedule.finished(job, Outcome.ANSWERED, 1)
        (job,) = _take_all(schedule, 1, "p50")
    schedule.finished(hanging[0], Outcome.ANSWERED, 2)
    for job in hanging[1:4]:
        schedule.finished(job, Outcome.ANSWERED, 2)
    assert len(_take_all(schedule, 2, "p0")) == 4, "what was given back can be had again"


def test_what_a_try_shows_of_a_pool_counts_for_all_its_queued_hosts():
    schedule = _schedule(hosts=64, limits=Limits(per_pool=4))
    jobs = _take_all(schedule, 0)
    ended = schedule.finished(jobs[0], Outcome.POOL_FAILED, 10)
    assert len(ended) == 61 and not any(one.final for one in ended)
    assert schedule.pools_in_trouble == ("p0",)
    for job in jobs[1:]:
        assert len(schedule.finished(job, Outcome.POOL_FAILED, 10)) == 1
    (probe,) = _take_all(schedule, 15)
    assert probe.attempt == 2, "one host at a time"
    assert len(schedule.finished(probe, Outcome.POOL_FAILED, 16)) == 64
    (probe,) = _take_all(schedule, 30)
    ended = schedule.finished(probe, Outcome.POOL_FAILED, 30)
    assert len(ended) == 64 and all(one.final for one in ended)


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.HOST_FAILED])
def test_a_pool_whose_master_answers_is_out_of_trouble(outcome):
    schedule = _schedule(hosts=8)
    _turn(schedule, 0, Outcome.POOL_FAILED)
    (probe,) = _take_all(schedule, 5)
    schedule.finished(probe, outcome, 5)
    assert not schedule.pools_in_trouble
    assert len(_take_all(schedule, 5)) == 4


def test_a_removed_host_is_not_asked_and_what_ran_for_it_does_not_count():
    schedule = _schedule(hosts=3, limits=Limits(per_pool=1))
    schedule.release(0)
    running = schedule.take("p0")
    for host in ("p0h0", "p0h1", "p0h2", "nobody"):
        schedule.remove(host)
    assert schedule.finished(running, Outcome.POOL_FAILED, 1) == ()
    assert schedule.next_due() is None and len(schedule) == 0
    assert schedule.take("p0") is None
    assert not schedule._pools, "nor is its pool kept"


def test_a_host_that_is_put_again_begins_anew():
    schedule = _schedule()
    schedule.release(0)
    old = schedule.take("p0")
    schedule.put("p0h0", "p0", EXACT, 1)
    new = _take_all(schedule, 1)
    assert [job.attempt for job in new] == [1]
    assert schedule.finished(old, Outcome.ANSWERED, 2) == ()
    assert len(schedule.finished(new[0], Outcome.ANSWERED, 2)) == 1
    assert schedule.running == 0 and schedule.next_due() == 301


def test_hurry_brings_a_turn_forward():
    schedule = _schedule(due=250)
    schedule.hurry("p0h0", 3)
    schedule.hurry("nobody", 3)
    assert schedule.next_due() == 3


def test_hurry_while_a_host_is_asked_means_once_more():
    schedule = _schedule()
    schedule.release(0)
    job = schedule.take("p0")
    schedule.hurry("p0h0", 1)
    assert schedule.finished(job, Outcome.ANSWERED, 2)[0].final
    assert schedule.next_due() == 2


def test_a_shorter_period_counts_at_once():
    schedule = _schedule(due=86400)
    schedule.retime("p0h0", replace(EXACT, period=60), 0)
    assert 0 <= schedule.next_due() <= 60
    schedule.retime("p0h0", EXACT, 0)
    assert schedule.next_due() <= 60


def test_hosts_of_a_pool_are_asked_in_the_order_of_their_times():
    schedule = Schedule(Random(1), Limits(per_pool=1))
    for number in (3, 1, 2):
        schedule.put(f"h{number}", "p", EXACT, number)
    schedule.release(5)
    seen = []
    for _ in range(3):
        job = schedule.take("p")
        seen.append(job.host_id)
        schedule.finished(job, Outcome.ANSWERED, 5)
    assert seen == ["h1", "h2", "h3"]
    assert "h1" in schedule
