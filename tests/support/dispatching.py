"""What tests of the dispatcher share: notifications to deliver, and waiting for what is to happen."""

from __future__ import annotations

import base64
import time

from xentpm_lib.verifier.notify.change import Announcer
from xentpm_lib.verifier.result import State

PENDING = "pending"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode("ascii")  # of the webhook


class Clock:
    """It stands still, however slow the machine is, until a test moves it."""

    def __init__(self):
        self.ahead = 0.0
        self._start = time.time()

    def __call__(self):
        return self._start + self.ahead


def no_pools(pool_id):
    raise AssertionError(f"nothing is to be done on {pool_id}")


def notices(configs, make_change, *states, host="host-1", start=None):
    """The notifications of a host that goes through these states."""
    announcer, old, found = Announcer(configs), State.TRUSTED, []
    at = time.time() if start is None else start
    for state in states:
        found += announcer.changed(make_change(state, old=old, at=at, host=host))
        at, old = at + 0.001, state
    return found


def wait(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def outbox_states(store, channel="hook"):
    return store.outbox_counts().get(channel, {})
