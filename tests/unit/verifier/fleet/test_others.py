"""What is stored of a host is gone on from, whoever asks it next."""

from support.evidence_maker import SoftwareAttester
from support.stores import make_result
from xentpm_lib.verifier.fleet.others import take_up
from xentpm_lib.verifier.fleet.states import States
from xentpm_lib.verifier.store.model import StoredResult
from xentpm_lib.verifier.store.result_rows import altered_result

HOST = SoftwareAttester().record(enrolled_at=100.0)


def test_that_a_result_was_altered_is_a_doubt_of_its_host():
    states = States()
    states.enrol(HOST)
    take_up(states, StoredResult(7, altered_result(HOST.host_id, "by hand"), True))
    assert [one.code for one in states.doubts(HOST.host_id)] == ["RECORD_ALTERED"]


def test_a_sound_result_gives_its_clock():
    states = States()
    states.enrol(HOST)
    result = make_result(HOST.host_id)
    take_up(states, StoredResult(7, result, False, result.clock))
    assert states.previous_clock(HOST.host_id) == result.clock
    assert states.doubts(HOST.host_id) == ()
