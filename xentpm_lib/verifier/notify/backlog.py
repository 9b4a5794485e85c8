"""What one channel still has to deliver: in which order, and what has to wait. Pure: no I/O, no clock.

Notifications of one host are delivered in the order in which they were made. One that failed holds back the
later ones of its host; one that failed because the way is blocked holds back its lane: pool or channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xentpm_lib.verifier.notification import Pending
from xentpm_lib.verifier.notify.config import ChannelConfig

__all__ = ["MAX_BACKLOG", "Backlog", "Trouble", "pause_after"]

MAX_BACKLOG = 5000
"""Notifications of one channel that are in memory; more stay in the store until there is room."""
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 600.0
_LONGEST_ASKED_S = 3600.0
_DOUBLINGS = 8


def pause_after(attempts: int, asked: float = 0.0) -> float:
    """Seconds to wait after so many failed attempts: 5, 10, 20 … up to 600. asked: by the other side."""
    doubled = float(2 ** min(max(attempts - 1, 0), _DOUBLINGS))
    return max(min(_FIRST_PAUSE_S * doubled, _LONGEST_PAUSE_S), min(asked, _LONGEST_ASKED_S))


@dataclass(frozen=True, slots=True)
class Trouble:
    """A lane that has delivered nothing since a failure.

    since: creation of the notification that failed first, or the last delivery if that was later.
    cause: its identifier, which tells this trouble from others. attempts: failures in a row.
    until: when to try again. wide: the way is blocked; else each was refused by itself.
    """

    lane: str
    since: float
    cause: str
    attempts: int
    until: float
    error: str
    reported: bool = False
    wide: bool = True


class Backlog:
    """Not for several threads at once: its owner holds a lock."""

    def __init__(self, config: ChannelConfig, troubled_at_once: int = 1) -> None:
        self._config = config
        self._troubled_at_once = troubled_at_once
        self._waiting: dict[int, Pending] = {}  # by sequence, ascending
        self._flying: dict[str, int] = {}  # lane: what is being delivered
        self._quiet: dict[str, float] = {}  # lane: until when it pauses after a message
        self._arrived: dict[str, float] = {}  # lane: when something was delivered last
        self._finished: set[int] = set()  # since the last look into the outbox began
        self.troubles: dict[str, Trouble] = {}
        self.last_sequence = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many more may be added."""
        return max(0, MAX_BACKLOG - len(self._waiting))

    @property
    def busy(self) -> bool:
        """Whether something is being delivered."""
        return bool(self._flying)

    def begin(self) -> None:
        """A look into the outbox begins; what is finished from now on may still be in what it shows."""
        self._finished.clear()

    def add(self, found: Sequence[Pending]) -> list[Pending]:
        """Take in what the outbox showed. Returns what a newer one made pointless: not to be delivered."""
        known = self._finished.union(self._waiting)
        fresh = [one for one in found if one.sequence not in known]
        for pending in fresh:
            self.last_sequence = max(self.last_sequence, pending.sequence)
            self._waiting[pending.sequence] = pending
            self._recall(pending)
        if not fresh:
            return []
        self._waiting = dict(sorted(self._waiting.items()))
        return self._supersede() if self._config.latest_only else []

    def next(self, now: float) -> Pending | None:
        """What to deliver now; its lane is busy until ``finished`` or ``failed``.

        Lanes in trouble come last, and only so many of them at once: each may take its whole time limit.
        There it is the one that failed least often: the first may be what causes the trouble.
        """
        held: set[str] = set()
        best: Pending | None = None
        patient = sum(self._blocked(lane) for lane in self._flying) < self._troubled_at_once
        for pending in self._waiting.values():
            lane, host = self.lane(pending), pending.notification.host_id
            if lane in self._flying or host in held or self._rests(lane, now):
                continue
            if host:
                held.add(host)  # none of its later ones before this
            if pending.next_at > now:
                continue
            if not self._blocked(lane):
                best = pending
                break
            if patient and (best is None or pending.attempts < best.attempts):
                best = pending
        if best is not None:
            self._flying[self.lane(best)] = best.sequence
        return best

    def together(self, first: Pending, limit: int, now: float) -> list[Pending]:
        """``first``, which ``next`` gave, and others of its lane that can go with it, in their order."""
        held: set[str] = set()
        found = []
        for pending in self._waiting.values():
            if self.lane(pending) != self.lane(first):
                continue
            host = pending.notification.host_id
            if pending.next_at > now and pending is not first:
                held.add(host)
            elif not host or host not in held:
                found.append(pending)
        return found[:limit] if first in found[:limit] else [first]

    def pause(self, pending: Pending, until: float) -> None:
        """Deliver nothing more in its lane before."""
        self._quiet[self.lane(pending)] = until

    def _blocked(self, lane: str) -> bool:
        trouble = self.troubles.get(lane)
        return trouble is not None and trouble.wide

    def _rests(self, lane: str, now: float) -> bool:
        trouble = self.troubles.get(lane)
        return (trouble is not None and trouble.until > now) or self._quiet.get(lane, 0.0) > now

    def due(self, now: float) -> bool:
        """Whether something is to be delivered now. Its lane stays as it is."""
        found = self.next(now)
        if found is not None:
            self._flying.pop(self.lane(found), None)
        return found is not None

    def attempts(self, pending: Pending, wide: bool) -> int:
        """How often it failed so far; wide: how often its lane did, since something arrived."""
        if not wide:
            return pending.attempts
        trouble = self.troubles.get(self.lane(pending))
        return 0 if trouble is None or not trouble.wide else trouble.attempts

    def finished(self, pending: Pending, delivered: bool, now: float = 0.0) -> Trouble | None:
        """It arrived, or never will. Returns the trouble that its lane had until it arrived, if any."""
        lane = self.lane(pending)
        if self._flying.get(lane) == pending.sequence:
            del self._flying[lane]
        self._waiting.pop(pending.sequence, None)
        self._finished.add(pending.sequence)
        if not delivered:
            return None
        self._arrived[lane] = now
        return self.troubles.pop(lane, None)

    def failed(self, pending: Pending, error: str, wide: bool, next_at: float) -> None:
        """It was not delivered, and is to be tried again. wide: so is nothing else of its lane before."""
        lane = self.lane(pending)
        if self._flying.get(lane) == pending.sequence:
            del self._flying[lane]
        tried = pending.attempts + 1
        if pending.sequence in self._waiting:
            self._waiting[pending.sequence] = replace(pending, attempts=tried, next_at=next_at, error=error)
        old = self.troubles.get(lane)
        if wide or old is None or not old.wide:
            attempts = old.attempts + 1 if old is not None and old.wide is wide else 1
            until = next_at if wide else 0.0
            self.troubles[lane] = replace(
                old or self._first(pending, lane), attempts=attempts, until=until, error=error, wide=wide
            )

    def expired(self, now: float) -> list[Pending]:
        """Those too old to be tried once more, in a lane that is in trouble. They are taken out."""
        oldest = now - self._config.give_up
        found = [
            pending
            for pending in self._waiting.values()
            if pending.notification.created_at <= oldest
            and self._blocked(self.lane(pending))
            and pending.sequence not in self._flying.values()
        ]
        for pending in found:
            self.finished(pending, delivered=False)
        return found

    def reported(self, trouble: Trouble) -> None:
        """Others were told of it."""
        if trouble.lane in self.troubles:
            self.troubles[trouble.lane] = replace(self.troubles[trouble.lane], reported=True)

    def recall(self, lane: str, cause: str, since: float) -> None:
        """Others were told of a lane's trouble before this process was started, and of no end of it."""
        self.troubles[lane] = Trouble(lane, since, cause, 0, 0.0, "", reported=True, wide=False)

    def lane(self, pending: Pending) -> str:
        """What is blocked when the way of this one is: its pool, or the whole channel (empty)."""
        return pending.notification.pool_id if self._config.per_pool else ""

    def _recall(self, pending: Pending) -> None:
        """After a restart: a lane whose notification has failed before is in trouble until one arrives."""
        lane = self.lane(pending)
        old = self.troubles.get(lane)
        if pending.attempts and (old is None or old.attempts == 0):
            self.troubles[lane] = replace(
                old or self._first(pending, lane),
                attempts=pending.attempts,
                until=pending.next_at,
                error=pending.error,
                wide=True,
            )

    def _first(self, pending: Pending, lane: str) -> Trouble:
        """The trouble that this one's failure begins."""
        made = pending.notification
        since = max(made.created_at, self._arrived.get(lane, 0.0))
        return Trouble(lane, since, made.notification_id, 0, 0.0, "")

    def _supersede(self) -> list[Pending]:
        newest = {one.notification.host_id: sequence for sequence, one in self._waiting.items()}
        old = [
            pending
            for sequence, pending in self._waiting.items()
            if pending.notification.host_id
            and newest[pending.notification.host_id] != sequence
            and sequence not in self._flying.values()
        ]
        for pending in old:
            self._waiting.pop(pending.sequence)
            self._finished.add(pending.sequence)
        return old
