"""What a simulated machine is: the description that is kept beside its files, and how these are made."""

from __future__ import annotations

import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.simulator.os_errors import hint_for, reason_of

__all__ = [
    "MachineRecord",
    "all_or_nothing",
    "checked_name",
    "checked_python",
    "checked_uuid",
    "clear_errors",
]

RECORD_NAME = "machine.json"


@dataclass(frozen=True)
class MachineRecord:
    """``ca_dir`` is relative to the machine's directory; an empty ``plugin`` is the project's."""

    name: str
    uuid: str
    txt: bool
    event_log: bool
    ca_dir: str
    plugin: str
    ecc_ek: bool

    def write(self, directory: Path) -> None:
        """Keep it in the machine's directory. Raises: OSError."""
        path = directory / RECORD_NAME
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> MachineRecord:
        """Read it. Raises: UsageError when there is no machine, FormatError when it is damaged."""
        path = directory / RECORD_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UsageError(f"there is no simulated machine in {directory}") from error
        except (OSError, ValueError) as error:
            raise FormatError(f"cannot be read: {error}", where=str(path)) from error
        return cls._from_values(values, str(path))

    @classmethod
    def _from_values(cls, values: object, where: str) -> MachineRecord:
        types = {field.name: bool if field.type == "bool" else str for field in fields(cls)}
        if not isinstance(values, dict) or values.keys() != types.keys():
            raise FormatError(f"expected the members {', '.join(types)}", where=where)
        for name, kind in types.items():
            if not isinstance(values[name], kind):
                raise FormatError(f"expected a {kind.__name__}", where=f"{where}: {name}")
        return cls(**values)


def checked_name(name: str) -> str:
    """Return a host name. Raises: UsageError for what cannot be one."""
    if not 0 < len(name) <= 63 or not name.isprintable() or "/" in name:
        raise UsageError(f"{name!r} cannot be a host's name", "1 to 63 printable characters")
    return name


def checked_uuid(text: str | None) -> str:
    """Return a host's UUID in lower case; a new one for None. Raises: UsageError when it is none."""
    if text is None:
        return str(uuid.uuid4())
    try:
        if str(uuid.UUID(text)) == text.lower():
            return text.lower()
    except ValueError:
        pass
    raise UsageError(f"{text!r} is no UUID", "as in 1fa4a3a1-3aa6-47b1-8d5e-7b0f3b1f2c4d")


def checked_python(path: str | None) -> str:
    """Return the absolute path of a Python interpreter, this one for None. Raises: UsageError."""
    python = os.path.abspath(
        path or sys.executable
    )  # not resolved: a virtual environment is known by the link
    if not os.access(python, os.X_OK):
        raise UsageError(f"{python} cannot be executed")
    return python


@contextmanager
def all_or_nothing(directory: Path) -> Iterator[None]:
    """Make a directory and have it filled; when that fails it is gone again.

    Raises: UsageError when there is something in it already, or a file cannot be written.
    """
    with clear_errors(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty", "choose another directory, or remove it")
        try:
            yield
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise


@contextmanager
def clear_errors(directory: Path) -> Iterator[None]:
    """Tell of a file that cannot be read or written. Raises: UsageError instead of OSError."""
    try:
        yield
    except OSError as error:
        raise UsageError(reason_of(error, directory), hint_for(error)) from error
