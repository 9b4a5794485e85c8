"""The dispatcher with a real store and real receivers: at least once, in order, nobody waits for another."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from dataclasses import replace

import pytest

from support.dispatching import PENDING, SECRET, Clock, no_pools, notices, outbox_states, wait
from support.http_receiver import Receiver
from support.smtp_receiver import MailServer
from xentpm_lib.verifier.notify import dispatcher as notify_dispatcher
from xentpm_lib.verifier.notify.change import Announcer
from xentpm_lib.verifier.notify.channels import channels_of
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.delivery import DeliveryError
from xentpm_lib.verifier.notify.dispatcher import Dispatcher
from xentpm_lib.verifier.result import State


def test_what_is_in_the_outbox_is_delivered_once_and_in_order(station, hook, dispatch, make_change):
    with Receiver() as receiver:
        configs = [hook(receiver)]
        states = [State.UNREACHABLE, State.UNTRUSTED_KEY, State.TRUSTED] * 5
        told = notices(configs, make_change, *states)
        station.store.outbox_add(told)
        dispatcher = dispatch(*configs)
        assert dispatcher.drain(60.0)
        station.store.outbox_add(told)  # the same once more
        assert dispatcher.drain(60.0)
        assert [request.body.decode() for request in receiver.got] == [one.body for one in told]
    assert outbox_states(station.store) == {"delivered": 15}


def test_something_new_is_delivered_at_once_when_it_is_woken(
    station, hook, dispatch, make_change, monkeypatch
):
    monkeypatch.setattr(notify_dispatcher, "_POLL_S", 600.0)
    with Receiver() as receiver:
        dispatcher = dispatch(hook(receiver))
        wait(lambda: dispatcher._turns == 1)
        station.store.outbox_add(notices([hook(receiver)], make_change, State.UNREACHABLE))
        dispatcher.wake()
        receiver.wait_for(1)


def test_what_fails_is_tried_again_with_the_same_id(station, hook, dispatch, make_change):
    clock = Clock()
    with Receiver() as receiver:
        receiver.answers = [503, "drop", 200]
        configs = [hook(receiver)]
        station.store.outbox_add(notices(configs, make_change, State.UNREACHABLE))
        dispatcher = dispatch(*configs, clock=clock)
        for ahead in (6.0, 17.0):
            dispatcher.drain(60.0)
            clock.ahead = ahead
        receiver.wait_for(3)
        dispatcher.drain(60.0)
    assert len({request.headers["webhook-id"] for request in receiver.got}) == 1
    assert len({request.body for request in receiver.got}) == 1
    assert outbox_states(station.store) == {"delivered": 1}


def test_a_channel_that_hangs_and_one_that_fails_delay_no_other(station, hook, mail, dispatch, make_change):
    with Receiver() as hanging, Receiver() as failing, Receiver() as good, MailServer() as server:
        hanging.answers, failing.answers = ["hang"], [500]
        configs = [
            hook(hanging, "hanging", timeout=600.0),
            hook(failing, "failing"),
            hook(good, "good"),
            mail(server),
        ]
        for host in range(3):
            notifications = notices(configs, make_change, State.UNREACHABLE, host=f"host-{host}")
            station.store.outbox_add(notifications)
        dispatcher = dispatch(*configs)
        good.wait_for(3)
        wait(lambda: outbox_states(station.store, "mail") == {"delivered": 3}, 60.0)
        assert server.messages[-1]["Subject"].endswith("unreachable")
        assert outbox_states(station.store, "hanging") == {PENDING: 3}
        assert outbox_states(station.store, "failing") == {PENDING: 3}
        assert len(hanging.got) == 1
        start = time.monotonic()
        dispatcher.close()
        assert time.monotonic() - start < 60.0


def test_a_message_that_is_refused_blocks_neither_other_hosts_nor_the_channel(
    station, hook, dispatch, make_change
):
    with Receiver() as receiver:
        receiver.answers = [422, 200]
        configs = [hook(receiver)]
        station.store.outbox_add(notices(configs, make_change, State.UNREACHABLE, State.TRUSTED, host="a"))
        station.store.outbox_add(notices(configs, make_change, State.UNREACHABLE, host="b"))
        dispatch(*configs).drain(60.0)
        hosts = [json.loads(request.body)["host"]["uuid"] for request in receiver.got]
    assert hosts == ["a", "b"]  # and the second of a waits for its first
    assert outbox_states(station.store) == {"delivered": 1, PENDING: 2}


def test_it_gives_up_after_the_time_and_says_so(station, hook, dispatch, make_change, caplog):
    clock = Clock()
    with Receiver() as receiver:
        receiver.answers = [500]
        configs = [hook(receiver, give_up=600.0)]
        station.store.outbox_add(notices(configs, make_change, State.UNREACHABLE))
        dispatcher = dispatch(*configs, clock=clock)
        receiver.wait_for(1)
        dispatcher.drain(60.0)
        assert outbox_states(station.store) == {PENDING: 1}
        clock.ahead = 700.0
        wait(lambda: outbox_states(station.store) == {"failed": 1})
        receiver.answers = [200]
        station.store.outbox_add(notices(configs, make_change, State.UNTRUSTED_KEY, start=clock()))
        dispatcher.drain(60.0)
    assert outbox_states(station.store) == {"failed": 1, "delivered": 1}
    assert "gave up" in caplog.text and SECRET not in caplog.text


def test_a_channel_that_delivers_nothing_is_told_of_once_and_its_recovery_too(
    station, hook, mail, dispatch, make_change
):
    clock = Clock()
    with Receiver() as failing, Receiver() as other, MailServer() as server:
        failing.answers = [503]
        configs = [hook(failing), hook(other, "other"), mail(server)]
        station.store.outbox_add(notices(configs[:1], make_change, State.UNREACHABLE))
        first = dispatch(*configs, clock=clock)
        failing.wait_for(1)
        assert first.drain(60.0)
        assert other.got == []
        clock.ahead = 1000.0
        (request,) = other.wait_for(1)
        body = json.loads(request.body)
        assert (body["event"], body["channel"]) == ("channel_failed", "hook")
        assert "status 503" in body["summary"]
        assert first.drain(60.0)  # else its mail is still on its way when the second begins
        first.close()

        second = dispatch(*configs, clock=clock)  # a restart does not tell it again
        clock.ahead = 3000.0
        failing.wait_for(3)
        assert second.drain(60.0)
        assert len(other.got) == 1
        failing.answers = [200]
        clock.ahead = 9000.0
        body = json.loads(other.wait_for(2)[1].body)
        assert (body["event"], body["channel"]) == ("channel_recovered", "hook")
        wait(lambda: len(server.messages) == 2)
    subjects = [message["Subject"] for message in server.messages]
    assert subjects[0].startswith("The notification channel hook cannot deliver")
    assert subjects[1] == "The notification channel hook delivers again"


def test_a_mistake_in_a_channel_stops_neither_it_nor_the_others(station, hook, make_change, caplog):
    class Broken:
        """A channel with a mistake in it."""

        def __init__(self, config):
            self.config, self.left = config, 1

        def deliver(self, notification):
            if self.left:
                self.left -= 1
                raise ZeroDivisionError

        def close(self):
            pass

    clock = Clock()
    config = ChannelConfig("broken", ChannelKind.WEBHOOK)
    station.store.outbox_add(notices([config], make_change, State.UNREACHABLE))
    with Dispatcher(station.store, [Broken(config)], clock) as dispatcher:
        dispatcher.drain(60.0)
        assert outbox_states(station.store, "broken") == {PENDING: 1}
        clock.ahead = 10.0
        dispatcher.drain(60.0)
    assert outbox_states(station.store, "broken") == {"delivered": 1}
    assert "ZeroDivisionError" in caplog.text


def test_only_the_newest_marks_are_set_and_pools_do_not_wait_for_one_another(station, make_change):
    class Pool:
        """Remembers what is done; hangs until it is let go."""

        def __init__(self):
            self.done, self.go = [], threading.Event()

        def set_marks(self, host, add, remove, keys, gone):
            assert self.go.wait(100)
            self.done.append((host, tuple(add)))

    dead, alive = Pool(), Pool()
    alive.go.set()
    config = ChannelConfig("marks", ChannelKind.XAPI_MARKS)
    channels = channels_of([config], {"dead": dead, "alive": alive}.__getitem__)
    announcer = Announcer([config])
    old = State.STALE
    for number, state in enumerate([State.TRUSTED, State.UNREACHABLE, State.UNTRUSTED_KEY]):
        for pool in ("dead", "alive"):
            change = make_change(state, old=old, at=time.time() + number, host=f"in-{pool}", pool=pool)
            station.store.outbox_add(announcer.changed(change))
        old = state
    with Dispatcher(station.store, channels) as dispatcher:
        wait(lambda: alive.done == [("in-alive", ("xentpm:untrusted",))])
        assert dead.done == []
        dead.go.set()
        assert dispatcher.drain(60.0)
    assert dead.done == [("in-dead", ("xentpm:untrusted",))]


def test_an_altered_row_is_not_sent(station, hook, dispatch, make_change):
    with Receiver() as receiver:
        configs = [hook(receiver)]
        told = notices(configs, make_change, State.UNTRUSTED_KEY, State.TRUSTED)
        station.store.outbox_add(told)
        with sqlite3.connect(station.home / "store.sqlite") as database:
            database.execute(
                "UPDATE outbox SET body = replace(body, 'untrusted', 'trusted') WHERE sequence = 1"
            )
        dispatch(*configs).drain(60.0)
        assert [request.body.decode() for request in receiver.got] == [told[1].body]


def test_a_delivery_error_is_the_only_error_of_a_channel(hook, make_notification):
    with Receiver() as receiver:
        pass
    (channel, _) = channels_of([hook(receiver)], no_pools)
    with pytest.raises(DeliveryError):
        channel.deliver(make_notification())


@pytest.mark.timeout(600)
def test_a_long_backlog_is_delivered_soon(station, hook, dispatch, make_change):
    with Receiver() as receiver:
        configs = [hook(receiver)]
        told = []
        for host in range(1000):
            told += notices(configs, make_change, State.UNREACHABLE, host=f"host-{host}")
        station.store.outbox_add(told)
        dispatcher = dispatch(*configs)
        receiver.wait_for(1000, 300.0)
        assert dispatcher.drain(30.0)
    assert outbox_states(station.store) == {"delivered": 1000}


def test_people_get_one_mail_about_a_whole_pool_and_no_hundred(station, mail, dispatch, make_change):
    clock = Clock()
    with MailServer() as server:
        configs = [mail(server)]
        told = []
        for host in range(64):
            told += notices(configs, make_change, State.UNREACHABLE, host=f"host-{host}")
        told += notices(configs, make_change, State.UNTRUSTED_KEY, host="host-99")
        station.store.outbox_add(told)
        dispatcher = dispatch(*configs, clock=clock)
        assert dispatcher.drain(60.0)
        (message,) = server.messages
        assert message["Subject"] == "65 hosts: 1 untrusted-key, 64 unreachable"
        text = message.get_body(("plain", "html")).get_content()
        assert text.count("is unreachable") >= 64 and text.count("NOT trusted") >= 1
        later = notices(configs, make_change, State.UNTRUSTED_KEY, State.STALE, host="host-1")
        station.store.outbox_add(later)
        assert dispatcher.drain(60.0)
        assert len(server.messages) == 1  # a pause between two mails
        clock.ahead = 31.0
        wait(lambda: len(server.messages) == 2)
    assert server.messages[1]["Subject"] == "1 host: 1 stale"
    wait(lambda: outbox_states(station.store, "mail") == {"delivered": 67})


def test_a_group_that_fails_is_one_failure(station, mail, dispatch, make_change):
    clock = Clock()
    with MailServer("refuse") as server:
        configs = [mail(server)]
        told = []
        for host in range(5):
            told += notices(configs, make_change, State.UNREACHABLE, host=f"host-{host}")
        station.store.outbox_add(told)
        dispatcher = dispatch(*configs, clock=clock)
        assert dispatcher.drain(60.0)
        pending = station.store.outbox_due(1e12, 10, "mail")
        assert [one.attempts for one in pending] == [1] * 5
        assert max(one.next_at for one in pending) < clock() + 6  # the first pause, not the fifth
        server.mode = "take"
        clock.ahead = 10.0
        wait(lambda: outbox_states(station.store, "mail") == {"delivered": 5})
    assert len(server.messages) == 1


def test_what_cannot_be_read_is_given_up_and_the_rest_of_its_group_mailed(
    station, mail, dispatch, make_change
):
    with MailServer() as server:
        configs = [mail(server)]
        told = [
            one
            for host in ("host-1", "host-2", "host-3")
            for one in notices(configs, make_change, State.UNREACHABLE, host=host)
        ]
        station.store.outbox_add([told[0], replace(told[1], body='{"version": 99}'), told[2]])
        dispatcher = dispatch(*configs, clock=(clock := Clock()))
        assert dispatcher.drain(60.0)
        clock.ahead = 31.0  # a pause between two mails
        wait(lambda: outbox_states(station.store, "mail") == {"delivered": 2, "failed": 1})
        assert [message["Subject"] for message in server.messages] == ["2 hosts: 2 unreachable"]
