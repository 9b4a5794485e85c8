"""Taking away what channels left behind that were taken out of station.toml: marks on hosts, what waits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.fleet.clients import Clients
from xentpm_lib.verifier.notify.abandoned import give_up_abandoned
from xentpm_lib.verifier.notify.config import ChannelKind
from xentpm_lib.verifier.notify.xapi_channels import MARK_KEYS, MARK_TAGS
from xentpm_lib.verifier.operations.pools import credentials_for
from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.xapi.pool import PoolClient

__all__ = ["Cleaned", "clean"]

_CLOSE_S = 2.0


@dataclass(slots=True)
class Cleaned:
    """hosts: UUID to name of those whose marks were taken off. given_up: how many notifications.

    problems: in sentences.
    """

    hosts: dict[str, str] = field(default_factory=dict)
    given_up: int = 0
    problems: list[str] = field(default_factory=list)


def clean(station: Station) -> Cleaned:
    """Take the marks off all hosts that are to have none, and give up what waits for channels that are gone.

    To have marks are enrolled hosts, while there is a channel of type ``xapi_marks``. Hosts of pools that
    are forgotten are not reached. Raises: StoreError.
    """
    done = Cleaned(given_up=give_up_abandoned(station.store, station.channels, time.time(), 0.0))
    clients = Clients(lambda pool_id: credentials_for(station, pool_id))
    marking = any(channel.kind is ChannelKind.XAPI_MARKS for channel in station.channels)
    kept = {host.host_id for host in station.registry.hosts()} if marking else set()
    try:
        for pool in station.registry.pools():
            _clean_pool(pool, clients.of(pool), kept, done)
    finally:
        clients.close(_CLOSE_S)
    return done


def _clean_pool(pool: PoolRecord, client: PoolClient, kept: set[str], done: Cleaned) -> None:
    try:
        names = client.host_names()
    except CollectionError as error:
        done.problems.append(f"pool {pool.name}: {error.message}")
        return
    for host_id, name in names.items():
        if host_id in kept:
            continue
        try:
            found = client.marks(host_id)
            if not found.tags.isdisjoint(MARK_TAGS) or not set(MARK_KEYS).isdisjoint(found.other_config):
                client.set_marks(host_id, remove_tags=MARK_TAGS, remove_config=MARK_KEYS)
                done.hosts[host_id] = name
        except CollectionError as error:
            done.problems.append(f"host {name} of pool {pool.name}: {error.message}")
