"""The station: the directory in which a verifier keeps its configuration, its keys and its store.

station.toml    configuration (station_config)
keys/           the station's own keys (keys)
store.sqlite    records and results, unless the configuration names a PostgreSQL server
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.keys import RESTORE_KEYS, StationKeys
from xentpm_lib.verifier.notify.config import ChannelConfig
from xentpm_lib.verifier.registry import Registry
from xentpm_lib.verifier.station_config import DEFAULT_TEXT, StationConfig, load_config
from xentpm_lib.verifier.store.presence import has_store
from xentpm_lib.verifier.store.store import Store

__all__ = ["HOME_VARIABLE", "Station", "default_home"]

HOME_VARIABLE = "XENTPM_ATTEST_HOME"
_CONFIG = "station.toml"
_KEYS = "keys"
_NAME = "xentpm-attest"


def default_home(environ: Mapping[str, str] | None = None) -> Path:
    """Where the station is unless somebody says otherwise.

    XENTPM_ATTEST_HOME; for root /var/lib/xentpm-attest; for others $XDG_STATE_HOME/xentpm-attest.
    """
    variables = os.environ if environ is None else environ
    if variables.get(HOME_VARIABLE):
        return Path(variables[HOME_VARIABLE]).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib") / _NAME
    state = variables.get("XDG_STATE_HOME", "")
    if state.startswith("/"):
        return Path(state) / _NAME
    return Path.home() / ".local/state" / _NAME


class Station:
    """An open station. ``registry`` is what the ledger said at the last ``refresh``."""

    def __init__(self, home: Path, config: StationConfig, keys: StationKeys, store: Store) -> None:
        self.home = home
        self.config = config
        self.keys = keys
        self.store = store
        self.registry = Registry()
        self._refreshing = threading.Lock()

    @classmethod
    def init(
        cls,
        home: Path | None = None,
        config: str = DEFAULT_TEXT,
        clock: Callable[[], float] = time.time,
    ) -> Station:
        """Make a station and open it; one that is there already is opened as it is.

        config: what to write into station.toml where there is none.

        Raises:
            UsageError: the directory cannot be used, or the configuration has mistakes.
            StoreError: keys or store cannot be made or used; ``XENTPM_KEYS``: there is a store, but its keys
                are missing. New ones would not open it.
        """
        place = (home or default_home()).absolute()
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_directory(place)
            _write_new(place / _CONFIG, config)
        except OSError as error:
            raise UsageError(f"cannot make {place}: {error.strerror}") from error
        _check_no_lost_keys(place, load_config(place / _CONFIG))
        StationKeys.open(place / _KEYS, create=True)
        return cls.open(place, clock)

    @classmethod
    def open(cls, home: Path | None = None, clock: Callable[[], float] = time.time) -> Station:
        """Open a station.

        Raises:
            UsageError: there is none, others can write to it, or its configuration has mistakes.
            StoreError: keys or store cannot be used, or the ledger was altered.
        """
        place = (home or default_home()).absolute()
        if not (place / _CONFIG).exists():
            raise UsageError(f"there is no station in {place}", "Make one: xentpm-attest init")
        try:
            _check_directory(place)
        except OSError as error:
            raise UsageError(f"cannot use {place}: {error.strerror}") from error
        config = load_config(place / _CONFIG)
        keys = StationKeys.open(place / _KEYS)
        store = Store.open(config.store.address(place), keys, clock)
        try:
            station = cls(place, config, keys, store)
            station.refresh()
        except BaseException:
            store.close()
            raise
        return station

    @property
    def channels(self) -> tuple[ChannelConfig, ...]:
        """The notification channels."""
        return self.config.channels

    def refresh(self) -> int:
        """Take in what the ledger has got since; returns how many entries. Raises: StoreError."""
        with self._refreshing:
            before = self.registry.seq
            for entry in self.store.entries(after=before):
                self.registry.apply(entry)
            return self.registry.seq - before

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Station:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_directory(path: Path) -> None:
    """Raises: UsageError when others could replace what is in it; OSError."""
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path} is not a directory")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise UsageError(f"{path} has mode {mode:04o}: others can write to it", f"chmod 700 {path}")
    if found.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"{path} belongs to another user", "Run xentpm-attest as that user.")


def _check_no_lost_keys(place: Path, config: StationConfig) -> None:
    """Raises: StoreError. Who makes the station at the same moment makes its keys before its store."""
    keys = place / _KEYS
    if StationKeys.exist(keys) or not has_store(config.store.address(place)) or StationKeys.exist(keys):
        return
    message = f"the station in {place} has a store, but its keys in {keys} are missing; none were made"
    raise StoreError(message, RESTORE_KEYS, "XENTPM_KEYS")


def _write_new(path: Path, text: str) -> None:
    """Write a file, whole or not at all, unless it is there."""
    if path.exists():
        return
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike rename, it does not replace what somebody else just made
        except FileExistsError:
            pass
    finally:
        os.unlink(draft)
