"""Digests of files, kept until the files change: hashing an initrd for every quote would take a second.

What is kept is untrusted, like everything that dom0 says of itself: it is for speed alone. A file that
cannot be read or written, or is damaged, costs time and nothing else.
"""

import hashlib
import json
import os
import stat
from contextlib import suppress
from typing import Any, Dict, List, Sequence, Tuple

from xentpm_lib.evidence.algorithms import digest, hash_by_name
from xentpm_lib.host.boot.grub_syntax import boot_error
from xentpm_lib.host.paths import Paths

__all__ = ["MAX_CACHE_FILES", "MAX_CACHE_SIZE", "DigestCache"]

MAX_CACHE_FILES = 256
MAX_CACHE_SIZE = 1024 * 1024  # bytes
MAX_FILE_SIZE = 1024 * 1024 * 1024  # bytes of a file that GRUB loads
_CHUNK = 1024 * 1024
_FOLDER, _NAME = "run/xentpm", "boot-digests.json"


class DigestCache:
    """The digests of a dom0's files, in ``run/xentpm/boot-digests.json``, which only root can read."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.at(_FOLDER)
        self._path = os.path.join(self._folder, _NAME)
        self._kept = _load(self._path)
        self._used: Dict[str, Dict[str, str]] = {}
        self._changed = False

    def digests(self, path: str, banks: Sequence[str]) -> Dict[str, bytes]:
        """The file's digest for each bank.

        Raises:
            XenTpmError: the file cannot be read, changed while it was, or has over a gibibyte.
        """
        try:
            key = _key(path, os.stat(path))
            known = self._used.get(key) or self._kept.get(key) or {}
            missing = [bank for bank in banks if not _is_digest(known.get(bank), bank)]
            if missing:
                known = dict(known, **_hash_file(path, missing))
                self._changed = True
                if _key(path, os.stat(path)) != key:
                    raise boot_error("{} changes while it is read".format(ascii(path)), "Try again.")
        except (OSError, ValueError) as error:
            raise boot_error("{} cannot be read: {}".format(ascii(path), error)) from error
        self._used[key] = known
        return {bank: bytes.fromhex(known[bank]) for bank in banks}

    def save(self) -> None:
        """Keep what was found out, for the next time. Nothing is raised: it can be done again."""
        if not self._changed:
            return
        items = list(self._used.items()) + [item for item in self._kept.items() if item[0] not in self._used]
        text = json.dumps(dict(items[:MAX_CACHE_FILES]))
        temporary = "{}.{}".format(self._path, os.getpid())
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, 0o600)
        except OSError:
            return
        try:
            with open(descriptor, "w") as file:
                file.write(text)
            os.rename(temporary, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)


def _key(path: str, status: os.stat_result) -> str:
    if not stat.S_ISREG(status.st_mode):
        raise boot_error("{} is no regular file".format(ascii(path)))
    if status.st_size > MAX_FILE_SIZE:
        raise boot_error("{} has {} bytes, at most {}".format(ascii(path), status.st_size, MAX_FILE_SIZE))
    facts = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return " ".join(map(str, facts)) + " " + ascii(path)


def _hash_file(path: str, banks: Sequence[str]) -> Dict[str, str]:
    """The digests in one reading; a bank whose hash hashlib has not is read for on its own."""
    streaming = [(bank, getattr(hashlib, bank)()) for bank in banks if hasattr(hashlib, bank)]
    with open(path, "rb") as file:
        chunk = file.read(_CHUNK)
        while chunk:
            for _, state in streaming:
                state.update(chunk)
            chunk = file.read(_CHUNK)
        found = {bank: state.hexdigest() for bank, state in streaming}
        for bank in banks:
            if bank not in found:
                file.seek(0)
                found[bank] = digest(bank, file.read()).hex()
    return found


def _is_digest(value: Any, bank: str) -> bool:
    return isinstance(value, str) and len(value) == 2 * hash_by_name(bank).size and _is_hex(value)


def _is_hex(value: str) -> bool:
    return set(value) <= frozenset("0123456789abcdef")


def _load(path: str) -> Dict[str, Dict[str, str]]:
    """What was kept; nothing where it is damaged, too large, or another's than this process's user."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o077 or not stat.S_ISREG(status.st_mode):
                return {}
            data = file.read(MAX_CACHE_SIZE + 1)
        if len(data) > MAX_CACHE_SIZE:
            return {}
        value = json.loads(data.decode("ascii"))
    except (OSError, ValueError, RecursionError):
        return {}
    items: List[Tuple[Any, Any]] = list(value.items()) if isinstance(value, dict) else []
    return {key: kept for key, kept in items[:MAX_CACHE_FILES] if isinstance(kept, dict)}
