"""Calls that are killed, at every TPM command and at random moments, with and without a power failure."""

import random
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import tpm_probe
from support.dom0 import NONCE
from support.killed_calls import (
    Bed,
    RandomKills,
    count_commands,
    killed_at,
    points,
)
from xentpm_lib.host import functions
from xentpm_lib.tpm.ownership import OLD_DEFAULT_AUTH

SEED = 20260131
RANDOM_KILLS = 100
# a busy machine needs more starts to hit enough of them
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
MAKING_KEYS_S = 0.05
TERMINATIONS = 20
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
CALLS = dict(
    READING,
    set=lambda bed: change_tag(bed, TAG_32),
    clear=lambda bed: change_tag(bed, None),
    rotation=lambda bed: bed.cli("--rotate_ak"),
)
FAILURES = ("kill", "power failure")


def made_beds(template, folder):
    """Two of them: what takes long runs on both."""
    beds = [Bed(template, str(folder / name)) for name in ("one", "two")]
    yield beds
    for bed in beds:
        bed.close()


@pytest.fixture
def beds(used_tpm, tmp_path):
    """Dom0s whose TPMs have their owner and keys."""
    yield from made_beds(used_tpm, tmp_path)


@pytest.fixture
def new_beds(manufactured_tpm, tmp_path):
    """Dom0s whose TPMs nobody owns."""
    yield from made_beds(manufactured_tpm, tmp_path)


@pytest.fixture
def bed(beds):
    return beds[0]


@pytest.fixture
def new_bed(new_beds):
    return new_beds[0]


def key_names(bed):
    identity = bed.identity()
    return identity.ek.name(), identity.ak.name(), identity.ek_certificate


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


def at_random_moments(beds, calls, kills=RANDOM_KILLS):
    """Half of the kills on each bed, at the same time; the seed alone tells one run from another."""
    print("seed", SEED)
    with ThreadPoolExecutor(len(beds)) as pool:
        jobs = [
            pool.submit(calls.run, bed, random.Random(SEED + number), kills // len(beds))
            for number, bed in enumerate(beds)
        ]
    for job in jobs:
        job.result()


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
        keys.add(key_names(bed))
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
def test_reading_killed_at_random(beds, call):
    for bed in beds:
        bed.set_tag(TAG_20)
        bed.make_challenge()
    at_random_moments(beds, RandomKills(READING[call], lambda bed: bed.check((TAG_20,))))
    for bed in beds:
        bed.check_owner()


@pytest.mark.parametrize("new", (TAG_32, None), ids=("set", "clear"))
def test_changing_the_tag_killed_at_random(beds, new):
    seen = []

    def check(bed):
        bed.check((TAG_20, new))
        seen.append(tpm_probe.tag(bed.tpm))

    at_random_moments(
        beds, RandomKills(lambda bed: change_tag(bed, new), check, lambda bed: bed.set_tag(TAG_20))
    )
    assert len(seen) == RANDOM_KILLS and set(seen) == {TAG_20, new}
    for bed in beds:
        bed.check_owner()


def test_rotation_killed_at_random(beds):
    names = []

    def check(bed):
        bed.check((None,))
        names.append(bed.identity().ak.name())
        assert bed.identity().ak.name() == names[-1]

    def start(bed):
        return bed.cli("--rotate_ak")

    at_random_moments(beds[:1], RandomKills(start, check))
    assert len(set(names)) > 10
    beds[0].check_owner()


def test_first_use_killed_at_random(new_beds):
    keys = set()

    def check(bed):
        bed.check((None,))
        keys.add(key_names(bed))
        bed.check_owner()

    at_random_moments(
        new_beds,
        RandomKills(READING["identity"], check, Bed.forget_everything, longest_delay_s=MAKING_KEYS_S),
    )
    assert len(keys) == 1


@pytest.mark.parametrize("call", sorted(CALLS))
def test_terminated_at_every_command(bed, call):
    """The process itself flushes what it made, then ends by the signal."""

    def before():
        bed.set_tag(TAG_20)
        bed.make_challenge()

    before()
    for point in points(count_commands(bed, CALLS[call])):
        before()
        assert killed_at(bed, CALLS[call], point, signal.SIGTERM) == -signal.SIGTERM
        bed.check_nothing_left()
        bed.check((TAG_20, TAG_32, None))


@pytest.mark.parametrize("call", sorted(CALLS))
def test_terminated_at_random(beds, call):
    def before(bed):
        bed.set_tag(TAG_20)
        bed.make_challenge()

    def check(bed):
        bed.check_nothing_left()
        bed.check((TAG_20, TAG_32, None))

    at_random_moments(beds, RandomKills(CALLS[call], check, before, signal.SIGTERM), TERMINATIONS)


def test_first_use_terminated_at_random(new_beds):
    def check(bed):
        bed.check_nothing_left()
        bed.check((None,))
        bed.check_owner()

    calls = RandomKills(READING["identity"], check, Bed.forget_everything, signal.SIGTERM, MAKING_KEYS_S)
    at_random_moments(new_beds, calls, TERMINATIONS)
