"""The notification channels: what waits in each, and a test."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.notify.change import trial
from xentpm_lib.verifier.notify.channels import channel_of
from xentpm_lib.verifier.notify.config import BUILT_IN, ChannelKind, channel_named
from xentpm_lib.verifier.notify.delivery import DeliveryError
from xentpm_lib.verifier.operations.pools import credentials_for
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.times import format_time

__all__ = ["ListedChannel", "listing", "test"]

_LISTED = 1000  # notifications of one channel that are looked at
_CLOSE_S = 2.0
_FOREVER_S = 10 * 366 * 86400.0


@dataclass(frozen=True, slots=True)
class ListedChannel:
    """A channel and its backlog. oldest: when the longest waiting notification was made; None without one."""

    name: str
    kind: str
    waiting: int
    delivered: int
    given_up: int
    oldest: float | None
    error: str

    def to_object(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "name": self.name,
            "type": self.kind,
            "waiting": self.waiting,
            "delivered": self.delivered,
            "given_up": self.given_up,
            "oldest": None if self.oldest is None else format_time(self.oldest),
            "error": self.error or None,
        }


def listing(station: Station) -> list[ListedChannel]:
    """All channels. Raises: StoreError."""
    counts = station.store.outbox_counts()
    found = []
    for channel in (*station.channels, *((BUILT_IN,) if BUILT_IN.name in counts else ())):
        waiting = station.store.outbox_due(time.time() + _FOREVER_S, _LISTED, channel.name)
        states = counts.get(channel.name, {})
        found.append(
            ListedChannel(
                channel.name,
                channel.kind.value,
                states.get("pending", 0),
                states.get("delivered", 0),
                states.get("failed", 0),
                waiting[0].notification.created_at if waiting else None,
                next((one.error for one in waiting if one.error), ""),
            )
        )
    return found


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
