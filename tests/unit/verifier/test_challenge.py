"""verifier/challenge.py: a nonce for one host, one key, one time, and not for long."""

import threading
from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.errors import EvidenceError
from xentpm_lib.verifier import challenge as challenge_module
from xentpm_lib.verifier.challenge import NONCE_SIZE, ChallengeBook, ChallengeError

NOW = 1_800_000_000.0


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def book(clock):
    return ChallengeBook(clock, lambda: clock.now)


@pytest.fixture(scope="module")
def host():
    return SoftwareAttester().record()


@pytest.fixture
def policy():
    return make_policy()


def _refused(book, challenge, finding):
    with pytest.raises(ChallengeError) as caught:
        book.redeem(challenge)
    assert isinstance(caught.value, EvidenceError)
    assert caught.value.finding == finding


def test_what_is_asked(book, host, policy):
    challenge = book.issue(host, policy)
    assert len(challenge.nonce) == NONCE_SIZE == 32
    assert (challenge.host_id, challenge.ak_name) == (host.host_id, host.ak.name())
    assert challenge.selection.to_text() == "sha256:all"
    assert (challenge.issued_at, challenge.max_age) == (NOW, 60)


def test_no_nonce_comes_twice(book, host, policy):
    assert len({book.issue(host, policy).nonce for _ in range(1000)}) == 1000


def test_once(book, host, policy):
    challenge = book.issue(host, policy)
    assert book.redeem(challenge).challenge is challenge
    assert len(book) == 0
    _refused(book, challenge, "NONCE_MISMATCH")


def test_never_issued(book, host, policy):
    _refused(book, ChallengeBook(lambda: NOW).issue(host, policy), "NONCE_MISMATCH")


@pytest.mark.parametrize("seconds, expired", [(0, False), (60, False), (60.001, True), (3600, True)])
def test_not_for_long(book, clock, host, policy, seconds, expired):
    challenge = book.issue(host, policy)
    clock.now += seconds
    if not expired:
        assert book.redeem(challenge).age == seconds
        return
    _refused(book, challenge, "EVIDENCE_EXPIRED")
    clock.now = NOW
    _refused(book, challenge, "NONCE_MISMATCH")  # and it is used up


@pytest.mark.parametrize(
    "changes",
    [
        {"host_id": "00000000-0000-4000-8000-000000000000"},
        {"ak_name": b"\0\x0b" + bytes(32)},
        {"max_age": 1e9},
        {"issued_at": NOW + 1},
        {"asked_at": NOW + 1},
    ],
)
def test_bound_to_what_it_was_issued_for(book, host, policy, changes):
    challenge = book.issue(host, policy)
    _refused(book, replace(challenge, **changes), "NONCE_MISMATCH")
    _refused(book, challenge, "NONCE_MISMATCH")


def test_discard(book, host, policy):
    challenge = book.issue(host, policy)
    book.discard(challenge)
    book.discard(challenge)
    assert len(book) == 0
    _refused(book, challenge, "NONCE_MISMATCH")


def test_expired_ones_make_room_and_then_the_oldest(book, clock, host, policy, monkeypatch):
    monkeypatch.setattr(challenge_module, "MAX_OUTSTANDING", 4)
    old = [book.issue(host, policy) for _ in range(2)]
    clock.now += 50
    new = [book.issue(host, policy) for _ in range(2)]
    clock.now += 20
    latest = book.issue(host, policy)
    assert len(book) == 3
    more = [book.issue(host, policy) for _ in range(2)]
    assert len(book) == 4
    for gone in (*old, new[0]):
        _refused(book, gone, "NONCE_MISMATCH")
    for waiting in (new[1], latest, *more):
        assert book.redeem(waiting)


def test_two_threads_cannot_use_one_nonce(host, policy):
    book, won, start = ChallengeBook(lambda: NOW), [], threading.Barrier(8)
    challenges = [book.issue(host, policy) for _ in range(200)]

    def use():
        start.wait()
        for challenge in challenges:
            try:
                won.append(book.redeem(challenge).challenge.nonce)
            except ChallengeError:
                continue

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(challenge.nonce for challenge in challenges)


@pytest.mark.parametrize("step", [-86_400, -0.05, 0.05, 61, 86_400])
def test_the_age_is_not_measured_by_a_clock_that_is_set(clock, host, policy, step):
    book = ChallengeBook(clock, lambda: 5.0)
    challenge = book.issue(host, policy)
    clock.now += step
    assert book.redeem(challenge).age == 0


def test_time_that_passes_counts_though_the_clock_is_set_back(clock, host, policy):
    passed = [0.0]
    book = ChallengeBook(clock, lambda: passed[0])
    challenge = book.issue(host, policy)
    passed[0], clock.now = 61.0, NOW - 100
    _refused(book, challenge, "EVIDENCE_EXPIRED")


def test_a_clock_that_was_set_by_much_is_told_once_each_time(clock, host, policy, caplog):
    book = ChallengeBook(clock, lambda: 5.0)
    for step, lines in ((1, 0), (-3, 0), (3600, 1), (0, 1), (-3600, 2), (0, 2)):
        clock.now += step
        for _ in range(3):
            book.redeem(book.issue(host, policy))
        assert len(caplog.records) == lines
    assert "+3598.0 s" in caplog.text and "-3600.0 s" in caplog.text
