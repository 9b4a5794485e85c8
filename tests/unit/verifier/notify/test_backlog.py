"""The order of deliveries: hosts' changes in order, lanes apart, and what waits for what."""

from __future__ import annotations

import pytest

from xentpm_lib.verifier.notification import Notification, Pending
from xentpm_lib.verifier.notify.backlog import MAX_BACKLOG, Backlog, pause_after
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind

HOOK = ChannelConfig("hook", ChannelKind.WEBHOOK, give_up=1000.0)
MARKS = ChannelConfig("marks", ChannelKind.XAPI_MARKS)
MESSAGES = ChannelConfig("messages", ChannelKind.XAPI_MESSAGE)


def _pending(sequence, host="h", pool="p", created=0.0, **words):
    return Pending(sequence, Notification(f"id{sequence}", "c", host, pool, created, "{}"), **words)


def _backlog(config, *pending):
    backlog = Backlog(config)
    backlog.begin()
    backlog.add(pending)
    return backlog


def _sequence(pending):
    return None if pending is None else pending.sequence


def test_a_channel_delivers_one_after_the_other():
    backlog = _backlog(HOOK, _pending(2), _pending(1), _pending(3, host="other"))
    order = []
    while (one := backlog.next(0.0)) is not None:
        assert backlog.next(0.0) is None  # its lane is busy
        order.append(one.sequence)
        backlog.finished(one, delivered=True)
    assert order == [1, 2, 3]


def test_pools_do_not_wait_for_one_another():
    backlog = _backlog(MESSAGES, _pending(1, "a", "p"), _pending(2, "b", "p"), _pending(3, "c", "q"))
    first, second = backlog.next(0.0), backlog.next(0.0)
    assert (_sequence(first), _sequence(second), backlog.next(0.0)) == (1, 3, None)
    backlog.failed(first, "down", True, 50.0)
    assert backlog.next(49.0) is None
    backlog.finished(second, delivered=True)
    assert _sequence(backlog.next(49.0)) is None
    assert backlog.next(50.0).notification.pool_id == "p"


def test_pools_in_trouble_never_take_all_threads():
    backlog = Backlog(MESSAGES, troubled_at_once=2)
    backlog.begin()
    backlog.add([_pending(n, f"h{n}", f"dead{n}") for n in range(1, 9)])
    for _ in range(8):
        backlog.failed(backlog.next(0.0), "down", True, 5.0)
    backlog.begin()
    backlog.add([_pending(n, f"h{n}", f"good{n}") for n in range(9, 12)])
    order = [_sequence(backlog.next(10.0)) for _ in range(6)]
    assert order == [9, 10, 11, 1, 2, None]


def test_one_that_is_refused_holds_back_its_host_only():
    backlog = _backlog(HOOK, _pending(1, "a"), _pending(2, "a"), _pending(3, "b"))
    backlog.failed(backlog.next(0.0), "status 422", False, 10.0)
    assert _sequence(backlog.next(5.0)) == 3
    (trouble,) = backlog.troubles.values()  # to be told of, if nothing else arrives
    assert (trouble.wide, trouble.error) == (False, "status 422")


def test_one_that_breaks_the_receiver_does_not_block_the_others_for_ever():
    backlog = _backlog(HOOK, _pending(1, "a"), _pending(2, "b"))
    backlog.failed(backlog.next(0.0), "status 500", True, 5.0)
    second = backlog.next(5.0)
    assert second.sequence == 2
    trouble = backlog.finished(second, delivered=True)
    assert (trouble.cause, trouble.attempts) == ("id1", 1)
    assert backlog.next(5.0).attempts == 1


def test_what_is_about_no_host_waits_for_nothing_but_its_lane():
    backlog = _backlog(HOOK, _pending(1, ""), _pending(2, ""))
    backlog.failed(backlog.next(0.0), "status 422", False, 10.0)
    assert _sequence(backlog.next(0.0)) == 2


def test_marks_that_a_newer_one_overwrites_are_not_set():
    backlog = Backlog(MARKS)
    backlog.begin()
    pointless = backlog.add([_pending(1, "a"), _pending(2, "b"), _pending(3, "a")])
    assert [one.sequence for one in pointless] == [1]
    flying = backlog.next(0.0)
    assert flying.sequence == 2
    backlog.begin()
    assert backlog.add([_pending(4, "b")]) == []  # it is being set: the newer one comes after it
    backlog.finished(flying, delivered=True)
    assert sorted(_sequence(one) for one in backlog._waiting.values()) == [3, 4]


def test_what_was_finished_while_the_outbox_was_read_is_not_taken_in_again():
    backlog = _backlog(HOOK, _pending(1))
    one = backlog.next(0.0)
    backlog.begin()
    backlog.finished(one, delivered=True)
    backlog.add([one])
    assert backlog.next(0.0) is None
    assert len(backlog) == 0


def test_the_backlog_is_bounded():
    backlog = _backlog(HOOK, *(_pending(n) for n in range(1, MAX_BACKLOG + 1)))
    assert backlog.room == 0
    backlog.finished(backlog.next(0.0), delivered=True)
    assert (backlog.room, backlog.last_sequence) == (1, MAX_BACKLOG)


def test_after_a_restart_the_trouble_is_known():
    backlog = _backlog(HOOK, _pending(7, created=3.0, attempts=2, next_at=90.0, error="refused"))
    (trouble,) = backlog.troubles.values()
    assert (trouble.cause, trouble.since, trouble.attempts, trouble.error) == ("id7", 3.0, 2, "refused")
    assert backlog.next(89.0) is None
    assert _sequence(backlog.next(90.0)) == 7


def test_too_old_ones_are_given_up_where_nothing_arrives_and_tried_where_it_does():
    backlog = _backlog(HOOK, _pending(1, "a", created=0.0), _pending(2, "b", created=500.0))
    assert backlog.expired(5000.0) == []  # nobody tried yet
    backlog.failed(backlog.next(900.0), "down", True, 950.0)
    assert [one.sequence for one in backlog.expired(1000.0)] == [1]
    assert [one.sequence for one in backlog.expired(1500.0)] == [2]
    assert len(backlog) == 0


def test_trouble_is_reported_once():
    backlog = _backlog(HOOK, _pending(1))
    backlog.failed(backlog.next(0.0), "down", True, 5.0)
    backlog.reported(backlog.troubles[""])
    backlog.failed(backlog.next(5.0), "down", True, 15.0)
    assert backlog.troubles[""].reported
    assert backlog.troubles[""].attempts == 2


@pytest.mark.parametrize(("attempts", "pause"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (1000, 600)])
def test_the_pauses(attempts, pause):
    assert pause_after(attempts) == pause
    assert pause_after(attempts, asked=3000.0) == 3000.0
    assert pause_after(attempts, asked=1e9) == 3600.0


def test_several_go_together_but_never_before_an_earlier_one_of_their_host():
    backlog = _backlog(
        HOOK,
        _pending(1, "a"),
        _pending(2, "b", next_at=50.0),
        _pending(3, "b"),
        _pending(4, "c"),
        _pending(5, ""),
        _pending(6, "a"),
    )
    first = backlog.next(0.0)
    assert [one.sequence for one in backlog.together(first, 10, 0.0)] == [1, 4, 5, 6]
    assert [one.sequence for one in backlog.together(first, 2, 0.0)] == [1, 4]
    for one in backlog.together(first, 10, 0.0):
        backlog.finished(one, delivered=True)
    backlog.pause(first, 30.0)
    assert backlog.next(29.0) is None and not backlog.due(29.0)
    assert _sequence(backlog.next(50.0)) == 2
