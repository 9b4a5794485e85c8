"""Results from the future: void as soon as one command saw one, whatever the clock says later."""

import time
from types import SimpleNamespace

import pytest

from support.evidence_maker import SoftwareAttester
from support.stores import make_result
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier import ledger_bodies
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.ledger_bodies import StateChange, state_changed
from xentpm_lib.verifier.operations import hosts, tokens
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import Recorded

HOST = SoftwareAttester().record(enrolled_at=1.0)
POOL = PoolRecord(HOST.pool_id, "pool", ("https://x",), TlsTrust(pins=("ab" * 32,)))
CONFIG = """\
version = 1
[[notify]]
name = "hook"
type = "webhook"
url = "https://127.0.0.1/"
secret_env = "HOOK"
"""


class Desk:
    """A station whose host was attested at some time, and a clock to look at it by."""

    def __init__(self, home, monkeypatch):
        self.now = time.time()
        Station.init(home, CONFIG).close()
        self.station = Station.open(home)
        self.station.store.append_all(
            [ledger_bodies.pool_added(POOL), ledger_bodies.host_enrolled(HOST)], who="jo"
        )
        self.station.refresh()
        for module in (hosts, tokens):
            monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: self.now))

    def attested(self, at, state="trusted", told=State.TRUSTED, **changes):
        result = make_result(
            HOST.host_id, state, appraised_at=at, expires_at=at + 900, host_serial=2, **changes
        )
        entry = state_changed(StateChange(HOST.host_id, None, told, at))
        self.station.store.record([Recorded(result, entries=(entry,))])
        self.station.refresh()

    @property
    def state(self):
        return hosts.view(self.station, HOST.host_id).state

    @property
    def told(self):
        return [one.body["new"] for one in self.station.store.entries() if one.kind == "state_changed"]


@pytest.fixture
def desk(tmp_path, monkeypatch):
    made = Desk(tmp_path / "station", monkeypatch)
    yield made
    made.station.close()


@pytest.mark.parametrize("look", ["hosts", "token"])
def test_what_one_command_saw_is_void_for_all(desk, look):
    right = desk.now
    desk.attested(right + 3600)
    if look == "hosts":
        assert desk.state is State.STALE
    else:
        with pytest.raises(UsageError, match="in the future"):
            tokens.token_of(desk.station, HOST.host_id)
    assert desk.told == ["trusted", "stale"]
    assert len(desk.station.store.outbox_due(right + 9e6)) == 1
    desk.now = right + 3700
    assert desk.state is State.STALE and len(desk.told) == 2
    with pytest.raises(UsageError, match="a clock was wrong"):
        tokens.token_of(desk.station, HOST.host_id)
    desk.attested(desk.now)
    assert desk.state is State.TRUSTED


def test_a_clock_that_is_set_right_by_a_little_voids_nothing(desk):
    desk.attested(desk.now + 4)
    assert desk.state is State.TRUSTED and desk.told == ["trusted"]


def test_what_lasts_is_never_void(desk):
    lasting = (finding("UUID_CHANGED"),)
    desk.attested(desk.now + 3600, "untrusted", State.UNTRUSTED_KEY, findings=lasting)
    assert desk.state is State.UNTRUSTED_KEY and desk.told == ["untrusted-key"]


def test_a_lease_that_was_told_to_have_ended_does_not_begin_again(desk):
    """The clock was ahead for a moment, and the watch told that all leases have ended."""
    desk.attested(desk.now)
    change = StateChange(HOST.host_id, State.TRUSTED, State.STALE, desk.now + 9e4)
    desk.station.store.append(*state_changed(change), who="watch")
    desk.station.refresh()
    assert desk.state is State.STALE
    assert "a clock was wrong" in hosts.why_stale(
        desk.station.registry.host(HOST.host_id), desk.station.store.latest()[HOST.host_id].result, desk.now
    )
