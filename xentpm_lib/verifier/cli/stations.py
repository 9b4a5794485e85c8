"""The station that a command works on."""

from __future__ import annotations

import argparse
from pathlib import Path

from xentpm_lib.verifier.operations.upkeep import accept_restored, refused
from xentpm_lib.verifier.station import Station, default_home

__all__ = ["make_station", "needs_restoring", "open_station", "restored_station"]


def open_station(arguments: argparse.Namespace) -> Station:
    """The station of ``--home`` or of the environment. Raises: UsageError, StoreError."""
    return Station.open(_home(arguments))


def make_station(arguments: argparse.Namespace) -> Path:
    """Make the station if there is none; its directory. Raises: UsageError, StoreError."""
    with Station.init(_home(arguments)) as station:
        return station.home


def needs_restoring(arguments: argparse.Namespace) -> bool:
    """Whether other commands refuse the store because it is an older copy. Raises: UsageError, StoreError."""
    return refused(_home(arguments) or default_home())


def restored_station(arguments: argparse.Namespace) -> Station:
    """The station whose store was put back from a backup. Raises: UsageError, StoreError."""
    home = _home(arguments) or default_home()
    accept_restored(home)
    return Station.open(home)


def _home(arguments: argparse.Namespace) -> Path | None:
    given = getattr(arguments, "home", None)
    return Path(given) if given is not None else None
