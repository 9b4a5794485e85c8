"""The outbox: what is put in is there, in its order, until it was delivered or given up."""

from support.stores import NOW, make_notification, make_result
from xentpm_lib.verifier.store import Recorded


def due(store, now=NOW, **options):
    return [pending.notification for pending in store.outbox_due(now, **options)]


def test_due_in_order_and_by_channel(station):
    store = station.open()
    first, second, third = (make_notification(name) for name in ("hook", "mail", "hook"))
    store.outbox_add([first, second])
    store.outbox_add([third])
    assert due(store) == [first, second, third]
    assert due(store, channel="hook") == [first, third]
    assert due(store, limit=2) == [first, second]
    assert due(station.open()) == [first, second, third]
    sequences = [pending.sequence for pending in store.outbox_due(NOW)]
    assert sequences == sorted(sequences)


def test_delivered_is_done(station):
    store = station.open()
    store.outbox_add([make_notification(), make_notification()])
    first, second = store.outbox_due(NOW)
    store.outbox_done(first.sequence)
    assert store.outbox_due(NOW) == [second]
    store.outbox_give_up(second.sequence, "gone for a week")
    assert store.outbox_due(NOW + 1e9) == []
    assert store.outbox_counts() == {"hook": {"delivered": 1, "failed": 1}}


def test_a_failed_attempt_waits(station):
    store = station.open()
    store.outbox_add([make_notification()])
    (pending,) = store.outbox_due(NOW)
    store.outbox_failed(pending.sequence, "503\0 Service Unavailable" + "x" * 5000, NOW + 60)
    assert store.outbox_due(NOW + 59) == []
    (again,) = station.open().outbox_due(NOW + 60)
    assert (again.attempts, again.next_at) == (1, NOW + 60)
    assert again.error.startswith("503\ufffd Service Unavailable")
    assert len(again.error) == 1000


def test_the_same_notification_is_put_in_once(station):
    """A result whose transaction was repeated because nobody could tell whether it had happened."""
    store = station.open()
    one = make_notification()
    store.record([Recorded(make_result("h"), notifications=(one, one))])
    store.record([Recorded(make_result("h"), notifications=(one,))])
    store.outbox_add([one])
    assert due(store) == [one]
    store.outbox_done(store.outbox_due(NOW)[0].sequence)
    store.outbox_add([one])
    assert due(store) == []


def test_many_at_once(station):
    store = station.open()
    many = [make_notification() for _ in range(1200)]
    store.outbox_add(many)
    assert due(store, limit=2000) == many
