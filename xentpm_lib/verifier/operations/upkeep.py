"""The store's upkeep: is every record what was written, and what need not be kept."""

from __future__ import annotations

import time
from dataclasses import dataclass

from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier.policy.loader import shipped, shipped_names
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import Problem, Pruned

__all__ = ["Checked", "check", "prune"]


@dataclass(frozen=True, slots=True)
class Checked:
    """What is not as the verifier wrote it."""

    problems: tuple[Problem, ...]


def check(station: Station) -> Checked:
    """Look at every record. Raises: StoreError when the store cannot be read."""
    return Checked(tuple(station.store.check()))


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
