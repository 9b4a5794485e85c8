"""Many calls at once, a holder of the lock that hangs, and quotes in a row for a long time."""

import base64
import functools
import json
import os
import random
import signal
import subprocess
import time

import pytest

from support import tpm_probe
from support.dom0 import NONCE, REPOSITORY, PluginFailed, outcome
from support.killed_calls import lock_record
from support.remote_side import check_quote, make_challenge
from xentpm_lib.evidence.encoding import decode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.host.config import DEFAULT_LOCK_TIMEOUT_S

SEED = 20260131
SECRET = b"a secret of a verifier"
TAGS = (b"\x14" * 20, b"\x20" * 32, b"\x30" * 48)
POSSIBLE_TAGS = (None,) + TAGS
SOAK_WARM_UP, SOAK_QUOTES, SOAK_GROWTH_KIB = 1000, 2160, 1024
PROCESSES_IN_A_ROW = 100
pytestmark = pytest.mark.timeout(900)  # for a machine that has much else to do


@pytest.fixture
def host(dom0):
    """A dom0 with a challenge for its keys, and the identity that it should keep."""
    dom0.identity = dom0.call("tpm_get_attestation_identity")
    dom0.challenge = make_challenge(dom0.root, Identity.from_xml(dom0.identity), SECRET)
    return dom0


def calls(host, generator, number):
    """``number`` calls of mixed functions: (function, arguments, check of the answer)."""
    for index in range(number):
        nonce = base64.b64encode(bytes(generator.randrange(256) for _ in range(32))).decode("ascii")
        quote = functools.partial(check_quote, nonce=nonce, tags=POSSIBLE_TAGS)
        tag = generator.choice(TAGS)
        yield (
            ("tpm_get_quote", {"nonce": nonce}, quote),
            ("tpm_set_asset_tag", {"tag": tag.hex()}, lambda text, tag=tag: same(asset_tag(text), tag.hex())),
            ("tpm_get_attestation_identity", {}, lambda text: same(text, host.identity)),
            ("tpm_challenge", {"challenge": host.challenge}, lambda text: same(secret(text), SECRET)),
            ("quote", {"nonce": nonce}, quote),
            ("tpm_clear_asset_tag", {}, lambda text: same(asset_tag(text), None)),
            ("tpm_get_status", {}, lambda text: same(json.loads(text)["version"], 1)),
        )[index % 7]


def same(got, wanted):
    assert got == wanted


def asset_tag(text):
    return json.loads(text)["asset_tag"]


def secret(text):
    return decode_base64(text, "secret", 1, 64)


def run_at_once(host, number):
    """Start all, then collect: how many were answered rightly and how many were told that the TPM is busy."""
    generator = random.Random(SEED)
    started = [
        (host.start(name, **arguments), check) for name, arguments, check in calls(host, generator, number)
    ]
    answered = busy = 0
    for process, check in started:
        out, err, status = process.communicate()
        try:
            check(outcome(out, err, status))
            answered += 1
        except PluginFailed as failed:
            assert failed.code == "XENTPM_BUSY", failed.description
            busy += 1
    return answered, busy


@pytest.mark.parametrize("number", (2, 4, 8, 16, 32))
def test_calls_at_once_are_all_answered(host, number):
    assert run_at_once(host, number) == (number, 0)
    assert tpm_probe.leftovers(host.tpm) == {}
    check_quote(host.call("tpm_get_quote", nonce=NONCE), NONCE, (tpm_probe.tag(host.tpm),))


def test_calls_at_once_with_a_short_limit_are_answered_or_busy(host):
    host.configure(lock_timeout_s="1")
    begin = time.monotonic()
    answered, busy = run_at_once(host, 32)
    print("{} answered, {} busy, {:.1f} s".format(answered, busy, time.monotonic() - begin))
    assert answered + busy == 32 and answered
    assert tpm_probe.leftovers(host.tpm) == {}
    check_quote(host.call("tpm_get_quote", nonce=NONCE), NONCE, (tpm_probe.tag(host.tpm),))


def test_first_use_by_many_at_once_makes_one_set_of_keys(new_dom0):
    processes = [new_dom0.start("tpm_get_attestation_identity") for _ in range(8)]
    assert len({outcome(*process.communicate()) for process in processes}) == 1
    assert tpm_probe.leftovers(new_dom0.tpm) == {}


@pytest.fixture
def hanging_tpm(dom0):
    """The dom0 of a TPM that does not answer any more, until the test ends."""
    os.kill(dom0.tpm.pid, signal.SIGSTOP)
    yield dom0
    os.kill(dom0.tpm.pid, signal.SIGCONT)


def test_a_holder_that_hangs_is_named(hanging_tpm):
    dom0 = hanging_tpm
    dom0.configure(lock_timeout_s="1")
    holder = dom0.start("tpm_get_quote", nonce=NONCE)
    while not lock_record(dom0):
        time.sleep(0.005)
    begin = time.monotonic()
    with pytest.raises(PluginFailed) as failed:
        dom0.call("tpm_get_attestation_identity")
    assert 0.9 < time.monotonic() - begin < DEFAULT_LOCK_TIMEOUT_S
    code, message, hint, mark = failed.value.description
    assert code == "XENTPM_BUSY" and hint and mark.startswith("xentpm[")
    assert "tpm_get_quote (process {})".format(holder.pid) in message
    os.kill(dom0.tpm.pid, signal.SIGCONT)
    check_quote(outcome(*holder.communicate()), NONCE)
    dom0.call("tpm_get_attestation_identity")


@pytest.mark.slow
def test_2160_quotes_in_one_process_leave_nothing_behind(host):
    """The soak of three days of the original: a quote every two minutes."""
    host.call("tpm_set_asset_tag", tag=TAGS[0].hex())
    found = json.loads(_soak(host, SOAK_WARM_UP, SOAK_QUOTES))
    print({name: found[name] for name in ("before", "after", "seconds")})
    before, after = found["before"], found["after"]
    assert after["kib"] - before["kib"] < SOAK_GROWTH_KIB
    assert (after["descriptors"], after["threads"]) == (before["descriptors"], before["threads"])
    assert tpm_probe.leftovers(host.tpm) == {}
    check_quote(found["last"], NONCE, (TAGS[0],))


def _soak(host, warm_up, count):
    script = os.path.join(REPOSITORY, "tests/support/soak.py")
    command = [host.python, script, host.paths.config, NONCE, str(warm_up), str(count)]
    environment = dict(os.environ, PYTHONPATH=REPOSITORY)
    return subprocess.check_output(command, env=environment, universal_newlines=True)


def test_quotes_by_one_process_after_another_leave_nothing_behind(host):
    files = sorted(os.listdir(host.paths.at("run")) + os.listdir(host.paths.at("var/lib")))
    persistent = tpm_probe.handles(host.tpm, tpm_probe.PERSISTENT)
    for _ in range(PROCESSES_IN_A_ROW):
        check_quote(host.call("tpm_get_quote", nonce=NONCE), NONCE, (None,))
    assert tpm_probe.leftovers(host.tpm) == {}
    assert tpm_probe.handles(host.tpm, tpm_probe.PERSISTENT) == persistent
    assert files == sorted(os.listdir(host.paths.at("run")) + os.listdir(host.paths.at("var/lib")))


@pytest.mark.parametrize(
    "function, arguments, tag, most",
    (
        ("tpm_get_quote", {"nonce": NONCE}, TAGS[0], 8),
        ("tpm_get_quote", {"nonce": NONCE}, None, 6),
        ("tpm_get_attestation_identity", {}, TAGS[0], 8),
    ),
)
def test_few_commands_and_no_session(dom0, function, arguments, tag, most):
    """A TPM in a machine takes 5 to 200 ms for each."""
    if tag is not None:
        dom0.call("tpm_set_asset_tag", tag=tag.hex())
    proxy = dom0.proxy()
    dom0.call(function, **arguments)
    proxy.close()
    assert 0 < len(proxy.commands) <= most, proxy.commands
    assert "StartAuthSession" not in proxy.commands
