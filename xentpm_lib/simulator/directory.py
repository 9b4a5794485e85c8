"""A simulator's directory: its settings, its lock, and how to reach it while it runs.

Everything is readable by its owner only: the password and the keys are in here.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.simulator.invocation import command
from xentpm_lib.simulator.os_errors import hint_for, reason_of
from xentpm_lib.simulator.xapi.store import write_private

__all__ = ["Access", "Lock", "Settings", "SimulatorDirectory"]

_LOCK_TRIES = 5
_LOCK_PAUSE_S = 0.05


@dataclass(frozen=True)
class Settings:
    """What stays the same each time the simulator is started in this directory."""

    txt: bool = False
    event_log: bool = True
    username: str = "root"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Access:
    """How to reach a running simulator."""

    url: str
    username: str
    password: str
    certificate: str


class SimulatorDirectory:
    """The paths below one directory, and the documents in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "database.json"
        self.certificate = path / "server.pem"
        self.key = path / "server.key"
        self.certificates = path / "pool.pem"
        self.ca = path / "ca"
        self.log = path / "simulator.log"
        self.running = path / "running.json"
        self._settings = path / "simulator.json"

    def host(self, name: str) -> Path:
        """The directory of a host."""
        return self.path / "hosts" / name

    def make(self) -> None:
        """Create the directory. Raises: UsageError where something else is in it already."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            names = {entry.name for entry in self.path.iterdir()}
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError(f"{error.filename} is not a directory", "choose another with --dir") from error
        except OSError as error:
            raise UsageError(reason_of(error, self.path), "choose another with --dir") from error
        early = {"lock", self.log.name, self.certificate.name, self.key.name}
        if names - early and self._settings.name not in names:
            raise UsageError(f"{self.path} is not empty, and no simulator's", "choose another with --dir")

    def load_settings(self) -> Settings | None:
        """The settings; None in a new directory. Raises: FormatError."""
        if not self._settings.exists():
            return None
        document = _load(self._settings)
        try:
            return Settings(**{**document, "hosts": tuple(document["hosts"])})
        except (KeyError, TypeError) as error:
            raise FormatError("not a simulator's settings", where=str(self._settings)) from error

    def save_settings(self, settings: Settings) -> None:
        """Replace the settings."""
        write_private(self._settings, json.dumps(asdict(settings), indent=1))

    def save_access(self, access: Access) -> None:
        """Tell other processes of this user how to reach the simulator."""
        write_private(self.running, json.dumps(asdict(access)))

    def load_access(self) -> Access:
        """How to reach the simulator. Raises: UsageError when it does not run."""
        if not self.is_running() or not self.running.exists():
            raise UsageError(
                f"no simulator runs in {self.path}",
                f"start it with: {command('up', '--dir', str(self.path))}",
            )
        try:
            return Access(**_load(self.running))
        except TypeError as error:
            raise FormatError("not written by a simulator", where=str(self.running)) from error

    def is_running(self) -> bool:
        """Whether a simulator holds the directory's lock."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


class Lock:
    """The directory's lock, held by the simulator that runs in it; the kernel drops it with the process.

    Raises: UsageError when another simulator holds it, or the directory cannot be written to.
    """

    def __init__(self, directory: SimulatorDirectory) -> None:
        try:
            self._descriptor = os.open(directory.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError(
                f"cannot write to {directory.path}: {error.strerror}", hint_for(error) or "see --dir"
            ) from error
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_S)  # someone may just have looked whether it is held
        os.close(self._descriptor)
        raise UsageError(
            f"a simulator runs in {directory.path} already", "stop that one or choose another directory"
        )

    def release(self) -> None:
        """Let go of the directory."""
        os.close(self._descriptor)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(document, dict):
        raise FormatError("wanted an object", where=str(path))
    return document
