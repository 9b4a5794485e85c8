"""The channels on the pool itself: a message, tags and keys on the host, and taking it out of service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.config import ChannelConfig
from xentpm_lib.verifier.notify.delivery import DeliveryError, NothingToDo
from xentpm_lib.verifier.notify.document import Document, Event, HostState, clean, read_body
from xentpm_lib.verifier.notify.wording import text_of
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.times import format_time

__all__ = [
    "MARK_KEYS",
    "MARK_TAGS",
    "PRIORITIES",
    "DisableHostChannel",
    "MarksChannel",
    "MessageChannel",
    "Pool",
    "marks_of",
]

MESSAGE_NAMES = {
    State.TRUSTED: "xentpm_host_trusted",
    State.UNTRUSTED_MEASUREMENT: "xentpm_host_untrusted",
    State.UNTRUSTED_KEY: "xentpm_host_untrusted",
    State.UNTRUSTED_EVIDENCE: "xentpm_host_untrusted",
    State.UNREACHABLE: "xentpm_host_unreachable",
    State.STALE: "xentpm_host_stale",
    State.NOT_ENROLLED: "xentpm_host_not_enrolled",
    State.PENDING_APPROVAL: "xentpm_host_pending_approval",
}
PRIORITIES = {
    State.TRUSTED: 5,
    State.UNTRUSTED_MEASUREMENT: 1,
    State.UNTRUSTED_KEY: 1,
    State.UNTRUSTED_EVIDENCE: 1,
    State.UNREACHABLE: 2,
    State.STALE: 2,
    State.NOT_ENROLLED: 4,
    State.PENDING_APPROVAL: 4,
}
"""Of XAPI messages: 1 is the gravest, 5 is for information. The pool's mail alarm sends 1 to 3."""

_TAGS = {
    State.TRUSTED: "xentpm:trusted",
    State.UNTRUSTED_MEASUREMENT: "xentpm:untrusted",
    State.UNTRUSTED_KEY: "xentpm:untrusted",
    State.UNTRUSTED_EVIDENCE: "xentpm:untrusted",
    State.UNREACHABLE: "xentpm:unreachable",
    State.STALE: "xentpm:stale",
    State.PENDING_APPROVAL: "xentpm:pending-approval",
}
MARK_TAGS = tuple(sorted(set(_TAGS.values())))
"""Every tag that is ever set; one of them at a time, none on a host that is not enrolled."""

MARK_KEYS = ("xentpm_expires", "xentpm_findings", "xentpm_policy", "xentpm_since", "xentpm_state")
"""Every key of other_config that is ever set."""

_MAX_VALUE = 500  # characters
_THIS_ONE = ("XAPI_ERROR", "HOST_OFFLINE", "COLLECTION_TIMEOUT")
"""Findings that are about one host; others are about the whole pool."""


class Pool(Protocol):
    """What is done on a pool. Every method raises CollectionError only; hosts are named by UUID."""

    def create_message(self, host_uuid: str, name: str, priority: int, body: str) -> None:
        """Put a message on the host."""

    def set_marks(
        self,
        host_uuid: str,
        add_tags: Iterable[str],
        remove_tags: Iterable[str],
        set_config: Mapping[str, str],
        remove_config: Iterable[str],
    ) -> None:
        """Set and remove tags and keys of other_config; what is as it should be is left alone."""

    def disable_host(self, host_uuid: str) -> None:
        """Let the host take no new virtual machines."""


class _PoolChannel:
    """pools: gives the client of a pool by its id; raises UsageError for one that is not known."""

    def __init__(self, config: ChannelConfig, pools: Callable[[str], Pool]) -> None:
        self.config = config
        self._pools = pools

    def deliver(self, notification: Notification) -> None:
        """Carry it out on the host's pool. Raises: DeliveryError."""
        try:
            document = read_body(notification.body)
        except FormatError as error:
            raise DeliveryError(error.message, wide=False, final=True) from error
        if not notification.host_id:
            raise DeliveryError("it is about no host", wide=False, final=True)
        try:
            self.carry_out(document, notification)
        except CollectionError as error:
            gone = error.finding == "HOST_UNKNOWN"
            raise DeliveryError(
                error.message, wide=not gone and error.finding not in _THIS_ONE, final=gone
            ) from error
        except UsageError as error:  # the pool was forgotten
            raise DeliveryError(error.message, wide=False, final=True) from error

    def carry_out(self, document: Document, notification: Notification) -> None:
        """What the kind of channel does. Raises: CollectionError."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing: the pools' clients belong to somebody else."""


class MessageChannel(_PoolChannel):
    """A message on the host, as plain text."""

    def carry_out(self, document: Document, notification: Notification) -> None:
        """Make the message."""
        name, priority = "xentpm_test", 5
        if document.host is not None:
            name, priority = MESSAGE_NAMES[document.host.state], PRIORITIES[document.host.state]
        pool = self._pools(notification.pool_id)
        pool.create_message(notification.host_id, name, priority, text_of(document))


class MarksChannel(_PoolChannel):
    """A tag and keys of other_config on the host."""

    def carry_out(self, document: Document, notification: Notification) -> None:
        """Set the marks, and take away those of another state."""
        if document.host is None:
            return
        tags, keys = marks_of(document.host)
        self._pools(notification.pool_id).set_marks(
            notification.host_id,
            tags,
            [tag for tag in MARK_TAGS if tag not in tags],
            keys,
            [key for key in MARK_KEYS if key not in keys],
        )


class DisableHostChannel(_PoolChannel):
    """Disables a host that is untrusted, where its policy says so. Never enables one: a person does."""

    def carry_out(self, document: Document, notification: Notification) -> None:
        """Disable the host. Raises: NothingToDo when it is trusted again by now."""
        if document.event is not Event.STATE_CHANGED or document.host is None or not document.host.disable:
            raise NothingToDo("the host is not to be disabled any more")
        self._pools(notification.pool_id).disable_host(notification.host_id)


def marks_of(host: HostState) -> tuple[list[str], dict[str, str]]:
    """The tags and the keys of other_config that a host is to have; none when it is not enrolled."""
    if host.state is State.NOT_ENROLLED:
        return [], {}
    codes = sorted({told.code for told in host.findings if told.severity != "info"})
    keys = {"xentpm_state": host.state.value, "xentpm_since": format_time(host.since)}
    if host.state is State.TRUSTED:
        keys["xentpm_expires"] = format_time(host.expires_at)
    if codes:
        keys["xentpm_findings"] = clean(",".join(codes), _MAX_VALUE)
    if host.policy.name:
        keys["xentpm_policy"] = clean(host.policy.name, _MAX_VALUE)
    return [_TAGS[host.state]], keys
