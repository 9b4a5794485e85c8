"""How long something may take in all, however many steps it has and however slowly bytes drip, and how much
it may bring."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Deadline"]


class Deadline:
    """A point in time. seconds: from now. clock: monotonic seconds.

    max_bytes: of an answer, where it may not have as many as any other.
    """

    def __init__(
        self, seconds: float, clock: Callable[[], float] = time.monotonic, max_bytes: int | None = None
    ) -> None:
        self.seconds = seconds
        self.max_bytes = max_bytes
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Seconds that are left, more than 0. Raises: TimeoutError when none are."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError(f"not within {self.seconds:g} seconds")
        return left

    def part(self, seconds: float) -> Deadline:
        """A deadline so many seconds from now, but not behind this one. Raises: TimeoutError."""
        return Deadline(min(seconds, self.remaining()), self._clock, self.max_bytes)
