"""A channel of which nothing arrives is told of, whatever the reason, and over restarts; others are not."""

from __future__ import annotations

import json
import logging
import time

import pytest

from support.dispatching import Clock, notices, outbox_states, wait
from support.http_receiver import Receiver
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.notification import Lane
from xentpm_lib.verifier.notify.change import Announcer
from xentpm_lib.verifier.notify.channels import channels_of
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.dispatcher import Dispatcher
from xentpm_lib.verifier.notify.reports import REPORT_AFTER_S, failing_since
from xentpm_lib.verifier.operations import channels, delivering
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.station import Station

HOOK = ChannelConfig("hook", ChannelKind.WEBHOOK)
MARKS = ChannelConfig("marks", ChannelKind.XAPI_MARKS)
NOW = 1_000_000.0
LONG_AGO = NOW - REPORT_AFTER_S


def _events(receiver):
    found = [json.loads(request.body) for request in receiver.got]
    return [(one["event"], one["channel"]) for one in found if "channel" in one]


@pytest.mark.parametrize("status", [400, 409, 410, 413, 415, 422])
def test_a_receiver_that_refuses_everything_is_told_of_once(station, hook, dispatch, make_change, status):
    clock = Clock()
    with Receiver() as refusing, Receiver() as other:
        refusing.answers = [status]
        configs = [hook(refusing), hook(other, "other")]
        for number in range(3):
            told = notices(configs[:1], make_change, State.UNTRUSTED_KEY, host=f"h{number}", start=clock())
            station.store.outbox_add(told)
        dispatcher = dispatch(*configs, clock=clock)
        refusing.wait_for(3)
        assert dispatcher.drain(60.0)
        assert other.got == []
        clock.ahead = 1000.0
        other.wait_for(1)
        clock.ahead = 4 * 86400.0  # all are given up by now
        wait(lambda: outbox_states(station.store) == {"failed": 3})
        assert dispatcher.drain(60.0)
        assert _events(other) == [("channel_failed", "hook")]
        refusing.answers = [200]
        station.store.outbox_add(notices(configs[:1], make_change, State.UNREACHABLE, start=clock()))
        other.wait_for(2)
        assert _events(other) == [("channel_failed", "hook"), ("channel_recovered", "hook")]


def test_one_that_is_refused_while_others_arrive_is_told_of_once_at_most(
    station, hook, dispatch, make_change
):
    clock = Clock()
    with Receiver() as refusing, Receiver() as other:
        configs = [hook(refusing), hook(other, "other")]
        refusing.answers = [422]
        station.store.outbox_add(notices(configs[:1], make_change, State.UNREACHABLE, start=clock()))
        dispatcher = dispatch(*configs, clock=clock)
        refusing.wait_for(1)
        for turn in range(1, 4):
            refusing.answers = [200, 422]  # another one arrives; the first does not
            clock.ahead = turn * 2000.0 - 1990.0
            told = notices(configs[:1], make_change, State.STALE, host=f"h{turn}", start=clock())
            station.store.outbox_add(told)
            dispatcher.drain(60.0)
            clock.ahead = turn * 2000.0
            dispatcher.drain(60.0)
            dispatcher.drain(60.0)
        assert len(set(_events(other))) == len(_events(other)) <= 2


def test_the_end_of_a_trouble_is_told_though_the_watch_was_started_anew(station, hook, dispatch, make_change):
    clock = Clock()
    with Receiver() as failing, Receiver() as other:
        failing.answers = [503]
        configs = [hook(failing, give_up=2000.0), hook(other, "other")]
        station.store.outbox_add(notices(configs[:1], make_change, State.UNTRUSTED_KEY, start=clock()))
        first = dispatch(*configs, clock=clock)
        failing.wait_for(1)
        clock.ahead = 1000.0
        other.wait_for(1)
        assert first.drain(60.0)
        clock.ahead = 3000.0
        wait(lambda: outbox_states(station.store) == {"failed": 1})  # so nothing is left to fail again
        first.close()

        failing.answers = [200]
        station.store.outbox_add(notices(configs[:1], make_change, State.UNREACHABLE, start=clock()))
        second = dispatch(*configs, clock=clock)
        other.wait_for(2)
        assert second.drain(60.0)
        assert _events(other) == [("channel_failed", "hook"), ("channel_recovered", "hook")]
        second.close()
        third = dispatch(*configs, clock=clock)
        assert third.drain(60.0)
        assert len(other.got) == 2


def test_a_pool_that_refuses_marks_is_in_the_log_and_the_list_though_newer_ones_replace_them(
    station, make_change, caplog
):
    class Pool:
        """Its master answers, and does nothing."""

        def set_marks(self, *_marks):
            raise CollectionError("XAPI_ERROR", "the master does not like it")

    clock, announcer = Clock(), Announcer([MARKS])
    station.store.outbox_add(announcer.changed(make_change(State.TRUSTED, old=State.STALE, at=clock())))
    with Dispatcher(station.store, channels_of([MARKS], lambda _pool: Pool()), clock) as dispatcher:
        for minutes in range(0, 30, 10):
            clock.ahead = 60.0 * minutes
            current = make_change(State.TRUSTED, old=State.TRUSTED, at=clock())
            station.store.outbox_add(Announcer([MARKS]).renewed(current, since=0.0))
            assert dispatcher.drain(60.0)
    assert "channel marks (pool" in caplog.text and "delivers nothing: the master does not" in caplog.text
    assert set(outbox_states(station.store, "marks")) == {"pending", "superseded"}
    lanes = station.store.outbox_lanes()
    assert failing_since(MARKS, lanes, clock()) is not None


LANES = [
    (HOOK, [], None),
    (HOOK, [("pending", False, LONG_AGO, None)], None),  # nobody tried
    (HOOK, [("pending", True, LONG_AGO, None)], LONG_AGO),
    (HOOK, [("pending", True, LONG_AGO + 1, None)], None),  # not long ago
    (HOOK, [("pending", True, 5.0, None), ("delivered", False, 1.0, LONG_AGO)], LONG_AGO),
    (HOOK, [("pending", True, 5.0, None), ("delivered", False, 1.0, NOW - 1)], None),
    (HOOK, [("failed", True, 5.0, NOW - 1), ("delivered", False, 1.0, 9.0)], 9.0),
    (HOOK, [("failed", True, 5.0, 8.0), ("delivered", False, 1.0, 9.0)], None),  # something arrived since
    (HOOK, [("failed", False, 5.0, NOW - 1)], None),  # that one only: its host is gone
    (MARKS, [("pending", False, NOW, None), ("superseded", True, 5.0, NOW)], 5.0),
    (MARKS, [("superseded", True, 5.0, NOW)], None),
]


@pytest.mark.parametrize(("config", "rows", "since"), LANES)
def test_since_when_a_channel_fails(config, rows, since):
    lanes = [Lane(config.name, "p", state, failed, 1, *times) for state, failed, *times in rows]
    assert failing_since(config, lanes, NOW) == since


def test_pools_are_looked_at_apart():
    lanes = [
        Lane("marks", "good", "delivered", False, 9, 1.0, NOW),
        Lane("marks", "bad", "pending", True, 1, LONG_AGO, None),
    ]
    assert failing_since(MARKS, lanes, NOW) == LONG_AGO
    hooks = [Lane("hook", lane.pool_id, *_rest(lane)) for lane in lanes]
    assert failing_since(HOOK, hooks, NOW) is None


def _rest(lane):
    return lane.state, lane.failed, lane.count, lane.oldest, lane.finished


@pytest.fixture
def with_hook(tmp_path, secret):
    """Returns a station with a webhook to a receiver, and the channels' configuration."""
    made = []

    def make(receiver):
        hook = f'[[notify]]\nname = "hook"\ntype = "webhook"\nurl = "{receiver.url}"\n'
        text = f'version = 1\n{hook}secret_file = "{secret.file}"\n'
        made.append(Station.init(tmp_path / "with-hook", text))
        return made[-1]

    yield make
    for station in made:
        station.close()


def test_a_command_says_which_channel_fails(with_hook, make_change, caplog):
    caplog.set_level(logging.CRITICAL)
    with Receiver() as receiver:
        receiver.answers = [422]
        station = with_hook(receiver)
        long_ago = time.time() - 2 * REPORT_AFTER_S
        station.store.outbox_add(notices(station.channels, make_change, State.STALE, start=long_ago))
        (told,) = delivering.deliver(station)
        assert told.startswith("The channel hook has delivered nothing since ") and "status 422" in told
        (listed,) = channels.listing(station)
        assert (listed.state, listed.waiting, listed.error) == (
            "failing",
            1,
            told.split(": ", 1)[1][: -len(". See: xentpm-attest channels")],
        )
        assert listed.to_object()["failing_since"] is not None
        (row,) = station.store.outbox_due(1e12)
        station.store.outbox_give_up(row.sequence, "status 422")
        (listed,) = channels.listing(station)
        assert (listed.state, listed.given_up, listed.error) == ("failing", 1, "status 422")
        receiver.answers = [200]
        station.store.outbox_add(notices(station.channels, make_change, State.UNREACHABLE))
        assert delivering.deliver(station) == []
        (listed,) = channels.listing(station)
        assert (listed.state, listed.error) == ("ok", "")


def test_what_only_waits_is_told_in_another_way(with_hook, make_change, caplog):
    caplog.set_level(logging.CRITICAL)
    with Receiver() as receiver:
        receiver.answers = [503]
        station = with_hook(receiver)
        station.store.outbox_add(notices(station.channels, make_change, State.STALE))
        (told,) = delivering.deliver(station)
        assert told.startswith("1 notification waits to be delivered; a watch, and every attest, tries again")
