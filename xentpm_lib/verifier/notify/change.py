"""From a change of state to notifications: pure, so that they can be stored in the transaction of the result.

announcer = Announcer(station.channels)
notifications = announcer.changed(change)        # a state became another one
notifications = announcer.renewed(current, since)  # the same state again: what is still to be done
announcer.stored(notifications)                  # after the commit
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.config import BUILT_IN, ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.document import Document, Event, HostState, told_of
from xentpm_lib.verifier.notify.wording import summary_of
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, State

__all__ = ["Announcer", "Change", "channel_event", "trial"]

_NAMESPACE = uuid.UUID("5b0f9a0e-6c0a-5f0e-9d1c-8a1f3b7e2d41")
_QUIET_AT_FIRST = (ChannelKind.XAPI_MESSAGE, ChannelKind.APPRISE)
"""People are not told that a host which nobody heard of before is trusted."""
_DISABLED = (State.UNTRUSTED_KEY, State.UNTRUSTED_EVIDENCE, State.UNTRUSTED_MEASUREMENT)
"""The states in which a host is disabled where the policy says so: never because it is out of reach."""
_ENDS = (State.TRUSTED, State.NOT_ENROLLED)
"""The states that end what a channel was told of, whatever came in between."""
_RENEW_PART = 0.5
"""Marks are renewed once less than this part of a lease is left of them."""


_Said = tuple[float, float, frozenset[str]]
"""Of a host: since when it is what it is, until when it is trusted, and the codes of its findings."""


@dataclass(frozen=True, slots=True)
class Change:
    """A host's state became another one.

    old: None when there was none yet. at: seconds since 1970. disable_host: what its policy says.
    result: the one that the new state comes from; None for states without one (stale, not enrolled).
    passed: the states that it had since it was last trusted: who was told of one of them waits for the end.
    """

    host_id: str
    host_name: str
    pool_id: str
    pool_name: str
    old: State | None
    new: State
    at: float
    result: AttestationResult | None = None
    disable_host: bool = False
    passed: frozenset[State] = frozenset()

    def host(self) -> HostState:
        """How it is told."""
        findings, left_out = told_of(self.result)
        return HostState(
            self.host_id,
            self.host_name,
            self.pool_id,
            self.pool_name,
            self.new,
            self.old,
            self.at,
            0.0 if self.result is None else self.result.expires_at,
            PolicyUsed("", "") if self.result is None else self.result.policy,
            findings,
            left_out,
            self.disable_host and self.new in _DISABLED,
        )


class Announcer:
    """Makes notifications. Keeps in memory what the marks on each host say, so that they are renewed in time.

    What was made counts once it is stored: until then it can be made again. Not for several threads at once.
    After a restart the first result of each host renews its marks.
    """

    def __init__(self, channels: Sequence[ChannelConfig]) -> None:
        self._channels = tuple(channels)
        # By channel and host. What was made is told once it is stored; its identifier says whether it was.
        self._made: dict[tuple[str, str], tuple[str, _Said]] = {}
        self._told: dict[tuple[str, str], _Said] = {}

    def changed(self, change: Change) -> tuple[Notification, ...]:
        """What is to be told of a change, one notification for each channel that wants it.

        The same change gives the same identifiers, so that it can be stored only once. None for no change.
        """
        if change.old is change.new:
            return ()
        host = change.host()
        document = Document(Event.STATE_CHANGED, change.at, summary_of(host), host)
        wanting = [channel for channel in self._channels if _wants(channel, change)]
        trusted_again = change.new is State.TRUSTED and not change.passed.isdisjoint(_DISABLED)
        if host.disable or (change.disable_host and trusted_again):  # the latter takes back what waits
            wanting.append(BUILT_IN)
        return self._notifications(wanting, document, host)

    def renewed(self, current: Change, since: float) -> tuple[Notification, ...]:
        """For a host whose state stayed: marks, where they would run out soon or say other findings; and
        that it is to be disabled, where the policy says so only now.

        current: with ``old`` equal to ``new`` and the latest result. since: when the state began.
        """
        host = replace(current.host(), since=since, previous=None)
        found: tuple[Notification, ...] = ()
        for channel in (*self._channels, BUILT_IN):
            if channel.latest_only and self._due(channel, host, current.at):
                event = Event.STATE_CHANGED if channel is BUILT_IN else Event.RENEWED
                document = Document(event, current.at, summary_of(host), host)
                found += self._notifications([channel], document, host)
        return found

    def stored(self, notifications: Sequence[Notification]) -> None:
        """These are in the outbox now."""
        for one in notifications:
            made = self._made.get((one.channel, one.host_id))
            if made is None or made[0] != one.notification_id:
                continue
            del self._made[one.channel, one.host_id]
            self._told[one.channel, one.host_id] = made[1]

    def forget(self, host_id: str) -> None:
        """The host is not watched any more."""
        for memory in (self._made, self._told):
            for key in [key for key in memory if key[1] == host_id]:
                del memory[key]

    def _notifications(
        self, channels: Sequence[ChannelConfig], document: Document, host: HostState
    ) -> tuple[Notification, ...]:
        made = tuple(_notification(channel.name, document) for channel in channels)
        for channel, one in zip(channels, made, strict=True):
            if channel.latest_only:
                said = (host.since, host.expires_at, _codes(host))
                self._made[channel.name, host.host_id] = one.notification_id, said
        return made

    def _due(self, channel: ChannelConfig, host: HostState, now: float) -> bool:
        """Whether what is in force on a host is not what it is to be, or not for long."""
        told = self._told.get((channel.name, host.host_id))
        if channel.kind is ChannelKind.DISABLE_HOST:
            return host.disable and (told is None or told[0] != host.since)
        if told is None or told[2] != _codes(host):
            return True
        _, expires_at, _ = told
        lease = host.expires_at - now
        return host.state is State.TRUSTED and expires_at - now <= lease * _RENEW_PART


def trial(
    channel: ChannelConfig, station: str, now: float, host_id: str = "", pool_id: str = ""
) -> Notification:
    """A test message for a channel, from the station of that name; for XAPI messages, on a host."""
    document = Document(Event.TEST, now, f"A test message of xentpm-attest on {station}")
    made = _notification(channel.name, document, str(uuid.uuid4()))
    return replace(made, host_id=host_id, pool_id=pool_id)


def channel_event(
    event: Event, failing: str, told: ChannelConfig, now: float, cause: str, detail: str, pool_id: str = ""
) -> Notification:
    """For ``told``: that another channel fails, or works again. cause: tells one such event from another.

    pool_id: where it fails in one pool only.
    """
    said = "cannot deliver" if event is Event.CHANNEL_FAILED else "delivers again"
    summary = f"The notification channel {failing} {said}{': ' + detail if detail else ''}"
    document = Document(event, now, summary, channel=failing)
    made = _notification(told.name, document, f"{event.value} {failing} {cause}")
    return replace(made, pool_id=pool_id)


def _wants(channel: ChannelConfig, change: Change) -> bool:
    if (
        change.old in (None, State.NOT_ENROLLED)
        and change.new is State.TRUSTED
        and channel.kind in _QUIET_AT_FIRST
    ):
        return False
    if change.new in _ENDS and change.passed & channel.states:
        return True
    return change.new in channel.states or change.old in channel.states


def _notification(channel: str, document: Document, cause: str = "") -> Notification:
    host = document.host
    if host is not None:
        previous = "" if host.previous is None else host.previous.value
        cause = f"{document.event.value} {host.host_id} {document.at!r} {previous} {host.state.value}"
        if channel == BUILT_IN.name:  # once for each time that it became what it is, whenever that is found
            cause = f"{host.host_id} {host.since!r} {host.state.value}"
    name = uuid.uuid5(_NAMESPACE, f"{channel} {cause}")
    return Notification(
        str(name),
        channel,
        "" if host is None else host.host_id,
        "" if host is None else host.pool_id,
        document.at,
        document.to_body(str(name)),
    )


def _codes(host: HostState) -> frozenset[str]:
    return frozenset(told.code for told in host.findings if told.severity != Severity.INFO.value)
