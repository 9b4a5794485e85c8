"""A watch runs for months: what it delivered is deleted meanwhile, and what comes then is delivered, too."""

from __future__ import annotations

import time

from support.dispatching import notices, outbox_states
from support.http_receiver import Receiver
from xentpm_lib.verifier.result import State

DAY = 86400.0


def test_what_comes_after_all_before_it_was_deleted_is_delivered(station, hook, dispatch, make_change):
    with Receiver() as receiver:
        configs = [hook(receiver)]
        station.store.outbox_add(notices(configs, make_change, State.UNREACHABLE, State.UNTRUSTED_KEY))
        dispatcher = dispatch(*configs)
        assert dispatcher.drain(60.0)
        assert station.store.prune(time.time() + 91 * DAY, lambda _host: DAY).notifications == 2
        station.store.outbox_add(notices(configs, make_change, State.STALE, host="host-2"))
        dispatcher.wake()
        receiver.wait_for(3)
        assert dispatcher.drain(60.0)
    assert outbox_states(station.store) == {"delivered": 1}
