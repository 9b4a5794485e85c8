"""What the dispatcher needs of the store: the notifications that are not delivered yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from xentpm_lib.verifier.notification import Kept, Notification, Pending

__all__ = ["Outbox"]


class Outbox(Protocol):
    """The store's outbox. Used by several threads at once. Every method raises StoreError only."""

    def outbox_due(
        self, now: float, limit: int = ..., channel: str | None = ..., after: int = ...
    ) -> Sequence[Pending]:
        """The channel's undelivered notifications, by ascending sequence, from above ``after``.

        now: those with a later ``next_at`` are left out.
        """

    def outbox_add(self, notifications: Sequence[Notification]) -> None:
        """Add notifications; one whose identifier is there already, delivered or not, is passed over."""

    def outbox_newest(self, limit: int, before: int | None = ..., **only: str) -> Sequence[Kept]:
        """What was ever put in and is still kept, newest first. only: ``host_id``, ``channel``, ``state``."""

    def outbox_done(self, sequence: int, state: str = ...) -> None:
        """It is delivered; or with ``superseded``: it need not be any more."""

    def outbox_failed(self, sequence: int, error: str, next_at: float) -> None:
        """One more attempt failed; it is to be tried again at ``next_at``."""

    def outbox_give_up(self, sequence: int, error: str) -> None:
        """It is never tried again; it stays to be seen."""
