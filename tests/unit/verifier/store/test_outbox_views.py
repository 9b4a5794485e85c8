"""What the outbox tells of what it keeps, and pools that go with their passwords, in both databases."""

import pytest

from support.stores import NOW, make_notification
from xentpm_lib.verifier import ledger_bodies as bodies
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.notification import Lane
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.secret import Secret
from xentpm_lib.verifier.store.model import StoredCredentials

POOL = PoolRecord("p-1", "pool", ("https://a",), TlsTrust(pins=("ab" * 32,)))


def test_lanes_and_newest(station):
    store = station.open()
    made = [make_notification(channel, host_id=host) for channel in ("a", "b") for host in ("h-1", "")]
    store.outbox_add(made)
    rows = store.outbox_due(NOW + 9)
    store.outbox_failed(rows[0].sequence, "refused", NOW + 5)
    store.outbox_done(rows[1].sequence)
    store.outbox_done(rows[2].sequence, "superseded")
    assert store.outbox_lanes() == [
        Lane("a", "p-1", "delivered", False, 1, NOW, NOW),
        Lane("a", "p-1", "pending", True, 1, NOW, None),
        Lane("b", "p-1", "pending", False, 1, NOW, None),
        Lane("b", "p-1", "superseded", False, 1, NOW, NOW),
    ]
    assert [lane.channel for lane in store.outbox_lanes("pending")] == ["a", "b"]
    newest = store.outbox_newest(10, host_id="h-1")
    assert [(one.notification, one.state, one.attempts, one.error) for one in newest] == [
        (made[2], "superseded", 0, ""),
        (made[0], "pending", 1, "refused"),
    ]
    assert [one.sequence for one in store.outbox_newest(1, before=newest[0].sequence)] == [rows[1].sequence]
    station.by_hand(("UPDATE outbox SET body = ? WHERE sequence = ?", '{"x":1}', rows[0].sequence))
    (altered,) = store.outbox_newest(10, host_id="h-1", channel="a")
    assert (altered.state, altered.notification.body) == ("altered", "")


def test_a_pool_goes_with_its_password_or_not_at_all(station):
    store = station.open()
    store.put_credentials("p-1", StoredCredentials("root", Secret("x")))
    entry = store.append(*bodies.pool_added(POOL), who="jo")
    with pytest.raises(StoreError):
        store.remove_pools(["p-1"], "jo", after=entry.seq - 1)
    assert store.get_credentials("p-1") is not None
    store.remove_pools(["p-1"], "jo", after=entry.seq)
    assert store.get_credentials("p-1") is None
    assert [one.kind for one in store.entries()][-1] == "pool_removed"
