"""The dispatcher while it is killed, and while its store fails: nothing is lost, nothing is told twice."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest

from support.dispatching import PENDING, Clock, notices, outbox_states, wait
from support.http_receiver import Receiver
from xentpm_lib.verifier.result import State

PROGRAM = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from xentpm_lib.verifier.notify.channels import channels_of
    from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
    from xentpm_lib.verifier.notify.dispatcher import Dispatcher
    from xentpm_lib.verifier.secret import SecretRef
    from xentpm_lib.verifier.station import Station

    home, url, secret = sys.argv[1:]
    with Station.open(Path(home)) as station:
        hook = ChannelConfig("hook", ChannelKind.WEBHOOK, url=url, secret=SecretRef(file=secret))
        with Dispatcher(station.store, channels_of([hook], None)):
            print("ready", flush=True)
            time.sleep(60)
""")


def _process(station, receiver, secret):
    words = [sys.executable, "-c", PROGRAM, str(station.home), receiver.url, secret.file]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_a_kill_between_delivery_and_acknowledgement_loses_nothing(
    station, hook, secret, make_change, tmp_path
):
    """The receiver has it but the process was killed before it knew: it comes again, with the same id."""
    with Receiver() as receiver:
        receiver.answers = ["hang", 200]  # it is taken, and no answer goes back
        (told,) = notices([hook(receiver)], make_change, State.UNTRUSTED_KEY)
        station.store.outbox_add([told])
        first = _process(station, receiver, secret)
        receiver.wait_for(1)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert outbox_states(station.store) == {PENDING: 1}
        second = _process(station, receiver, secret)
        receiver.wait_for(2)
        wait(lambda: outbox_states(station.store) == {"delivered": 1})
        second.kill()
        second.wait()
        first.stdout.close()
        second.stdout.close()
    assert [request.headers["webhook-id"] for request in receiver.got] == [told.notification_id] * 2
    assert [request.body.decode() for request in receiver.got] == [told.body] * 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_random_kills_lose_nothing(station, hook, secret, make_change):
    """However often it is killed, every notification arrives, and each host's in order."""
    with Receiver() as receiver:
        configs = [hook(receiver)]
        told = []
        for host in range(20):
            told += notices(configs, make_change, State.UNREACHABLE, State.TRUSTED, host=f"host-{host:02}")
        station.store.outbox_add(told)
        for number in range(4):
            process = _process(station, receiver, secret)
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.01 * number)
            process.kill()
            process.wait()
            process.stdout.close()
        process = _process(station, receiver, secret)
        wait(lambda: outbox_states(station.store) == {"delivered": 40}, 300.0)
        process.kill()
        process.wait()
        process.stdout.close()
        first = list(dict.fromkeys(request.headers["webhook-id"] for request in receiver.got))
    assert first == [one.notification_id for one in told]


def _alter(station, statement):
    """Change the database behind the station's back."""
    with contextlib.closing(sqlite3.connect(station.home / "store.sqlite", timeout=30)) as database:
        database.execute(statement)


def test_a_store_that_fails_at_the_wrong_moment_makes_nothing_be_told_twice(
    station, hook, dispatch, make_change, caplog
):
    with Receiver() as receiver:
        receiver.answers = ["wait", 200]
        configs = [hook(receiver)]
        station.store.outbox_add(notices(configs, make_change, State.UNREACHABLE, State.TRUSTED))
        dispatcher = dispatch(*configs)
        receiver.wait_for(1)
        _alter(station, "ALTER TABLE outbox RENAME TO elsewhere")
        receiver.go.set()
        receiver.wait_for(2)  # it goes on with what it knows
        wait(lambda: caplog.text.count("cannot note a delivery") == 2)
        dispatcher.wake()
        wait(lambda: "notifications wait for the store" in caplog.text)
        _alter(station, "ALTER TABLE elsewhere RENAME TO outbox")
        assert dispatcher.drain(60.0)
        assert len(receiver.got) == 2
    assert outbox_states(station.store) == {"delivered": 2}


def test_a_store_that_fails_after_a_failure_does_not_end_the_channel(
    station, hook, dispatch, make_change, caplog
):
    clock = Clock()
    with Receiver() as receiver:
        receiver.answers = ["wait-then-503", 200]
        configs = [hook(receiver, give_up=600.0)]
        station.store.outbox_add(notices(configs, make_change, State.UNREACHABLE))
        dispatcher = dispatch(*configs, clock=clock)
        receiver.wait_for(1)
        _alter(station, "ALTER TABLE outbox RENAME TO elsewhere")
        receiver.go.set()
        wait(lambda: "cannot note a failure" in caplog.text)
        _alter(station, "ALTER TABLE elsewhere RENAME TO outbox")
        clock.ahead = 10.0
        assert dispatcher.drain(60.0)
        assert len(receiver.got) == 2
    assert outbox_states(station.store) == {"delivered": 1}
