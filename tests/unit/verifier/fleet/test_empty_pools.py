"""Pools without hosts: they go with their passwords, not before their hosts were told, and never half."""

import pytest

from support.evidence_maker import SoftwareAttester
from support.stores import NOW, make_notification
from xentpm_lib.verifier import ledger_bodies as bodies
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.fleet.empty_pools import remove_empty_pools
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.secret import Secret
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials

HOST = SoftwareAttester(name="one").record()
POOL = PoolRecord(HOST.pool_id, "pool", ("https://a",), TlsTrust(pins=("ab" * 32,)))


@pytest.fixture
def station(tmp_path):
    """A station with a pool and its password, whose only host was forgotten."""
    with Station.init(tmp_path / "station") as made:
        made.store.put_credentials(POOL.pool_id, StoredCredentials("root", Secret("x")))
        items = [bodies.pool_added(POOL), bodies.host_enrolled(HOST)]
        made.store.append_all(items, who="jo")
        made.refresh()
        assert remove_empty_pools(made, "jo") == []
        made.store.append(*bodies.host_removed(HOST.host_id), who="jo")
        made.refresh()
        yield made


def _told(channel):
    return make_notification(channel, HOST.host_id, pool_id=POOL.pool_id)


def _left(station):
    station.refresh()
    return station.registry.pools(), station.store.get_credentials(POOL.pool_id) is not None


def test_it_stays_until_the_pool_was_told(station):
    station.store.outbox_add([_told("marks")])
    assert remove_empty_pools(station, "jo") == [POOL]
    assert _left(station) == ((POOL,), True)
    (waiting,) = station.store.outbox_due(NOW, 10)
    station.store.outbox_give_up(waiting.sequence, "it never answered")
    assert remove_empty_pools(station, "jo") == []
    assert _left(station) == ((), False)
    assert remove_empty_pools(station, "jo") == []


@pytest.mark.parametrize("channel", ["hook", "a channel that was removed"])
def test_what_needs_no_pool_holds_up_nothing(station, channel):
    station.store.outbox_add([_told(channel)])
    assert remove_empty_pools(station, "jo") == []
    assert _left(station) == ((), False)


def test_a_host_that_is_enrolled_at_that_moment_keeps_pool_and_password(station):
    station.store.append(*bodies.host_enrolled(HOST), who="somebody else")
    with pytest.raises(StoreError) as error:
        remove_empty_pools(station, "jo")
    assert error.value.code == "XENTPM_STORE_CHANGED"
    assert _left(station) == ((POOL,), True)
    assert remove_empty_pools(station, "jo") == []
    assert _left(station) == ((POOL,), True)


def test_notifications_are_counted_by_channel_pool_and_state(station):
    station.store.outbox_add([_told("marks"), _told("marks"), _told("hook")])
    first = station.store.outbox_due(NOW, 1)[0]
    station.store.outbox_failed(first.sequence, "refused", NOW + 5)
    lanes = station.store.outbox_lanes()
    assert [(one.channel, one.failed, one.count) for one in lanes] == [
        ("hook", False, 1),
        ("marks", False, 1),
        ("marks", True, 1),
    ]
    assert {(one.pool_id, one.state, one.oldest) for one in lanes} == {(POOL.pool_id, "pending", NOW)}
    station.store.outbox_done(first.sequence)
    assert [one.count for one in station.store.outbox_lanes("pending")] == [1, 1]
    assert [one.finished is None for one in station.store.outbox_lanes("delivered")] == [False]
