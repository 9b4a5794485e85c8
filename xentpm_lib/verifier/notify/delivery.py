"""What a channel is, and how it says that it could not deliver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from xentpm_lib.errors import XenTpmError
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.config import ChannelConfig

__all__ = ["Channel", "DeliveryError", "GroupChannel", "NothingToDo"]


class DeliveryError(XenTpmError):
    """A notification was not delivered.

    wide: the way is blocked for all others, too (of the pool, or of the channel); else it is this one only.
    final: it can never be delivered. retry_after: seconds that the other side asks to wait; 0 for none.
    """

    default_code = "XENTPM_DELIVERY"

    def __init__(
        self, message: str, *, wide: bool = True, final: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.wide = wide
        self.final = final
        self.retry_after = retry_after


class NothingToDo(XenTpmError):
    """The notification takes back an earlier one, which is not to be delivered any more; nor is this one."""


class Channel(Protocol):
    """One way to tell somebody. Pools' channels are used by several threads at once, others by one."""

    @property
    def config(self) -> ChannelConfig:
        """How it was configured."""

    def deliver(self, notification: Notification) -> None:
        """Tell it. Returns when the other side has it, and before the channel's time limit in any case.

        Raises:
            DeliveryError: the other side does not have it, or nobody can tell.
            NothingToDo: it need not.
        """

    def close(self) -> None:
        """End what is open."""


@runtime_checkable
class GroupChannel(Protocol):
    """A channel that can tell several notifications in one message, so that people do not get hundreds.

    together: how many at most. pause: seconds from one message to the next.
    """

    together: int
    pause: float

    def deliver_together(self, notifications: Sequence[Notification]) -> None:
        """Tell them in one message: all, or none. Raises: DeliveryError."""
