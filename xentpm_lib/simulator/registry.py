"""The simulators that this user runs, so that another terminal finds them without being told where.

One small file for each in a directory of the user's own; a file whose simulator is gone is removed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.directory import SimulatorDirectory
from xentpm_lib.simulator.invocation import command
from xentpm_lib.simulator.xapi.store import write_private

__all__ = ["BASE", "find", "register", "registry_folder", "running"]

BASE = Path("/tmp")
"""Where the folders of all users are: the same place for every terminal, whatever its environment says."""


def registry_folder() -> Path:
    """The user's own folder; made when it is not there. Raises: UsageError when it is not safe."""
    folder = BASE / f"xentpm-sim-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}", "name the simulator with --dir") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UsageError(f"{folder} is not a directory that only you can use", "remove it")
    return folder


def register(directory: SimulatorDirectory) -> Path:
    """Make a simulator known; returns the file to remove when it ends."""
    name = hashlib.sha256(os.fsencode(directory.path)).hexdigest()[:16]
    entry = registry_folder() / name
    write_private(entry, str(directory.path))
    return entry


def find(given: Path | None) -> SimulatorDirectory:
    """The simulator of a directory, or the only one that runs. Raises: UsageError."""
    if given is not None:
        return SimulatorDirectory(given.absolute())
    found = running()
    if not found:
        raise UsageError("no simulator is running", f"start one with: {command('up')}")
    if len(found) > 1:
        listed = ", ".join(str(directory.path) for directory in found)
        example = command("host", "list", "--dir", str(found[0].path))
        raise UsageError(f"several simulators are running: {listed}", f"choose one, as in: {example}")
    return found[0]


def running() -> list[SimulatorDirectory]:
    """The simulators of this user that run. Raises: UsageError."""
    found = []
    for entry in sorted(registry_folder().iterdir()):
        if entry.name.startswith("."):
            continue
        try:
            directory = SimulatorDirectory(Path(entry.read_text(encoding="utf-8")))
        except FileNotFoundError:
            continue  # its simulator has ended since the folder was read
        if directory.is_running():
            found.append(directory)
        else:
            entry.unlink(missing_ok=True)
    return found
