"""The station that a command works on."""

from __future__ import annotations

import argparse
from pathlib import Path

from xentpm_lib.verifier.station import Station

__all__ = ["make_station", "open_station"]


def open_station(arguments: argparse.Namespace) -> Station:
    """The station of ``--home`` or of the environment. Raises: UsageError, StoreError."""
    return Station.open(_home(arguments))


def make_station(arguments: argparse.Namespace) -> Path:
    """Make the station if there is none; its directory. Raises: UsageError, StoreError."""
    with Station.init(_home(arguments)) as station:
        return station.home


def _home(arguments: argparse.Namespace) -> Path | None:
    given = getattr(arguments, "home", None)
    return Path(given) if given is not None else None
