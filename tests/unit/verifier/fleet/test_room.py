"""Room for evidence: what is judged at a time is bounded, and nobody waits for ever."""

import base64
import threading

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.fleet import attestation
from xentpm_lib.verifier.fleet.attestation import Subject, attest_host
from xentpm_lib.verifier.fleet.room import Room


def _all_at_once(sizes, room):
    """Each size is taken by a thread of its own; gives the most that was taken at once."""
    lock, now, most, start = threading.Lock(), [0], [0], threading.Barrier(len(sizes))

    def take(size):
        start.wait()
        for _ in range(50):
            with room.of(size):
                with lock:
                    now[0] += size
                    most[0] = max(most[0], now[0])
                with lock:
                    now[0] -= size

    threads = [threading.Thread(target=take, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return most[0]


def test_no_more_at_once_than_there_is_room():
    assert _all_at_once([1, 3, 4, 4, 7, 10] * 4, Room(10)) <= 10


def test_what_is_larger_than_all_of_it_goes_alone():
    assert _all_at_once([1, 1, 50, 60], Room(10)) <= 60
    with Room(10).of(11):
        pass


def test_what_fails_gives_its_room_back():
    room = Room(10)
    for _ in range(3):
        with pytest.raises(RuntimeError), room.of(10):
            raise RuntimeError("an appraisal that failed")
    with room.of(10):
        pass


def test_hosts_are_judged_one_after_the_other_where_their_evidence_is_large(monkeypatch):
    """Eight answers that are as large as all the room, at the same moment."""
    hosts = [SoftwareAttester() for _ in range(8)]
    answers = threading.Barrier(len(hosts))
    monkeypatch.setattr(attestation, "_ROOM", Room(10_000))
    real, lock, inside, most = attestation.appraise, threading.Lock(), [0], [0]

    def appraise(*given):
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        try:
            return real(*given)
        finally:
            with lock:
                inside[0] -= 1

    monkeypatch.setattr(attestation, "appraise", appraise)

    class Pool:
        def __init__(self, host):
            self.host = host

        def call_plugin(self, _uuid, function, args, timeout=None):
            if function != "tpm_get_quote":
                return self.host.identity()
            text = self.host.text(base64.b64decode(args["nonce"]), document=self.grow)
            answers.wait()
            return text

        def grow(self, document):
            document["boot_log"] = [
                {"pcr": 9, "digests": {"sha256": "00" * 32}, "description": "x" * 4000}
            ] * 4

    def attest(host):
        subject = Subject(host.record(), make_policy(), [host.reference()], None)
        attest_host(Pool(host), subject, ChallengeBook())

    threads = [threading.Thread(target=attest, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert most == [1]
