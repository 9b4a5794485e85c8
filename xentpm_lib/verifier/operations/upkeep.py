"""The store's upkeep: is every record what was written, and what need not be kept."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.policy.loader import shipped, shipped_names
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.station_config import load_config
from xentpm_lib.verifier.store.model import ALTERED, Problem, Pruned
from xentpm_lib.verifier.store.store import Store

__all__ = ["Checked", "accept_restored", "check", "export", "prune", "refused"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What is not as the verifier wrote it."""

    problems: tuple[Problem, ...]


def check(station: Station) -> Checked:
    """Look at every record. Raises: StoreError when the store cannot be read."""
    return Checked(tuple(station.store.check()))


def refused(home: Path) -> bool:
    """Whether a station's ledger is not the one that was written, as after a restore.

    Raises:
        UsageError: there is no such station. StoreError: it cannot be used for another reason.
    """
    try:
        Station.open(home).close()
    except StoreError as error:
        if error.code != ALTERED:
            raise
        return True
    return False


def accept_restored(home: Path) -> None:
    """Use the store of a station as it is, though its ledger ends earlier than it once did.

    Raises:
        UsageError: there is no such station. StoreError: its records do not hold.
    """
    config = load_config(home / "station.toml")
    keys = StationKeys.open(home / "keys")
    Store.open(config.store.address(home), keys, restored_by=who()).close()


def export(station: Station, path: Path) -> None:
    """Write all history to a file that only its owner can read: whole, or the file stays as it was.

    Raises:
        StoreError: the ledger was altered. OSError: the file cannot be written.
    """
    place = path.resolve()  # a link stays one
    if place.exists() and not place.is_file():  # a pipe, /dev/stdout
        with open(place, "w", encoding="utf-8") as file:
            station.store.audit_export(file)
        return
    descriptor, draft = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            station.store.audit_export(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, place)
    except BaseException:
        os.unlink(draft)
        raise


def prune(station: Station) -> Pruned:
    """Delete results and notifications that are older than their host's policy keeps them.

    Raises:
        StoreError.
    """
    usual = shipped(shipped_names()[0])

    def policy(host_id: str) -> Policy:
        host = station.registry.find_host(host_id)
        try:
            return usual if host is None else station.registry.policy_for(host)
        except PolicyError:
            return usual

    return station.store.prune(
        time.time(),
        lambda host_id: policy(host_id).keep_results_s,
        lambda host_id: policy(host_id).keep_notifications_s,
    )
