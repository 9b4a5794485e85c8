"""Calls that are killed, at every TPM command and at random moments, with and without a power failure."""

import random
import signal

import pytest
from support import tpm_probe
from support.dom0 import NONCE
from support.killed_calls import (
    Bed,
    count_commands,
    killed_after,
    killed_at,
    points,
    usual_times,
)

from xentpm_lib.host import functions
from xentpm_lib.tpm.ownership import OLD_DEFAULT_AUTH

SEED = 20260131
RANDOM_KILLS = 100
MOST_STARTS = 4 * RANDOM_KILLS
TAG_20, TAG_20B, TAG_32, TAG_48 = b"\x14" * 20, b"\x15" * 20, b"\x20" * 32, b"\x30" * 48
TAG_CHANGES = {
    "none to 20": (None, TAG_20),
    "20 to 32": (TAG_20, TAG_32),
    "32 to 48": (TAG_32, TAG_48),
    "48 to 20": (TAG_48, TAG_20),
    "same size": (TAG_20, TAG_20B),
    "48 to none": (TAG_48, None),
    "none to none": (None, None),
}
READING = {
    "identity": lambda bed: bed.plugin("tpm_get_attestation_identity"),
    "quote": lambda bed: bed.plugin("tpm_get_quote", nonce=NONCE),
    "challenge": lambda bed: bed.plugin("tpm_challenge", challenge=bed.challenge),
}
OUR_HANDLES = range(0x81010001, 0x81010008)
KEYS = [0x81010001, 0x81010002]
FAILURES = ("kill", "power failure")


@pytest.fixture
def bed(dom0):
    bed = Bed(dom0)
    yield bed
    bed.proxy.close()


@pytest.fixture
def new_bed(new_dom0):
    bed = Bed(new_dom0)
    yield bed
    bed.proxy.close()


def change_tag(bed, tag):
    if tag is None:
        return bed.plugin("tpm_clear_asset_tag")
    return bed.plugin("tpm_set_asset_tag", tag=tag.hex())


def at_every_command(bed, start, failure, before=lambda: None):
    """Yields after each kill; the first undisturbed call tells how many commands there are."""
    before()
    commands = count_commands(bed, start)
    assert commands
    for point in points(commands):
        before()
        assert killed_at(bed, start, point) == -signal.SIGKILL
        if failure == "power failure":
            bed.tpm.kill()
            bed.tpm.start()
        yield point


def at_random_moments(bed, start, number, before=lambda: None, kills=RANDOM_KILLS):
    """Yields after each signal that ended the call. The calls are told apart by the seed alone."""
    generator = random.Random(SEED)
    print("seed", SEED)
    before()
    locked, ended = min((usual_times(bed, start) for _ in range(2)), key=lambda times: times[1])
    done = 0
    for _ in range(MOST_STARTS):
        before()
        if killed_after(bed, start, generator.uniform(0.8 * locked, 1.02 * ended), number):
            done += 1
            yield done
        if done == kills:
            return
    raise AssertionError(
        "only {} of {} calls were still running when the signal came".format(done, MOST_STARTS)
    )


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("change", sorted(TAG_CHANGES))
def test_tag_killed_at_every_command(bed, change, failure):
    old, new = TAG_CHANGES[change]
    seen = set()
    for _ in at_every_command(bed, lambda bed: change_tag(bed, new), failure, lambda: bed.set_tag(old)):
        bed.check((old, new))
        seen.add(tpm_probe.tag(bed.tpm))
    assert seen == {old, new}
    bed.check_owner()


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("call", sorted(READING))
def test_reading_killed_at_every_command(bed, call, failure):
    bed.set_tag(TAG_20)
    bed.make_challenge()
    for _ in at_every_command(bed, READING[call], failure):
        bed.check((TAG_20,))
    bed.check_owner()


@pytest.mark.parametrize("failure", FAILURES)
def test_first_use_killed_at_every_command(new_bed, failure):
    """Nobody owns the TPM and no key is there yet."""
    bed, keys = new_bed, set()
    for _ in at_every_command(bed, READING["identity"], failure, bed.forget_everything):
        bed.check((None,))
        identity = bed.identity()
        keys.add((identity.ek.name(), identity.ak.name(), identity.ek_certificate))
        bed.check_owner()
    assert len(keys) == 1


@pytest.mark.parametrize("failure", FAILURES)
def test_rotation_killed_at_every_command(bed, failure):
    old = [bed.identity().ak.name()]
    news = set()

    def remember():
        old[0] = bed.identity().ak.name()

    for _ in at_every_command(bed, lambda bed: bed.cli("--rotate_ak"), failure, remember):
        bed.check((None,))
        new = bed.identity().ak.name()
        bed.tpm.power_cycle()
        assert bed.identity().ak.name() == new
        assert [h for h in tpm_probe.handles(bed.tpm, tpm_probe.PERSISTENT) if h in OUR_HANDLES] == KEYS
        assert new not in news or new == old[0]
        news.add(new)
    assert len(news) > 1
    bed.check_owner()


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("owner", (b"", OLD_DEFAULT_AUTH), ids=("free", "old default"))
def test_taking_ownership_killed_at_every_command(new_bed, owner, failure):
    bed = new_bed
    start = lambda bed: bed.cli("--take_ownership")  # noqa: E731
    for _ in at_every_command(bed, start, failure, lambda: bed.forget_everything(owner)):
        functions.set_asset_tag(bed.host, {"tag": TAG_20.hex()})  # something that needs the owner
        bed.check_owner()
        bed.check((TAG_20,))


@pytest.mark.parametrize("call", sorted(READING))
def test_reading_killed_at_random(bed, call):
    bed.set_tag(TAG_20)
    bed.make_challenge()
    for _ in at_random_moments(bed, READING[call], signal.SIGKILL):
        bed.check((TAG_20,))
    bed.check_owner()


def test_setting_the_tag_killed_at_random(bed):
    for count in at_random_moments(
        bed, lambda bed: change_tag(bed, TAG_32), signal.SIGKILL, lambda: bed.set_tag(TAG_20)
    ):
        bed.check((TAG_20, TAG_32))
    bed.check_owner()


def test_clearing_the_tag_killed_at_random(bed):
    for _ in at_random_moments(
        bed, lambda bed: change_tag(bed, None), signal.SIGKILL, lambda: bed.set_tag(TAG_20)
    ):
        bed.check((TAG_20, None))
    bed.check_owner()


def test_rotation_killed_at_random(bed):
    names = [bed.identity().ak.name()]
    for _ in at_random_moments(bed, lambda bed: bed.cli("--rotate_ak"), signal.SIGKILL):
        bed.check((None,))
        names.append(bed.identity().ak.name())
        assert bed.identity().ak.name() == names[-1]
    assert len(set(names)) > 10
    bed.check_owner()


def test_first_use_killed_at_random(new_bed):
    bed, keys = new_bed, set()
    for _ in at_random_moments(bed, READING["identity"], signal.SIGKILL, bed.forget_everything):
        bed.check((None,))
        identity = bed.identity()
        keys.add((identity.ek.name(), identity.ak.name(), identity.ek_certificate))
        bed.check_owner()
    assert len(keys) == 1


CALLS = dict(
    READING, **{"set": lambda bed: change_tag(bed, TAG_32), "clear": lambda bed: change_tag(bed, None)}
)
CALLS["rotation"] = lambda bed: bed.cli("--rotate_ak")


@pytest.mark.parametrize("call", sorted(CALLS))
def test_terminated_at_every_command(bed, call):
    """The process itself flushes what it made, then ends by the signal."""
    bed.set_tag(TAG_20)
    bed.make_challenge()
    bed.proxy.arm(None)
    for point in points(count_commands(bed, CALLS[call])):
        bed.set_tag(TAG_20)
        bed.make_challenge()
        assert killed_at(bed, CALLS[call], point, signal.SIGTERM) == -signal.SIGTERM
        bed.check_nothing_left()
        bed.check((TAG_20, TAG_32, None))


def test_first_use_terminated_at_random(new_bed):
    bed = new_bed
    for _ in at_random_moments(bed, READING["identity"], signal.SIGTERM, bed.forget_everything, kills=20):
        bed.check_nothing_left()
        bed.check((None,))
        bed.check_owner()


@pytest.mark.parametrize("call", sorted(CALLS))
def test_terminated_at_random(bed, call):
    bed.set_tag(TAG_20)
    bed.make_challenge()
    for _ in at_random_moments(bed, CALLS[call], signal.SIGTERM, bed.make_challenge, kills=20):
        bed.check_nothing_left()
        bed.check((TAG_20, TAG_32, None))
        bed.set_tag(TAG_20)
