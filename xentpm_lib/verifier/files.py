"""Opening files that somebody names on a command line or in the configuration."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from xentpm_lib.errors import UsageError

__all__ = ["open_file"]


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """An ordinary file, to read. A pipe that nobody writes to would be waited for without end.

    Raises:
        UsageError: it is something else: a directory, a pipe, a device.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            hint = "Give an ordinary file: no directory, pipe or device."
            raise UsageError(f"{os.fspath(path)} is not a file", hint)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
