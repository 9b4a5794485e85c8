"""One lock for all processes of a host that use its TPM, with a record of who holds it.

The record also tells that a holder was killed: it is wiped on release, so one that is still there when
the lock is taken was left by a process that had no time to clean up after itself in the TPM.
"""

import fcntl
import os
import stat
import time
from contextlib import contextmanager
from typing import Iterator, Optional

from xentpm_lib.errors import TpmError

__all__ = ["MAXIMUM_RECORD_BYTES", "HeldLock", "host_lock"]

MAXIMUM_RECORD_BYTES = 200
_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05


class HeldLock:
    """``leftovers``: the last holder was killed and what it left in the TPM was not put away yet."""

    def __init__(self, leftovers: bool) -> None:
        self.leftovers = leftovers


@contextmanager
def host_lock(path: str, operation: str, timeout_s: float) -> Iterator[HeldLock]:
    """Hold the lock at ``path`` for ``operation``. The record stays as long as there are leftovers.

    Raises:
        TpmError: ``XENTPM_BUSY`` after ``timeout_s`` seconds, with the name of the operation that
            holds it; ``XENTPM_IO`` when the lock file cannot be used.
    """
    descriptor = _open(path)
    try:
        _acquire(descriptor, timeout_s)
        held = HeldLock(leftovers=bool(_record(descriptor)))
        _write(path, descriptor, "{} {}".format(operation, os.getpid()))
        try:
            yield held
        finally:
            if not held.leftovers:
                _write(path, descriptor, "")
    finally:
        os.close(descriptor)  # the kernel releases the lock with the last descriptor


def _open(path: str) -> int:
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise _unusable(path, error.strerror) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _unusable(path, "it is no file")
    return descriptor


def _unusable(path: str, reason: Optional[str]) -> TpmError:
    return TpmError(
        "The lock file {} cannot be used: {}".format(path, reason),
        "Run as root, and check that its folder is there and has free space.",
        "XENTPM_IO",
    )


def _acquire(descriptor: int, timeout_s: float) -> None:
    end, pause_s = time.monotonic() + timeout_s, _PAUSE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise _busy(_record(descriptor), timeout_s) from None
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def _busy(record: str, timeout_s: float) -> TpmError:
    operation, _, pid = record.partition(" ")
    holder = "{} (process {})".format(operation, pid) if pid else "another process"
    return TpmError(
        "The TPM is in use by {}; waited {:g} s for it".format(holder, timeout_s),
        "Call again; if it stays, look at that process, or raise lock_timeout_s in the config.",
        "XENTPM_BUSY",
    )


def _record(descriptor: int) -> str:
    return os.pread(descriptor, MAXIMUM_RECORD_BYTES, 0).decode("ascii", "replace")


def _write(path: str, descriptor: int, record: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, record.encode("ascii", "replace")[:MAXIMUM_RECORD_BYTES], 0)
    except OSError as error:
        raise _unusable(path, error.strerror) from error
