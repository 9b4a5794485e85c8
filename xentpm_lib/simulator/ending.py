"""When a simulator is to end: at a signal, or when its standard input does.

The handlers only take note, and stay where they are: nothing is cut short in the middle, and a second
signal finds the end under way and changes nothing.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress

__all__ = ["Ended", "Ending"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STDIN = 0
_CHUNK = 65536


class Ended(Exception):
    """The simulator is to end before it was ready."""


class Ending:
    """Takes note of SIGINT, SIGTERM and SIGHUP, and with ``until_eof`` of the end of standard input."""

    def __init__(self, until_eof: bool = False) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._until_eof = until_eof
        self._ended = until_eof and sys.stdin is None

    def install(self) -> None:
        """Handle the signals from now on; a SIGHUP that is ignored, as under nohup, stays ignored."""
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)

    def close(self) -> None:
        """Ignore the signals from now on, as Python calls no handler while it finalizes."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def check(self) -> None:
        """Raises: Ended when it is time to end."""
        if self.wait(0):
            raise Ended

    def wait(self, limit_s: float | None = None) -> bool:
        """Wait until it is time to end, or for so long; returns whether it is time."""
        while not self._ended:
            watched = [self._reader, *([_STDIN] if self._until_eof else [])]
            ready, _, _ = select.select(watched, [], [], limit_s)
            if _STDIN in ready:
                self._ended = self._ended or _at_its_end(_STDIN)
            if not ready:
                break
        return self._ended

    def _note(self, _number: int, _frame: object) -> None:
        self._ended = True
        with suppress(OSError):  # the pipe is full of earlier signals
            os.write(self._writer, b"!")


def _at_its_end(descriptor: int) -> bool:
    """Read what is there to be read, which nobody wants."""
    try:
        return not os.read(descriptor, _CHUNK)
    except OSError:
        return True
