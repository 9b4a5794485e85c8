"""One attestation: what is asked, what is read again, and that it ends with a result whatever happens."""

import base64
import json

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.fleet.attestation import Subject, attest_host
from xentpm_lib.verifier.policy.model import Replay
from xentpm_lib.verifier.result import State, TpmClock

NOW = 1_800_000_000.0


class Pool:
    """Stands for a pool's client: the network and a plugin that answers as ``host`` does."""

    def __init__(self, host, **lies):
        self.host = host
        self.lies = lies
        self.calls = []
        self.fails = {}

    def call_plugin(self, host_uuid, function, args, timeout=None):
        assert host_uuid == self.host.host_id and timeout == make_policy().timing.call_timeout
        self.calls.append((function, args))
        if function in self.fails:
            raise self.fails[function]
        if function == "tpm_get_attestation_identity":
            return self.host.identity()
        nonce = base64.b64decode(args["nonce"])
        return self.host.text(nonce, PcrSelection.from_text(args["pcrs"]), **self.lies)

    @property
    def functions(self):
        return [function for function, _ in self.calls]


def _before(host, **changes):
    clock = {"clock": host.clock - 1000, "reset_count": host.reset_count, "restart_count": 0}
    return TpmClock(**{**clock, "safe": True, "firmware_version": host.firmware_version, **changes})


def _subject(known, previous=None, policy=None):
    return Subject(known.record(), policy or make_policy(), [known.reference()], previous)


def _attest(pool, previous=None, policy=None, known=None):
    subject = _subject(known or pool.host, previous, policy)
    return attest_host(pool, subject, ChallengeBook(lambda: NOW), lambda: NOW)


def _codes(attempted):
    return [one.code for one in attempted.result.findings]


def test_a_good_host_is_trusted_and_its_evidence_is_given():
    host = SoftwareAttester()
    pool = Pool(host)
    attempted = _attest(pool, _before(host))
    assert attempted.result.state is State.TRUSTED and attempted.failure is None
    assert attempted.evidence.untrusted_host_uuid == host.host_id
    assert attempted.verified.pcrs == host.pcrs
    ((function, args),) = pool.calls
    assert function == "tpm_get_quote"
    assert len(base64.b64decode(args["nonce"])) == 32
    assert (args["pcrs"], args["event_log"]) == ("sha256:all", "true")


def test_an_event_log_that_nobody_looks_at_is_not_asked_for():
    host = SoftwareAttester()
    pool = Pool(host)
    _attest(pool, _before(host), make_policy(replay=Replay.IGNORED))
    assert pool.calls[0][1]["event_log"] == "false"


@pytest.mark.parametrize("first", [True, False], ids=["first time", "after a start"])
def test_the_identity_is_read_again(first):
    host = SoftwareAttester()
    pool = Pool(host)
    attempted = _attest(pool, None if first else _before(host, reset_count=host.reset_count - 1))
    assert pool.functions == ["tpm_get_quote", "tpm_get_attestation_identity"]
    assert attempted.result.state is State.TRUSTED


def test_another_main_board_under_the_same_key_is_seen():
    host = SoftwareAttester()
    enrolled = SoftwareAttester(key=host.key, ek_key=host.ek_key, host_id=host.host_id)
    attempted = _attest(Pool(host), known=enrolled)
    assert "UUID_CHANGED" in _codes(attempted)
    assert attempted.result.state is State.UNTRUSTED_KEY


def test_a_replaced_tpm_is_told_with_both_its_keys_and_each_once():
    enrolled = SoftwareAttester()
    host = SoftwareAttester(host_id=enrolled.host_id, system_uuid=enrolled.system_uuid)
    attempted = _attest(Pool(host), _before(enrolled), known=enrolled)
    codes = _codes(attempted)
    assert {"SIGNATURE_INVALID", "AK_CHANGED", "EK_CHANGED"} <= set(codes)
    assert len(codes) == len(set(codes))
    assert attempted.evidence is None and attempted.result.state is State.UNTRUSTED_KEY


def test_an_identity_that_cannot_be_read_does_not_hide_a_bad_key():
    enrolled = SoftwareAttester()
    pool = Pool(SoftwareAttester(host_id=enrolled.host_id))
    pool.fails["tpm_get_attestation_identity"] = CollectionError("HOST_OFFLINE", "off")
    attempted = _attest(pool, _before(enrolled), known=enrolled)
    assert attempted.result.state is State.UNTRUSTED_KEY and attempted.failure is None


def test_a_host_whose_identity_cannot_be_read_after_a_start_is_not_trusted():
    host = SoftwareAttester()
    pool = Pool(host)
    pool.fails["tpm_get_attestation_identity"] = CollectionError("COLLECTION_TIMEOUT", "late")
    attempted = _attest(pool)
    assert attempted.result.state is State.UNREACHABLE
    assert attempted.failure.finding == "COLLECTION_TIMEOUT"


def test_what_cannot_be_collected_says_why():
    host = SoftwareAttester()
    pool = Pool(host)
    pool.fails["tpm_get_quote"] = CollectionError("PLUGIN_MISSING", "no plugin", permanent=True)
    attempted = _attest(pool)
    (found,) = attempted.result.findings
    assert (found.code, found.detail) == ("PLUGIN_MISSING", "no plugin")
    assert attempted.failure.permanent
    assert attempted.result.expires_at == NOW + make_policy().timing.lease


def test_an_answer_that_comes_too_late_does_not_count():
    host, passed = SoftwareAttester(), [0.0]
    pool = Pool(host)
    answer = pool.call_plugin

    def late(*args, **more):
        passed[0] += 61
        return answer(*args, **more)

    pool.call_plugin = late
    book = ChallengeBook(lambda: NOW, lambda: passed[0])
    attempted = attest_host(pool, _subject(host, _before(host)), book, lambda: NOW)
    assert _codes(attempted) == ["EVIDENCE_EXPIRED"]


@pytest.mark.parametrize("step", [-3600, -0.05, 61])
def test_a_clock_that_is_set_while_a_host_is_asked_is_not_the_hosts_fault(step):
    host, now = SoftwareAttester(), [NOW]
    pool = Pool(host)
    answer = pool.call_plugin

    def stepped(*args, **more):
        now[0] += step
        return answer(*args, **more)

    pool.call_plugin = stepped
    book = ChallengeBook(lambda: now[0])
    attempted = attest_host(pool, _subject(host, _before(host)), book, lambda: now[0])
    assert attempted.result.state is State.TRUSTED and attempted.result.appraised_at == NOW + step


@pytest.mark.parametrize("text", ["", "{}", "null", "[1]", "\ud800", "{" * 100_000])
def test_nonsense_is_an_untrusted_result(text):
    pool = Pool(SoftwareAttester())
    pool.call_plugin = lambda *args, **more: text
    attempted = _attest(pool)
    assert _codes(attempted) == ["EVIDENCE_MALFORMED"]
    json.dumps(_codes(attempted))


@pytest.mark.parametrize("error", [KeyError("x"), RecursionError(), MemoryError(), AssertionError()])
def test_a_defect_of_this_program_never_leaves_a_host_trusted(error, caplog):
    pool = Pool(SoftwareAttester())
    pool.fails["tpm_get_quote"] = error
    attempted = _attest(pool)
    assert _codes(attempted) == ["INTERNAL_ERROR"]
    assert attempted.result.state is State.UNTRUSTED_EVIDENCE
    assert type(error).__name__ in caplog.text


def test_a_host_that_was_another_one_once_stays_untrusted():
    host = SoftwareAttester()
    subject = Subject(
        host.record(), make_policy(), [host.reference()], _before(host), (finding("UUID_CHANGED"),)
    )
    attempted = attest_host(Pool(host), subject, ChallengeBook(lambda: NOW), lambda: NOW)
    assert _codes(attempted) == ["UUID_CHANGED"]
    assert attempted.result.state is State.UNTRUSTED_KEY
    assert attempted.verified is not None  # to be looked at, not to be trusted


def test_what_lasts_is_in_results_without_evidence_too():
    host = SoftwareAttester()
    pool = Pool(host)
    pool.fails["tpm_get_quote"] = CollectionError("HOST_OFFLINE", "off")
    doubts = (finding("CLOCK_WENT_BACK"),)
    subject = Subject(host.record(), make_policy(), [host.reference()], None, doubts)
    attempted = attest_host(pool, subject, ChallengeBook(lambda: NOW), lambda: NOW)
    assert set(_codes(attempted)) == {"HOST_OFFLINE", "CLOCK_WENT_BACK"}
    assert attempted.failure is not None
