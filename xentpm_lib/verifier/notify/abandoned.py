"""Notifications that nobody delivers: for channels that are not in station.toml, for pools that must go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from xentpm_lib.verifier.notification import Kept, Lane
from xentpm_lib.verifier.notify.config import BUILT_IN, DEFAULT_GIVE_UP_S, ChannelConfig

__all__ = ["REMOVED", "give_up_abandoned", "give_up_for_pools"]

REMOVED = "not in station.toml any more"
_AT_ONCE = 1000  # notifications that are looked at


class _Outbox(Protocol):
    def outbox_lanes(self, state: str | None = ...) -> Sequence[Lane]: ...

    def outbox_newest(self, limit: int, before: int | None = ..., **only: str) -> Sequence[Kept]: ...

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
        for one in _waiting(outbox, name):
            if now - one.notification.created_at >= age_s:
                outbox.outbox_give_up(one.sequence, REMOVED)
                given_up += 1
    return given_up


def give_up_for_pools(outbox: _Outbox, channels: Iterable[ChannelConfig], pools: Collection[str]) -> None:
    """Give up what is to be done in these pools, which are forgotten at once. Raises: StoreError."""
    for channel in (*channels, BUILT_IN):
        for one in _waiting(outbox, channel.name) if channel.per_pool else ():
            if one.notification.pool_id in pools:
                outbox.outbox_give_up(one.sequence, "the pool was forgotten at once")


def _waiting(outbox: _Outbox, channel: str) -> Iterator[Kept]:
    """All that waits for a channel, newest first."""
    before: int | None = None
    while page := outbox.outbox_newest(_AT_ONCE, before, channel=channel, state="pending"):
        before = page[-1].sequence
        yield from page
