"""Delivers the outbox: each channel in threads of its own, at least once, and tells of channels that fail.

    with Dispatcher(store, channels_of(config, pools)) as dispatcher:
        dispatcher.wake()                    # after something was stored
        dispatcher.drain(30.0)               # or: until all that is due was tried

Only one process at a time is to do so for one store: hold the store's watch lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from xentpm_lib.errors import XenTpmError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.backlog import Trouble
from xentpm_lib.verifier.notify.change import channel_event
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.courier import Courier
from xentpm_lib.verifier.notify.delivery import Channel
from xentpm_lib.verifier.notify.document import Event
from xentpm_lib.verifier.notify.outbox import Outbox
from xentpm_lib.verifier.notify.reports import REPORT_AFTER_S, open_reports

__all__ = ["REPORT_AFTER_S", "Dispatcher"]

_POLL_S = 1.0
_STORE_PAUSE_S = 10.0
_CLOSE_S = 3.0
_REPORTERS = (ChannelKind.WEBHOOK, ChannelKind.APPRISE)
"""Channels that can tell what is about no host."""

_LOG = logging.getLogger(__name__)


class Dispatcher:
    """clock: seconds since 1970. report_after: seconds, see REPORT_AFTER_S."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Sequence[Channel],
        clock: Callable[[], float] = time.time,
        report_after: float = REPORT_AFTER_S,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._report_after = report_after
        self._couriers = [Courier(channel, outbox, self._recovered, clock) for channel in channels]
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._turns = 0
        self._recalled = False
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def __enter__(self) -> Dispatcher:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to deliver what is in the outbox."""
        for courier in self._couriers:
            courier.start()
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox now."""
        self._wake.set()

    def drain(self, seconds: float) -> bool:
        """Wait until all that is due was tried, at most so long. Returns whether that is so."""
        end = time.monotonic() + seconds
        seen = self._turns
        self.wake()
        while time.monotonic() < end:
            # Two turns: the one that runs may have looked before the newest was added.
            if self._turns >= seen + 2 and all(courier.resting() for courier in self._couriers):
                return True
            self.wake()
            time.sleep(0.02)
        return False

    def close(self, seconds: float = _CLOSE_S) -> None:
        """End within about so many seconds; what was not delivered stays in the outbox."""
        self._closing.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        end = time.monotonic() + seconds
        for courier in self._couriers:
            courier.close(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        said = ""
        while not self._closing.is_set():
            self._wake.clear()
            pause = _POLL_S
            try:
                self._recall()
                for courier in self._couriers:
                    courier.feed()
                self._report()
                said = ""
            except StoreError as error:
                if error.message != said:  # once, however often it is tried
                    _LOG.error("notifications wait for the store: %s", error.message)
                said, pause = error.message, _STORE_PAUSE_S
            except Exception:
                _LOG.exception("notifications: one turn failed")
                pause = _STORE_PAUSE_S
            self._turns += 1
            self._wake.wait(pause)

    def _recall(self) -> None:
        """At the start: which channels people were told of as failing, and not yet as working.

        Raises: StoreError.
        """
        if self._recalled:
            return
        couriers = {courier.config.name: courier for courier in self._couriers}
        for (channel, lane), (cause, since) in open_reports(self._outbox).items():
            if channel in couriers:
                couriers[channel].recall(lane, cause, since)
        self._recalled = True

    def _report(self) -> None:
        now = self._clock()
        for courier in self._couriers:
            for trouble in courier.troubles():
                if not trouble.reported and now - trouble.since >= self._report_after:
                    of = f" (pool {trouble.lane})" if trouble.lane else ""
                    _LOG.error("channel %s%s delivers nothing: %s", courier.config.name, of, trouble.error)
                    self._outbox.outbox_add(self._events(Event.CHANNEL_FAILED, courier.config, trouble))
                    courier.reported(trouble)

    def _recovered(self, config: ChannelConfig, trouble: Trouble) -> None:
        if not trouble.reported:
            return
        try:
            self._outbox.outbox_add(self._events(Event.CHANNEL_RECOVERED, config, trouble))
        except XenTpmError as error:
            _LOG.error("channel %s: cannot tell that it delivers again: %s", config.name, error.message)

    def _events(self, event: Event, failing: ChannelConfig, trouble: Trouble) -> list[Notification]:
        detail = f"pool {trouble.lane}: {trouble.error}" if trouble.lane else trouble.error
        if event is Event.CHANNEL_RECOVERED:
            detail = f"pool {trouble.lane}" if trouble.lane else ""
        now = self._clock()
        return [
            channel_event(event, failing.name, courier.config, now, trouble.cause, detail, trouble.lane)
            for courier in self._couriers
            if courier.config.kind in _REPORTERS and courier.config.name != failing.name
        ]
