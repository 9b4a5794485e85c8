"""The notification channels: what waits in each, and a test."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.notification import Lane
from xentpm_lib.verifier.notify.abandoned import REMOVED
from xentpm_lib.verifier.notify.change import trial
from xentpm_lib.verifier.notify.channels import channel_of
from xentpm_lib.verifier.notify.config import BUILT_IN, ChannelConfig, ChannelKind, channel_named
from xentpm_lib.verifier.notify.delivery import DeliveryError
from xentpm_lib.verifier.notify.reports import failing_since
from xentpm_lib.verifier.operations.pools import credentials_for
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.times import format_time

__all__ = ["ListedChannel", "failures", "listing", "test"]

_LISTED = 1000  # notifications of one channel that are looked at
_CLOSE_S = 2.0
_FOREVER_S = 10 * 366 * 86400.0


@dataclass(frozen=True, slots=True)
class ListedChannel:
    """A channel and its backlog. kind: empty for one that is not in station.toml any more.

    oldest: when the longest waiting notification was made; None without one.
    failing_since: since when nothing of what is tried arrives; None where it does, or it is not long ago.
    delivered_at: when something was delivered last. error: of what waits, or was given up last.
    """

    name: str
    kind: str
    waiting: int
    delivered: int
    given_up: int
    oldest: float | None
    failing_since: float | None
    delivered_at: float | None
    error: str

    @property
    def state(self) -> str:
        """``ok``, ``failing`` or ``removed``."""
        if not self.kind:
            return "removed"
        return "ok" if self.failing_since is None else "failing"

    def to_object(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "type": self.kind or None,
            "state": self.state,
            "waiting": self.waiting,
            "delivered": self.delivered,
            "given_up": self.given_up,
            "oldest": _time(self.oldest),
            "failing_since": _time(self.failing_since),
            "delivered_at": _time(self.delivered_at),
            "error": self.error or None,
        }


def listing(station: Station) -> list[ListedChannel]:
    """All channels; those that were removed from station.toml while something waits. Raises: StoreError."""
    lanes, now = station.store.outbox_lanes(), time.time()
    used = {lane.channel for lane in lanes}
    known = [*station.channels, *((BUILT_IN,) if BUILT_IN.name in used else ())]
    found = [_listed(station, one.name, one, lanes, now) for one in known]
    waiting = {lane.channel for lane in lanes if lane.state == "pending"}
    gone = sorted(waiting - {one.name for one in (*known, BUILT_IN)})
    return found + [_listed(station, name, None, lanes, now) for name in gone]


def failures(found: Sequence[ListedChannel]) -> list[str]:
    """The channels that fail, in sentences."""
    return [
        f"The channel {one.name} has delivered nothing since {format_time(one.failing_since)}:"
        f" {one.error or 'see the log'}. See: xentpm-attest channels"
        for one in found
        if one.failing_since is not None
    ]


def _listed(
    station: Station, name: str, config: ChannelConfig | None, lanes: Sequence[Lane], now: float
) -> ListedChannel:
    own = [lane for lane in lanes if lane.channel == name]
    counts = Counter[str]()
    for lane in own:
        counts[lane.state] += lane.count
    oldest = min((lane.oldest for lane in own if lane.state == "pending"), default=None)
    arrived = max((lane.finished or 0.0 for lane in own if lane.state == "delivered"), default=None)
    return ListedChannel(
        name,
        "" if config is None else config.kind.value,
        counts["pending"],
        counts["delivered"],
        counts["failed"],
        oldest,
        None if config is None else failing_since(config, own, now),
        arrived,
        _error(station, name, counts, arrived or 0.0) if config is not None else REMOVED,
    )


def _error(station: Station, name: str, counts: Counter[str], arrived: float) -> str:
    """What stopped the first of those that wait, else the last that was given up since one arrived."""
    if counts["pending"]:
        waiting = station.store.outbox_due(time.time() + _FOREVER_S, _LISTED, name)
        error = next((one.error for one in waiting if one.error), "")
        if error:
            return error
    if counts["failed"]:
        (last,) = station.store.outbox_newest(1, channel=name, state="failed")
        if (last.finished_at or 0.0) > arrived:
            return last.error
    return ""


def _time(at: float | None) -> str | None:
    return None if at is None else format_time(at)


def test(station: Station, name: str, host_word: str | None = None) -> str:
    """Deliver a test message now; empty when the other side has it, else why not.

    host_word: a host, for a channel that speaks through hosts.

    Raises:
        UsageError: no such channel, no host where one is needed, or a channel that has no place for a test.
    """
    config = channel_named(station.channels, name)
    if config is None:
        known = ", ".join(channel.name for channel in station.channels) or "none"
        raise UsageError(
            f"there is no channel {name!a}; there are: {known}", f"See {station.home}/station.toml."
        )
    if config.kind is ChannelKind.XAPI_MARKS:
        hint = "xentpm-attest attest HOST sets them; then look at the host."
        raise UsageError(f"{name} sets marks on hosts, which have no place for a test", hint)
    if config.kind is ChannelKind.XAPI_MESSAGE and host_word is None:
        raise UsageError(
            f"{name} leaves messages on hosts", f"Say on which: channels test {name} --host HOST"
        )
    host = None if host_word is None else station.registry.host(host_word)
    ids = ("", "") if host is None else (host.host_id, host.pool_id)
    clients = Clients(lambda pool_id: credentials_for(station, pool_id))
    channel = channel_of(config, lambda pool_id: clients.of(station.registry.pool(pool_id)))
    try:
        channel.deliver(trial(config, socket.gethostname(), time.time(), *ids))
    except DeliveryError as error:
        return error.message
    finally:
        channel.close()
        clients.close(_CLOSE_S)
    return ""
