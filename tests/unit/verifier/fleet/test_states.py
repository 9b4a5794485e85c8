"""States: leases that end, changes told once, and what a restart goes on from."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.verifier.findings import LASTING, finding
from xentpm_lib.verifier.fleet.states import (
    CLOCK_TOLERANCE_S,
    States,
    Transition,
    from_the_future,
    has_ended,
    lasting,
    state_at,
    still_in_doubt,
)
from xentpm_lib.verifier.ledger_bodies import StateChange
from xentpm_lib.verifier.result import AttestationResult, ReferenceUsed, State, TpmClock

HOST = SoftwareAttester().record(enrolled_at=100.0)
CLOCK = TpmClock(1000, 3, 0, True, 7)


def _result(*codes, at=200.0, lease=900.0, host=HOST, clock=CLOCK):
    return AttestationResult(
        host_id=host.host_id,
        host_name=host.name,
        pool_id=host.pool_id,
        findings=tuple(finding(code) for code in codes),
        appraised_at=at,
        expires_at=at + lease,
        policy=make_policy().used,
        references=(ReferenceUsed("r", "installed", True),),
        clock=None if codes else clock,
    )


def _states(*hosts):
    states = States()
    for host in hosts or (HOST,):
        states.enrol(host)
    return states


def _store(states, *results):
    changes = states.transitions(results)
    states.committed(results)
    return changes


def test_a_host_is_what_its_result_says_while_the_lease_lasts():
    result = _result()
    assert state_at(HOST, result, 200) is State.TRUSTED
    assert state_at(HOST, result, 1099.9) is State.TRUSTED
    assert state_at(HOST, result, 1100) is State.STALE
    assert state_at(HOST, _result("PCR_CHANGED"), 300) is State.UNTRUSTED_MEASUREMENT
    assert state_at(HOST, _result("PCR_CHANGED"), 5000) is State.STALE


def test_what_is_not_known_is_never_trusted():
    assert state_at(None, _result(), 300) is State.NOT_ENROLLED
    assert state_at(HOST, None, 300) is State.STALE


def test_a_result_of_an_earlier_enrolment_does_not_count():
    assert state_at(replace(HOST, enrolled_at=201.0), _result(), 300) is State.STALE


def test_a_result_from_the_future_does_not_count():
    assert state_at(HOST, _result(at=400), 300) is State.STALE


def test_a_change_is_told_once():
    states = _states()
    assert _store(states, _result()) == [Transition(HOST.host_id, None, State.TRUSTED, 200)]
    assert _store(states, _result(at=300)) == [None]
    bad = _result("PCR_CHANGED", at=400)
    assert _store(states, bad, bad, _result(at=500)) == [
        Transition(HOST.host_id, State.TRUSTED, State.UNTRUSTED_MEASUREMENT, 400),
        None,
        Transition(HOST.host_id, State.UNTRUSTED_MEASUREMENT, State.TRUSTED, 500),
    ]
    assert states.since(HOST.host_id) == 500


def test_what_was_not_stored_is_told_the_next_time():
    states = _states()
    states.transitions([_result()])
    assert states.transitions([_result(at=300)]) == [Transition(HOST.host_id, None, State.TRUSTED, 300)]


def test_a_lease_that_ends_is_told_once_and_recovery_too():
    states = _states()
    assert states.lapsed(10_000) == [], "there never was one"
    _store(states, _result())
    assert states.lapsed(1099) == []
    (lapse,) = states.lapsed(1100)
    assert lapse == Transition(HOST.host_id, State.TRUSTED, State.STALE, 1100)
    states.told(HOST.host_id, State.STALE, 1100)
    assert states.lapsed(1200) == []
    (change,) = _store(states, _result(at=1300))
    assert (change.old, change.new) == (State.STALE, State.TRUSTED)


def test_a_restart_goes_on_without_telling_again():
    states = _states()
    states.told(HOST.host_id, State.UNREACHABLE, 200)
    states.restore(_result("HOST_OFFLINE"), CLOCK)
    assert states.previous_clock(HOST.host_id) == CLOCK
    assert _store(states, _result("HOST_OFFLINE", at=300)) == [None]


def test_a_restart_after_the_end_of_a_lease_that_was_told():
    states = _states()
    states.told(HOST.host_id, State.TRUSTED, 200)
    states.restore(_result(), CLOCK)
    states.told(HOST.host_id, State.STALE, 1100)
    assert states.lapsed(2000) == []


def test_leases_from_before_a_start_can_be_left_out():
    states = _states()
    states.told(HOST.host_id, State.TRUSTED, 200)
    states.restore(_result(), CLOCK)
    assert states.lapsed(2000, restored=False) == []
    assert len(states.lapsed(2000)) == 1
    _store(states, _result(at=2000))
    assert len(states.lapsed(3000, restored=False)) == 1


def test_a_quote_that_does_not_hold_keeps_the_clock_before():
    states = _states()
    _store(states, _result(), _result("SIGNATURE_INVALID", at=300))
    assert states.previous_clock(HOST.host_id) == CLOCK


def test_another_enrolment_begins_with_another_clock_and_tells_what_changed():
    states = _states()
    _store(states, _result())
    again = replace(HOST, enrolled_at=250.0, serial=2)
    states.enrol(again)
    assert states.previous_clock(HOST.host_id) is None
    assert states.current(HOST.host_id) is State.TRUSTED
    assert _store(states, _result(at=300, host=again)) == [None]


def test_a_stored_result_of_an_earlier_enrolment_gives_no_clock_and_no_lease():
    states = _states(replace(HOST, enrolled_at=250.0))
    states.told(HOST.host_id, State.TRUSTED, 200)
    states.restore(_result(), CLOCK)
    assert states.previous_clock(HOST.host_id) is None
    assert len(states.lapsed(300)) == 1


def test_the_last_word_of_the_ledger_counts_whatever_clocks_say():
    states = _states()
    _store(states, _result(at=3600))
    states.told(HOST.host_id, State.STALE, 60)
    assert states.current(HOST.host_id) is State.STALE
    assert states.since(HOST.host_id) == 60


def test_hosts_that_nobody_knows_do_no_harm():
    states = _states()
    states.forget(HOST.host_id)
    states.restore(_result(), CLOCK)
    states.told(HOST.host_id, State.TRUSTED, 1)
    _store(states, _result())
    assert states.current(HOST.host_id) is None and states.since(HOST.host_id) == 0
    assert not states.counts()


def test_counts():
    other = SoftwareAttester().record(enrolled_at=0.0)
    states = _states(HOST, other)
    _store(states, _result())
    assert states.counts() == {State.TRUSTED: 1, None: 1}


@pytest.mark.parametrize("code", sorted(LASTING))
def test_what_lasts_is_kept_until_the_host_is_enrolled_anew(code):
    states = _states()
    _store(states, _result(code, "PCR_CHANGED"))
    assert [one.code for one in states.doubts(HOST.host_id)] == [code]
    states.enrol(HOST)
    assert states.doubts(HOST.host_id)
    again = _states()
    again.restore(_result(code), None)
    assert [one.code for one in again.doubts(HOST.host_id)] == [code]
    again.enrol(replace(HOST, enrolled_at=300.0, serial=2))
    assert again.doubts(HOST.host_id) == ()


def test_an_altered_result_is_untrusted_whatever_its_times_say():
    altered = replace(_result("RECORD_ALTERED"), appraised_at=0.0, expires_at=0.0)
    assert state_at(HOST, altered, 300) is State.UNTRUSTED_KEY
    states = _states()
    states.restore_altered(altered)
    assert [one.code for one in states.doubts(HOST.host_id)] == ["RECORD_ALTERED"]


def _of(serial, *codes, at=200.0):
    return replace(_result(*codes, at=at), host_serial=serial)


def test_the_entry_that_enrolled_a_host_says_which_results_are_its_own_not_clocks():
    host = replace(HOST, serial=7, enrolled_at=1e9)
    assert state_at(host, _of(7), 300) is State.TRUSTED
    assert state_at(host, _of(6), 300) is State.STALE
    assert state_at(replace(host, enrolled_at=0.0), _of(6), 300) is State.STALE


@pytest.mark.parametrize("code", sorted(LASTING))
def test_what_lasts_is_not_over_with_the_lease(code):
    host = replace(HOST, serial=7)
    found = _of(7, code)
    for now in (0.0, 300.0, 1100.0, 1e9):
        for ended in (False, True):
            assert state_at(host, found, now, ended) is found.state is not State.STALE
    assert state_at(replace(host, serial=8), found, 300) in (State.STALE, State.UNTRUSTED_KEY)


@pytest.mark.parametrize("code", sorted(LASTING - {"RECORD_ALTERED"}))
def test_a_host_that_is_enrolled_anew_leaves_its_doubts(code):
    host, again = replace(HOST, serial=7), replace(HOST, serial=8)
    states = _states(host)
    _store(states, _of(7, code))
    assert states.lapsed(1e9) == [], "it is not told to be stale: that would sound better than it is"
    assert state_at(again, _of(7, code), 300) is State.STALE
    states.enrol(again)
    assert states.doubts(HOST.host_id) == ()
    (lapse,) = states.lapsed(300)
    assert (lapse.old, lapse.new) == (_of(7, code).state, State.STALE)
    states.restore(_of(7, code), CLOCK)  # what is stored of the enrolment before
    states.committed([_of(7, code, at=400)])  # or was under way
    assert states.doubts(HOST.host_id) == () and states.previous_clock(HOST.host_id) is None
    _store(states, _of(8, at=500))
    assert states.current(HOST.host_id) is State.TRUSTED


def test_a_doubt_goes_from_result_to_result():
    doubt = _of(7, "UUID_CHANGED")
    (lasts,) = lasting(doubt)
    good = _of(7, at=300)
    doubted = still_in_doubt((lasts,), good)
    assert doubted.findings == (lasts,) and doubted.state is State.UNTRUSTED_KEY
    assert still_in_doubt((lasts,), doubt) is doubt
    unreachable = still_in_doubt((lasts,), _of(7, "HOST_OFFLINE"))
    assert unreachable.state is State.UNTRUSTED_KEY


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_time_at_all_is_never_trusted(value):
    assert state_at(HOST, _of(HOST.serial), value) is State.STALE
    assert state_at(HOST, replace(_of(HOST.serial), expires_at=float("nan")), 300) is State.STALE


def test_the_future_begins_where_no_clock_is_set_right_by_a_little():
    later = _of(HOST.serial, at=300 + CLOCK_TOLERANCE_S)
    assert state_at(HOST, later, 300) is State.TRUSTED and not from_the_future(later, 300)
    assert state_at(HOST, later, 299.9) is State.STALE and from_the_future(later, 299.9)


def test_a_lease_from_the_future_has_lapsed_also_after_a_restart():
    states = _states()
    states.told(HOST.host_id, State.TRUSTED, 3600)
    states.restore(_of(HOST.serial, at=3600), CLOCK)
    (lapse,) = states.lapsed(60, restored=False)
    assert lapse == Transition(HOST.host_id, State.TRUSTED, State.STALE, 60)
    assert states.has_lapsed(HOST.host_id, 60) and not states.has_lapsed(HOST.host_id, 3700)


@pytest.mark.parametrize(
    "new, named, number, ended",
    [
        (State.STALE, 5, 5, True),
        (State.STALE, 5, 4, True),
        (State.STALE, 5, 6, False),
        (State.STALE, None, 5, False),
        (State.TRUSTED, 5, 5, False),
    ],
)
def test_what_the_ledger_says_is_over(new, named, number, ended):
    change = StateChange(HOST.host_id, State.TRUSTED, new, 300.0, (), named)
    assert has_ended(change, number) is ended
    assert not has_ended(None, number)
    assert state_at(HOST, _of(HOST.serial), 300, ended) is (State.STALE if ended else State.TRUSTED)
