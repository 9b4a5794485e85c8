"""The store's upkeep: is every record what was written, and what need not be kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.keys import StationKeys
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.policy.loader import shipped, shipped_names
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.station_config import load_config
from xentpm_lib.verifier.store.model import ALTERED, Problem, Pruned
from xentpm_lib.verifier.store.store import Store

__all__ = ["Checked", "accept_restored", "check", "prune", "refused"]


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


def prune(station: Station) -> Pruned:
    """Delete results that are older than their host's policy keeps them. Raises: StoreError."""
    usual = shipped(shipped_names()[0]).keep_results_s

    def keep(host_id: str) -> float:
        host = station.registry.find_host(host_id)
        try:
            return usual if host is None else station.registry.policy_for(host).keep_results_s
        except PolicyError:
            return usual

    return station.store.prune(time.time(), keep)
