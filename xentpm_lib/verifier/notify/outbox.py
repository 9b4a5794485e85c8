"""What the dispatcher needs of the store: the notifications that are not delivered yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from xentpm_lib.verifier.notification import Notification, Pending

__all__ = ["Outbox"]


class Outbox(Protocol):
    """The store's outbox. Used by several threads at once. Every method raises StoreError only."""

    def outbox_pending(self, channel: str, after: int = 0, limit: int = 1000) -> Sequence[Pending]:
        """The channel's undelivered notifications with a sequence above ``after``, ascending.

        Whether they are due is no matter: the dispatcher looks at ``next_at`` itself.
        """

    def outbox_add(self, notifications: Sequence[Notification]) -> None:
        """Add notifications; one whose identifier is there already, delivered or not, is passed over."""

    def outbox_done(self, notification_id: str) -> None:
        """It is delivered, or pointless by now."""

    def outbox_failed(self, notification_id: str, error: str, next_at: float) -> None:
        """One more attempt failed; it is to be tried again at ``next_at``."""

    def outbox_given_up(self, notification_id: str, error: str) -> None:
        """It is never tried again; it stays to be seen."""
