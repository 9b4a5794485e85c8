"""Notifications for channels that were taken out of station.toml: nobody delivers them any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from xentpm_lib.verifier.notification import Lane, Pending
from xentpm_lib.verifier.notify.config import BUILT_IN, DEFAULT_GIVE_UP_S, ChannelConfig

__all__ = ["REMOVED", "give_up_abandoned"]

REMOVED = "not in station.toml any more"
_EVER = 1e12  # seconds since 1970
_AT_ONCE = 1000  # notifications that are looked at


class _Outbox(Protocol):
    def outbox_lanes(self, state: str | None = ...) -> Sequence[Lane]: ...

    def outbox_due(
        self, now: float, limit: int = ..., channel: str | None = ..., after: int = ...
    ) -> Sequence[Pending]: ...

    def outbox_give_up(self, sequence: int, error: str) -> None: ...


def give_up_abandoned(
    outbox: _Outbox, channels: Iterable[ChannelConfig], now: float, age_s: float = DEFAULT_GIVE_UP_S
) -> int:
    """Give up what waits for none of these channels, and has so long; how many. A name may come back sooner.

    Raises:
        StoreError: the store cannot be used.
    """
    known = {channel.name for channel in (*channels, BUILT_IN)}
    given_up = 0
    for name in sorted({lane.channel for lane in outbox.outbox_lanes("pending")} - known):
        after = 0
        while waiting := outbox.outbox_due(_EVER, _AT_ONCE, name, after):
            after = waiting[-1].sequence
            for one in waiting:
                if now - one.notification.created_at >= age_s:
                    outbox.outbox_give_up(one.sequence, REMOVED)
                    given_up += 1
    return given_up
