"""Intentions on disk, for changes that take more than one TPM command.

An intention is written (and synced) before the first command and removed after the last. One that is
found later was cut short by a kill or a power failure; its owner finishes it before anything else.
"""

import os
from typing import NamedTuple, Optional

from xentpm_lib.errors import TpmError

__all__ = ["Journal"]

_MAXIMUM_CHARACTERS = 1024


class Journal(NamedTuple):
    """Small files of hex digits in ``directory``, each written whole or not at all."""

    directory: str

    def read(self, name: str) -> Optional[bytes]:
        """What ``name`` holds, None when there is none.

        Raises:
            TpmError: ``XENTPM_IO``.
        """
        try:
            with open(self._path(name), "rb") as file:
                return bytes.fromhex(file.read(_MAXIMUM_CHARACTERS).decode("ascii"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise TpmError(
                "{} does not hold hex digits".format(self._path(name)),
                "Restore it from a backup; without one remove it: what it was to finish is then dropped.",
                "XENTPM_IO",
            ) from error
        except OSError as error:
            raise self._failed("read", name, error) from error

    def write(self, name: str, data: bytes) -> None:
        """Make ``data`` (up to 512 bytes) the content of ``name``, on the disk when this returns.

        Raises:
            TpmError: ``XENTPM_IO``; the earlier content is kept.
        """
        path, new = self._path(name), self._path(name) + ".new"
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data.hex().encode("ascii"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
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

    def _failed(self, what: str, name: str, error: OSError) -> TpmError:
        return TpmError(
            "Cannot {} {}: {}".format(what, self._path(name), error.strerror),
            "Check that the folder is there, belongs to root and has free space.",
            "XENTPM_IO",
        )
