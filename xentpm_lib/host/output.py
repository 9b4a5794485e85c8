"""What every command line of a dom0 writes: the result to stdout, everything else to stderr."""

import errno
import os
import sys
from contextlib import suppress

from xentpm_lib.errors import XenTpmError

__all__ = ["print_result", "tell"]


def print_result(text: str) -> None:
    """Write the result. Raises: XenTpmError ``XENTPM_IO`` when stdout does not take it."""
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "stdout is closed")
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "ascii", "backslashreplace") + b"\n")
        sys.stdout.flush()
    except OSError as error:
        if sys.stdout is not None:  # what is still buffered must not fail once more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise XenTpmError(
            "the result cannot be written: {}".format(error.strerror),
            "What was asked for was done; ask again with room for the result.",
            "XENTPM_IO",
        ) from error


def tell(text: str) -> None:
    """Write to stderr, if there is one."""
    with suppress(OSError, AttributeError):
        data = text.encode(sys.stderr.encoding or "ascii", "backslashreplace") + b"\n"
        sys.stderr.buffer.write(data)
        sys.stderr.flush()
