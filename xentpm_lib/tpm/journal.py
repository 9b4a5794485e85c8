"""Intentions on disk, for changes that take more than one TPM command.

An intention is written (and synced) before the first command and removed after the last. One that is
found later was cut short by a kill or a power failure; its owner finishes it before anything else.
"""

import os
from contextlib import suppress
from typing import NamedTuple, Optional, Sequence

from xentpm_lib.errors import TpmError

__all__ = ["Journal"]


class Journal(NamedTuple):
    """Small files of hex digits in ``directory``, each written whole or not at all."""

    directory: str

    def read(self, name: str, sizes: Sequence[int]) -> Optional[bytes]:
        """What ``name`` holds, of one of these sizes in bytes; None when there is no such file.

        Raises:
            TpmError: ``XENTPM_IO``, also for a file that `write` cannot have made.
        """
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                data = bytes.fromhex(file.read(2 * max(sizes) + 1).decode("ascii"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._damaged(name, sizes) from error
        except OSError as error:
            raise self._failed("read", name, error) from error
        if len(data) not in sizes:
            raise self._damaged(name, sizes)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Make ``data`` the content of ``name``, on the disk when this returns.

        Raises:
            TpmError: ``XENTPM_IO``; the earlier content is kept.
        """
        path, new = self._path(name), self._path(name) + ".new"
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):
                os.unlink(new)  # left by a power failure
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data.hex().encode("ascii"))
                file.flush()
                os.fsync(descriptor)
            os.replace(new, path)
            self._sync_directory()
        except OSError as error:
            raise self._failed("write", name, error) from error

    def remove(self, name: str) -> None:
        """Remove ``name``; nothing happens where there is none.

        Raises:
            TpmError: ``XENTPM_IO``.
        """
        try:
            os.unlink(self._path(name))
            self._sync_directory()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed("remove", name, error) from error

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _sync_directory(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _damaged(self, name: str, sizes: Sequence[int]) -> TpmError:
        digits = " or ".join(str(2 * size) for size in sizes)
        return TpmError(
            "{} does not hold {} hex digits".format(self._path(name), digits),
            "Restore it from a backup; without one remove it: what it was to finish is then dropped.",
            "XENTPM_IO",
        )

    def _failed(self, what: str, name: str, error: OSError) -> TpmError:
        return TpmError(
            "Cannot {} {}: {}".format(what, self._path(name), error.strerror),
            "Check that the folder is there, belongs to root and has free space.",
            "XENTPM_IO",
        )
