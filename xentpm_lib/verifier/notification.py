"""A notification: what a channel is to be told of a change. A row of the outbox until it is delivered."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_BODY_BYTES", "Kept", "Lane", "Notification", "Pending"]

MAX_BODY_BYTES = 64 * 1024
"""Of a notification's body, as UTF-8."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One change for one channel. Made in the same transaction as the result that it tells of.

    notification_id: UUID, the same for the same change and channel however often it is made.
    channel: the channel's name. host_id, pool_id: XAPI UUIDs; empty where it is about no host.
    body: a JSON document (docs/orchestrators.md), at most MAX_BODY_BYTES; sent as it is, byte for byte.
    """

    notification_id: str
    channel: str
    host_id: str
    pool_id: str
    created_at: float
    body: str


@dataclass(frozen=True, slots=True)
class Pending:
    """A notification that is not delivered yet, as it stands in the outbox.

    sequence: ascends in the order in which rows were added. attempts: how many failed so far.
    next_at: not to be tried before. error: why the last attempt failed; empty where there was none.
    """

    sequence: int
    notification: Notification
    attempts: int = 0
    next_at: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A notification as the outbox has it, delivered or not.

    state: ``pending``, ``delivered``, ``failed`` (given up), ``superseded`` (by a newer one, or there was
    nothing to do any more), ``altered`` (not what was put in; then its body is empty).
    finished_at: when it came to that; None while it is pending.
    """

    sequence: int
    notification: Notification
    state: str
    attempts: int
    error: str
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class Lane:
    """The notifications of one channel that are about one pool and in one state, see ``Kept``.

    failed: those that failed at least once; the others are another lane. oldest: when the first was made.
    finished: when the last was delivered or given up; None for those that wait.
    """

    channel: str
    pool_id: str
    state: str
    failed: bool
    count: int
    oldest: float
    finished: float | None
