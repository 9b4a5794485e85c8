"""How much evidence is looked into at once: a document takes many times its size while it is judged.

Hostile hosts send the largest that is taken, all at the same moment. Honest ones are so much smaller that
hundreds of them have room together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["APPRAISED_AT_ONCE", "Room"]

APPRAISED_AT_ONCE = 8 * 1024 * 1024
"""Characters of all documents that one process judges at a time; a server's has 50 to 500 thousand."""


class Room:
    """Lets threads in as long as there is room; one that needs more than all of it, alone."""

    def __init__(self, size: int = APPRAISED_AT_ONCE) -> None:
        self._size = size
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Wait until so much is free, and hold it until the end of the block."""
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._used + size <= self._size)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()
