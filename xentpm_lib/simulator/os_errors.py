"""What to do about a file that cannot be read or written, in one line."""

import errno

__all__ = ["hint_for", "reason_of"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def reason_of(error: OSError, where: object = "") -> str:
    """Say what went wrong, with the path: the error's own, or ``where``."""
    path = error.filename if error.filename is not None else where
    reason = error.strerror or str(error)
    return "{}: {}".format(path, reason) if path else reason


def hint_for(error: OSError) -> str:
    """Return the next step; empty where there is none to tell."""
    if error.errno in _FULL:
        return "the disk is full: make room, or choose a directory on another one with --dir"
    if error.errno in _REFUSED:
        return "choose a directory that you can write to, with --dir"
    return ""
