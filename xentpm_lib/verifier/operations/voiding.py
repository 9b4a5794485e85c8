"""Results from the future are void for good: the first command that sees one writes that down.

Such a result was made while the clock was ahead. When the time that it tells has come, it would hold again,
and nobody would have attested the host. `watch` and `attest` write it down, too (``fleet.states.lapsed``).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.recording import entry_of
from xentpm_lib.verifier.fleet.states import Transition, from_the_future, is_of, lasting
from xentpm_lib.verifier.notify.change import Announcer, Change
from xentpm_lib.verifier.operations.station_use import who
from xentpm_lib.verifier.records import HostRecord
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredResult

__all__ = ["void_from_the_future"]

_LOG = logging.getLogger(__name__)


def void_from_the_future(station: Station, stored: Mapping[str, StoredResult], now: float) -> None:
    """Write down which hosts' newest results are from the future. stored: host to its newest result.

    What cannot be written now is found again by the next command.
    """
    for host_id, one in stored.items():
        host = station.registry.find_host(host_id)
        if host is None or one.altered or not is_of(host, one.result) or lasting(one.result):
            continue
        change = station.registry.state(host_id)
        if change is None or change.new is State.STALE or not from_the_future(one.result, now):
            continue
        try:
            _write(station, host, Transition(host_id, change.new, State.STALE, now))
        except StoreError as error:
            _LOG.warning("host %s: that its last result is void cannot be written: %s", host.name, error)


def _write(station: Station, host: HostRecord, lapse: Transition) -> None:
    pool = station.registry.find_pool(host.pool_id)
    names = (host.host_id, host.name, host.pool_id, "" if pool is None else pool.name)
    change = Change(*names, lapse.old, lapse.new, lapse.at)
    told = Announcer(station.channels).changed(change)
    station.store.append_all([entry_of(change)], who(), told, after=station.registry.seq)
    station.refresh()
