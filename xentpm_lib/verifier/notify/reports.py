"""Which channels fail, as the outbox tells it: it knows that over restarts, and without a watch."""

from __future__ import annotations

from collections.abc import Sequence

from xentpm_lib.errors import FormatError
from xentpm_lib.verifier.notification import Lane
from xentpm_lib.verifier.notify.config import ChannelConfig
from xentpm_lib.verifier.notify.document import Event, read_body
from xentpm_lib.verifier.notify.outbox import Outbox

__all__ = ["REPORT_AFTER_S", "failing_since", "open_reports"]

REPORT_AFTER_S = 900.0
"""A channel that has delivered nothing for so long, though it tried, fails: it is told of, once."""
_MAX_EVENTS = 10_000  # the newest that are looked at


def failing_since(config: ChannelConfig, lanes: Sequence[Lane], now: float) -> float | None:
    """Since when a channel has delivered nothing of what it tried; None when it works.

    lanes: all of the channel. Where it speaks with pools, one that takes nothing is enough.
    """
    found = [
        since
        for lane in {lane.pool_id if config.per_pool else "" for lane in lanes}
        if (since := _since(config, [one for one in lanes if not config.per_pool or one.pool_id == lane]))
        is not None
        and now - since >= REPORT_AFTER_S
    ]
    return min(found, default=None)


def open_reports(outbox: Outbox) -> dict[tuple[str, str], tuple[str, float]]:
    """(channel, pool) to (identifier, time) of the report that it fails, where none says that it works again.

    Raises:
        StoreError: the outbox cannot be read.
    """
    newest: dict[tuple[str, str], tuple[Event, str, float]] = {}
    for kept in outbox.outbox_newest(_MAX_EVENTS, host_id=""):
        made = kept.notification
        try:
            document = read_body(made.body)
        except FormatError:
            continue
        if document.channel:
            told = (document.event, made.notification_id, made.created_at)
            newest.setdefault((document.channel, made.pool_id), told)
    return {
        where: (identifier, at)
        for where, (event, identifier, at) in newest.items()
        if event is Event.CHANNEL_FAILED
    }


def _since(config: ChannelConfig, lanes: Sequence[Lane]) -> float | None:
    """Since when nothing arrives: the last delivery, or the making of the first that failed after it.

    What was given up without a second try is about that one only, as for a host that is not there any more.
    """
    arrived = max((one.finished or 0.0 for one in lanes if one.state == "delivered"), default=0.0)
    failed = [one for one in lanes if one.failed and (one.finished is None or one.finished > arrived)]
    waiting = [one for one in failed if one.state in ("pending", "failed")]
    if config.latest_only and any(one.state == "pending" for one in lanes):
        waiting = failed  # the one that waits took the place of those that failed
    if not waiting:
        return None
    first = min(one.oldest for one in waiting)
    return arrived if config.latest_only and arrived else max(arrived, first)
