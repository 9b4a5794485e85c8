"""A host has its share of the disk for logs, whatever it boots and whoever stores its results."""

import os
from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester
from support.stores import NOW, make_evidence, make_result
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.verifier.store import log_bounds
from xentpm_lib.verifier.store.log_bounds import LOG_BYTES_A_DAY
from xentpm_lib.verifier.store.model import Recorded

MIB = 1024 * 1024
HOST = SoftwareAttester()


def _with_log(size, host_id=HOST.host_id, at=NOW):
    evidence = make_evidence(HOST)[1]._replace(untrusted_event_log=os.urandom(size))
    return Recorded(make_result(host_id, appraised_at=at), evidence)


def _kept(store, batch):
    numbers = store.record(batch)
    return [store.evidence(number).untrusted_event_log is not None for number in numbers]


@pytest.fixture
def stores(station):
    """The stores of two processes."""
    return station.open(), station.open()


def test_more_than_its_share_is_not_kept_by_any_process(stores, caplog):
    one, other = stores
    assert _kept(one, [_with_log(MIB) for _ in range(3)]) == [True] * 3
    assert _kept(other, [_with_log(MIB), _with_log(MIB)]) == [False, False]
    assert _kept(other, [_with_log(MIB // 2)]) == [True]
    assert _kept(one, [_with_log(MIB), _with_log(MIB, "another host")]) == [False, True]
    assert [one.levelname for one in caplog.records] == ["WARNING"] * 2, "once in each process"
    assert f"more than {LOG_BYTES_A_DAY} bytes a day" in caplog.text


def test_the_rest_of_the_evidence_is_kept(stores):
    one, _ = stores
    one.record([_with_log(LOG_BYTES_A_DAY - 100_000)])
    sent = _with_log(MIB)
    (number,) = one.record([sent])
    assert one.evidence(number) == sent.evidence._replace(untrusted_event_log=None)
    assert one.latest()[HOST.host_id].result == sent.result


def test_what_is_there_already_is_kept_again(stores):
    one, other = stores
    first = _with_log(3 * MIB)
    assert _kept(one, [first, _with_log(MIB // 2)]) == [True, True]
    for store in stores:
        assert _kept(store, [first, first]) == [True, True]
    unreachable = Recorded(make_result(HOST.host_id, "unreachable"))
    other.record([unreachable])
    assert _kept(other, [first]) == [True]


def test_a_day_later_there_is_room(station, stores):
    one, _ = stores
    assert _kept(one, [_with_log(3 * MIB)]) == [True]
    station.now = NOW + 86_401
    assert _kept(one, [_with_log(3 * MIB, at=station.now)]) == [True]


def test_boot_logs_count_too(stores):
    one, _ = stores
    evidence = make_evidence(HOST)[1]
    events = tuple(BootEvent(8, {"sha256": bytes(32)}, os.urandom(500).hex()) for _ in range(1000))
    grown = [
        replace(_with_log(10), evidence=evidence._replace(untrusted_boot_log=events[number:]))
        for number in range(4)
    ]
    numbers = one.record(grown)
    assert [one.evidence(number).untrusted_boot_log is not None for number in numbers] == [True] * 3 + [False]


def test_without_the_bound_the_disk_fills(stores, monkeypatch):
    monkeypatch.setattr(log_bounds, "LOG_BYTES_A_DAY", 1 << 40)
    assert _kept(stores[0], [_with_log(MIB) for _ in range(6)]) == [True] * 6
