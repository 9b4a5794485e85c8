"""Delivers what one channel has to tell, in threads of its own, so that no other channel waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from xentpm_lib.errors import FormatError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.notification import Pending
from xentpm_lib.verifier.notify.backlog import Backlog, Trouble, pause_after
from xentpm_lib.verifier.notify.config import ChannelConfig
from xentpm_lib.verifier.notify.delivery import Channel, DeliveryError, GroupChannel, NothingToDo
from xentpm_lib.verifier.notify.document import read_body
from xentpm_lib.verifier.notify.outbox import Outbox

__all__ = ["Courier"]

POOL_THREADS = 8
"""Of a channel that speaks with pools: so many pools at once, at most half of them in trouble."""
_IDLE_S = 1.0
_EVER = 1e12
"""Seconds since 1970: what is to be tried later is taken over, too, as it holds others back."""

_LOG = logging.getLogger(__name__)


class Courier:
    """One channel's threads. ``feed`` it from one thread; ``close`` it at the end.

    recovered: called with the trouble that ended, from a thread of the channel.
    """

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        recovered: Callable[[ChannelConfig, Trouble], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.channel = channel
        self._outbox = outbox
        self._recovered = recovered
        self._clock = clock
        self._ready = threading.Condition()
        self._closing = False
        self._unacknowledged: list[tuple[int, str]] = []
        count = POOL_THREADS if channel.config.per_pool else 1
        self._backlog = Backlog(channel.config, max(1, count // 2))
        name = f"notify-{channel.config.name}"
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(count)]

    @property
    def config(self) -> ChannelConfig:
        """The channel's."""
        return self.channel.config

    def start(self) -> None:
        """Begin to deliver."""
        for thread in self._threads:
            thread.start()

    def feed(self) -> None:
        """Take over what is new in the outbox, and give up what is too old. Raises: StoreError."""
        self._acknowledge()
        with self._ready:
            self._backlog.begin()
            after, room = self._backlog.last_sequence, self._backlog.room
        if room:
            found = self._outbox.outbox_due(_EVER, room, self.config.name, after)
            with self._ready:
                pointless = self._backlog.add(found)
                self._ready.notify_all()
            for pending in pointless:
                self._done(pending, "superseded")
        with self._ready:
            expired = self._backlog.expired(self._clock())
        for pending in expired:
            self._give_up(pending, pending.error)

    def troubles(self) -> list[Trouble]:
        """The lanes that deliver nothing at present."""
        with self._ready:
            return list(self._backlog.troubles.values())

    def reported(self, trouble: Trouble) -> None:
        """Others were told of it."""
        with self._ready:
            self._backlog.reported(trouble)

    def recall(self, lane: str, cause: str, since: float) -> None:
        """Others were told of a lane's trouble before this process was started. Before the first ``feed``."""
        with self._ready:
            self._backlog.recall(lane, cause, since)

    def resting(self) -> bool:
        """Whether nothing is being delivered and nothing is due."""
        with self._ready:
            if self._backlog.busy or self._unacknowledged:
                return False
            return len(self._backlog) == 0 or not self._backlog.due(self._clock())

    def close(self, seconds: float) -> None:
        """Begin nothing more; wait so long for what is being delivered. The rest stays in the outbox."""
        with self._ready:
            self._closing = True
            self._ready.notify_all()
        end = time.monotonic() + seconds
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))
        self.channel.close()

    def _run(self) -> None:
        while True:
            with self._ready:
                pending = None if self._closing else self._backlog.next(self._clock())
                if pending is None:
                    if self._closing:
                        return
                    self._ready.wait(_IDLE_S)
                    continue
                group = self._group(pending)
            self._deliver(group)

    def _group(self, pending: Pending) -> list[Pending]:
        if isinstance(self.channel, GroupChannel):
            group = self._backlog.together(pending, self.channel.together, self._clock())
            readable = [one for one in group if _readable(one)]
            return readable if pending in readable else [pending]
        return [pending]

    def _deliver(self, group: list[Pending]) -> None:
        try:
            self._hand_over(group)
        except NothingToDo:
            self._pointless(group)
        except DeliveryError as error:
            self._failed(group, error)
        except Exception as error:  # a mistake in a channel is to stop neither it nor the others
            _LOG.exception("channel %s: delivery failed", self.config.name)
            self._failed(group, DeliveryError(f"internal error: {type(error).__name__}", wide=False))
        else:
            self._delivered(group)

    def _hand_over(self, group: list[Pending]) -> None:
        if isinstance(self.channel, GroupChannel) and len(group) > 1:
            self.channel.deliver_together([pending.notification for pending in group])
        else:
            self.channel.deliver(group[0].notification)

    def _pointless(self, group: list[Pending]) -> None:
        for pending in group:
            self._done(pending, "superseded")
            with self._ready:
                self._backlog.finished(pending, delivered=False)
                self._ready.notify_all()

    def _delivered(self, group: list[Pending]) -> None:
        for pending in group:
            self._done(pending)
        with self._ready:
            if isinstance(self.channel, GroupChannel):
                self._backlog.pause(group[0], self._clock() + self.channel.pause)
            now = self._clock()
            troubles = [self._backlog.finished(pending, delivered=True, now=now) for pending in group]
            self._ready.notify_all()
        for trouble in troubles:
            if trouble is not None:
                _LOG.info("channel %s%s delivers again", self.config.name, _of(trouble))
                self._recovered(self.config, trouble)

    def _failed(self, group: list[Pending], error: DeliveryError) -> None:
        with self._ready:
            attempts = self._backlog.attempts(group[0], error.wide)
        if attempts == 0:
            _LOG.warning("channel %s: %s", self.config.name, error.message)
        now = self._clock()
        next_at = now + pause_after(attempts + 1, error.retry_after)
        for pending in group[1:]:
            self._one_failed(pending, error, False, now, next_at)
        self._one_failed(group[0], error, error.wide, now, next_at)

    def _one_failed(
        self, pending: Pending, error: DeliveryError, wide: bool, now: float, next_at: float
    ) -> None:
        """Note the failure of one. wide: of a group's first only, which stands for its lane."""
        if error.final or now - pending.notification.created_at >= self.config.give_up:
            self._give_up(pending, error.message)
            with self._ready:
                self._backlog.finished(pending, delivered=False)
                self._ready.notify_all()
            return
        try:
            self._outbox.outbox_failed(pending.sequence, error.message, next_at)
        except StoreError as failure:
            _LOG.error("channel %s: cannot note a failure: %s", self.config.name, failure.message)
        with self._ready:
            self._backlog.failed(pending, error.message, wide, next_at)
            self._ready.notify_all()

    def _give_up(self, pending: Pending, error: str) -> None:
        identifier = pending.notification.notification_id
        _LOG.error("channel %s: gave up notification %s: %s", self.config.name, identifier, error)
        try:
            self._outbox.outbox_give_up(pending.sequence, error)
        except StoreError as failure:
            _LOG.error("channel %s: cannot note that: %s", self.config.name, failure.message)

    def _done(self, pending: Pending, state: str = "delivered") -> None:
        try:
            self._outbox.outbox_done(pending.sequence, state)
        except StoreError as failure:
            _LOG.error("channel %s: cannot note a delivery: %s", self.config.name, failure.message)
            with self._ready:
                self._unacknowledged.append((pending.sequence, state))

    def _acknowledge(self) -> None:
        """Note the deliveries that the store did not take when they happened. Raises: StoreError."""
        while self._unacknowledged:
            self._outbox.outbox_done(*self._unacknowledged[0])
            with self._ready:
                del self._unacknowledged[0]


def _readable(pending: Pending) -> bool:
    """What cannot be read goes alone, and is given up by itself."""
    try:
        read_body(pending.notification.body)
    except FormatError:
        return False
    return True


def _of(trouble: Trouble) -> str:
    return f" (pool {trouble.lane})" if trouble.lane else ""
