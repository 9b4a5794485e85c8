"""Hosts that a pool has and nobody has enrolled: on record once, told of once, gone when they are gone."""

import json
import threading
import uuid

import pytest

from support.evidence_maker import SoftwareAttester
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.errors import CollectionError, StoreError
from xentpm_lib.verifier.fleet import sightings as module
from xentpm_lib.verifier.fleet.sightings import look_at_pools
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.station import Station

ENROLLED = SoftwareAttester(name="host1").record()
POOLS = [
    PoolRecord(ENROLLED.pool_id, "pool", ("https://a",), TlsTrust(pins=("ab" * 32,))),
    PoolRecord(str(uuid.uuid4()), "other", ("https://b",), TlsTrust(pins=("cd" * 32,))),
]
NEW, LATER = str(uuid.uuid4()), str(uuid.uuid4())
CONFIG = """\
version = 1
[[notify]]
name = "hook"
type = "webhook"
url = "https://127.0.0.1/"
secret_env = "HOOK"
"""


class Pool:
    """Stands for a pool's client: the network, and a master that tells its hosts."""

    def __init__(self, **hosts):
        self.hosts = {ENROLLED.host_id: "host1", **hosts}

    def host_names(self):
        if self.hosts is None:
            raise CollectionError("POOL_UNREACHABLE", "nobody there")
        return dict(self.hosts)


class Desk:
    """A station with two pools and one enrolled host."""

    def __init__(self, home):
        Station.init(home, CONFIG).close()
        self.home = home
        self.pool, self.other = Pool(), Pool()
        self.other.hosts = {}
        self.stations = []
        station = self.open()
        items = [*map(ledger_bodies.pool_added, POOLS), ledger_bodies.host_enrolled(ENROLLED)]
        station.store.append_all(items, who="jo")
        station.refresh()

    def open(self):
        """Another process's view of the station."""
        self.stations.append(Station.open(self.home))
        return self.stations[-1]

    def look(self, station=None):
        """Look at both pools, and take in what was written."""
        station = station or self.stations[0]
        clients = dict(zip([pool.pool_id for pool in POOLS], (self.pool, self.other), strict=True))
        found = look_at_pools(station, list(clients), clients.__getitem__)
        station.refresh()
        return found

    @property
    def listed(self):
        self.stations[0].refresh()
        return {one.host_id: one.name for one in self.stations[0].registry.unenrolled()}

    @property
    def written(self):
        entries = self.stations[0].store.entries()
        return [(one.kind, one.subject) for one in entries if one.kind in ("host_seen", "host_gone")]

    @property
    def told(self):
        due = self.stations[0].store.outbox_due(4e9)
        bodies = [json.loads(one.notification.body) for one in due]
        return [(body["host"]["uuid"], body["host"]["name"], body["state"]) for body in bodies]


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path / "station")
    yield made
    for station in made.stations:
        station.close()


def test_a_new_host_is_on_record_and_told_of_once(desk):
    assert desk.look() == 0 and not desk.written
    desk.pool.hosts[NEW] = "host9"
    assert [desk.look() for _ in range(3)] == [1, 0, 0]
    assert desk.listed == {NEW: "host9"} and desk.written == [("host_seen", NEW)]
    assert desk.told == [(NEW, "host9", "not-enrolled")]


def test_a_host_that_leaves_is_listed_no_more_and_told_of_again_when_it_comes_back(desk):
    desk.pool.hosts[NEW] = "host9"
    desk.look()
    del desk.pool.hosts[NEW]
    assert desk.look() == 0 and not desk.listed
    desk.pool.hosts[NEW] = "host9"
    assert desk.look() == 1 and len(desk.told) == 2


def test_a_host_that_moves_to_another_pool_is_listed_there(desk):
    desk.pool.hosts[NEW] = "host9"
    desk.look()
    del desk.pool.hosts[NEW]
    desk.other.hosts[NEW] = "host9"
    desk.look()
    desk.look()
    (found,) = desk.stations[0].registry.unenrolled()
    assert found.pool_id == POOLS[1].pool_id


def test_what_was_forgotten_on_purpose_stays_unseen(desk):
    desk.pool.hosts[NEW] = "host9"
    desk.look()
    for host_id in (NEW, ENROLLED.host_id):
        desk.stations[0].store.append(*ledger_bodies.host_removed(host_id), who="jo")
    desk.stations[0].refresh()
    assert desk.look() == 0 and not desk.listed and len(desk.written) == 1


def test_a_pool_that_does_not_answer_is_passed_over(desk):
    desk.pool.hosts[NEW] = "host9"
    desk.look()
    desk.pool.hosts = None
    desk.other.hosts[LATER] = "host8"
    assert desk.look() == 1
    assert desk.listed == {NEW: "host9", LATER: "host8"}, "what is not known is not gone"


def test_two_writers_at_once_write_it_once(desk):
    desk.pool.hosts.update({str(uuid.uuid4()): f"host{number}" for number in range(20)})
    stations = [desk.open() for _ in range(4)]
    start, found = threading.Barrier(len(stations)), []

    def look(station):
        start.wait()
        found.append(desk.look(station))

    threads = [threading.Thread(target=look, args=(station,)) for station in stations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sum(found) == 20
    assert len(desk.written) == 20 and len(desk.told) == 20 and len(desk.listed) == 20


def test_a_host_that_is_enrolled_at_the_same_moment_is_not_told_of(desk):
    newer = desk.open()
    host = SoftwareAttester(host_id=NEW).record()
    newer.store.append(*ledger_bodies.host_enrolled(host), who="jo")
    desk.pool.hosts[NEW] = "host9"
    assert desk.look() == 0 and not desk.listed and not desk.told


def test_a_pool_that_is_removed_at_the_same_moment_has_no_hosts(desk):
    newer = desk.open()
    newer.store.append(*ledger_bodies.pool_removed(POOLS[0].pool_id), who="jo")
    desk.pool.hosts[NEW] = "host9"
    assert desk.look() == 0 and not desk.written


@pytest.mark.parametrize("name", ["a\x1b[2J\nb", "", "\u202e\ud800", "x" * 10_000, "\0"])
def test_any_name_can_be_written_and_told(desk, name):
    desk.pool.hosts[NEW] = name
    assert desk.look() == 1 and list(desk.listed) == [NEW] and len(desk.told) == 1


@pytest.mark.parametrize("host_id", ["", "a\nb", "x" * 300, "OpaqueRef:NULL", NEW.upper(), NEW + "\0"])
def test_what_is_no_uuid_is_no_host_and_hides_none(desk, host_id):
    """A master that lies about one host does not keep the other pools from being looked at."""
    desk.pool.hosts.update({host_id: "a lie", NEW: "host9"})
    desk.other.hosts[LATER] = "host8"
    assert desk.look() == 2 and set(desk.listed) == {NEW, LATER}


def test_a_master_that_invents_hosts_without_end(desk, monkeypatch):
    monkeypatch.setattr(module, "_MAX_HOSTS", 10)
    desk.pool.hosts.update({str(uuid.uuid4()): "host" for _ in range(50)})
    assert [desk.look() for _ in range(3)] == [10, 0, 0]
    assert len(desk.listed) == 10


def test_a_store_that_cannot_be_used_is_an_error(desk):
    desk.pool.hosts[NEW] = "host9"
    (desk.home / "keys" / "ledger.head").unlink()
    with pytest.raises(StoreError):
        look_at_pools(desk.stations[0], [POOLS[0].pool_id], lambda _pool: desk.pool)
