"""What a pool's database keeps in the simulator's directory: other_config, tags, messages."""

from __future__ import annotations

import json
import os
import threading
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xentpm_lib.errors import FormatError

__all__ = ["HostState", "PoolState", "StoredMessage", "Store", "write_private"]

_DEFAULT_OTHER_CONFIG = {"agent_start_time": "0.", "boot_time": "0.", "iscsi_iqn": ""}


@dataclass
class HostState:
    """What a host remembers beyond its machine."""

    other_config: dict[str, str] = field(default_factory=lambda: dict(_DEFAULT_OTHER_CONFIG))
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StoredMessage:
    """One message; ``timestamp`` as XAPI writes times, ``priority`` 1 (critical) to 5."""

    uuid: str
    name: str
    priority: int
    cls: str
    obj_uuid: str
    timestamp: str
    body: str


@dataclass
class PoolState:
    """The whole database. master: uuid of the host that was promoted; empty before."""

    pool_uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    hosts: dict[str, HostState] = field(default_factory=dict)
    messages: list[StoredMessage] = field(default_factory=list)
    master: str = ""


class Store:
    """A PoolState and the file that holds it. Hold ``lock`` to read or change the state."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self._path = path
        self.state = _load(path) if path.exists() else PoolState()

    def host(self, host_uuid: str) -> HostState:
        """The state of a host; a new one for a host that is not known yet."""
        with self.lock:
            return self.state.hosts.setdefault(host_uuid, HostState())

    def save(self) -> None:
        """Replace the file."""
        with self.lock:
            write_private(self._path, json.dumps(asdict(self.state), indent=1))


def _load(path: Path) -> PoolState:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        return PoolState(
            pool_uuid=str(document["pool_uuid"]),
            hosts={key: HostState(**value) for key, value in document["hosts"].items()},
            messages=[StoredMessage(**message) for message in document["messages"]],
            master=str(document.get("master", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"not a database of the simulator: {error}",
            "remove the file to start with an empty one",
            where=str(path),
        ) from error


def write_private(path: Path, text: str) -> None:
    """Replace a file, readable by its owner only, in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
