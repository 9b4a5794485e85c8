"""One line for each step of the story, with the seconds that it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["say", "step", "total"]

_BEGIN = time.monotonic()


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def total() -> str:
    """How long all of it took until now."""
    return "{:d} min {:02d} s".format(*divmod(int(time.monotonic() - _BEGIN), 60))


@contextmanager
def step(what: str) -> Iterator[None]:
    """Tell what goes on, and at its end how it went."""
    terminal = sys.stdout.isatty()
    if terminal:
        print(f"  …     {what}", end="\r", flush=True)
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        say(f"FAILED {time.monotonic() - begin:4.0f} s  {what}")
        raise
    say(f"good   {time.monotonic() - begin:4.0f} s  {what}")
