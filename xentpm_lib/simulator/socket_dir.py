"""Where Unix sockets go: their whole path has to fit 108 bytes and a TCTI's configuration text."""

import hashlib
import os
import re
import stat
import tempfile

from xentpm_lib.errors import UsageError

__all__ = ["make_private", "plain_temporary_base", "remove_if_empty", "short_directory"]

MAX_PATH = 99  # bytes of a whole path; the kernel's limit is 107
_LONGEST_NAME = "/tpm.sock.ctrl"
_PLAIN = re.compile(r"[A-Za-z0-9/._~+@%-]+\Z")  # neither a comma nor a space: a TCTI's text is split at these


def short_directory(directory: str) -> str:
    """Return a directory for the sockets that belong to ``directory``: itself where it will do.

    Otherwise one of this user's below the directory for temporary files, always the same for the same
    ``directory``. It need not exist yet: see :func:`make_private`.
    """
    if _fits(directory):
        return directory
    known_by = os.fsencode(os.path.realpath(directory))
    name = "xentpm-{}-{}".format(os.getuid(), hashlib.sha256(known_by).hexdigest()[:16])
    return os.path.join(plain_temporary_base(), name)


def plain_temporary_base() -> str:
    """Return the directory for temporary files: the system's where TMPDIR is long or has odd characters."""
    base = tempfile.gettempdir()
    return base if _fits(base + "/xentpm-4294967295-0123456789abcdef") else "/tmp"


def make_private(directory: str) -> None:
    """Make a directory that only this user can enter, or see that it is one.

    Raises: UsageError when it belongs to somebody else, or cannot be made.
    """
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        found = os.lstat(directory)
    except OSError as error:
        raise UsageError("cannot make {}: {}".format(directory, error.strerror)) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UsageError("{} is not a directory of this user".format(directory), "remove it")


def remove_if_empty(directory: str) -> None:
    """Remove a directory that has nothing in it any more."""
    try:
        os.rmdir(directory)
    except OSError:
        pass


def _fits(directory: str) -> bool:
    path = os.fsencode(directory + _LONGEST_NAME)
    return len(path) <= MAX_PATH and _PLAIN.match(directory) is not None
