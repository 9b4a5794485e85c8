"""States: leases that end, changes told once, and what a restart goes on from."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.verifier.findings import LASTING, finding
from xentpm_lib.verifier.fleet.states import States, Transition, state_at
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
