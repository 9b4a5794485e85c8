"""Calls that are cut short: how to start them, to kill them, and what has to hold afterwards."""

import os
import random
import shutil
import signal
import subprocess
import time
from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

from support import tpm_probe
from support.dom0 import NONCE, PASSWORD, REPOSITORY, Dom0
from support.kill_proxy import KillPoint, KillProxy
from support.remote_side import check_quote, make_challenge
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.host import functions
from xentpm_lib.host.host import Host
from xentpm_lib.tpm.binding import load_binding

AUTH = bytes.fromhex(PASSWORD)
LIMIT_S = 300
MOST_STARTS = 10
"""For each kill: a call that ends before its signal does not count."""


class Bed:
    """A dom0 whose processes reach its TPM through a `KillProxy`; this process reaches it directly."""

    def __init__(self, template: str, folder: str) -> None:
        """Make a dom0 in ``folder``, with a copy of the TPM whose state is in ``template``; power it on."""
        state = os.path.join(folder, "tpm")
        shutil.copytree(template, state)
        load_binding()  # before there are threads
        self.dom0 = dom0 = Dom0(os.path.join(folder, "root"), state)
        assert dom0.tpm is not None
        self.tpm = dom0.tpm
        self.tpm.start()
        target = self.tpm.tcti.partition("path=")[2]
        self.proxy = KillProxy(target + ".kill", target)
        dom0.configure(tcti=self.proxy.tcti)
        self.challenge = ""

    def close(self) -> None:
        """Power off."""
        self.proxy.close()
        self.tpm.kill()

    @property
    def host(self) -> Host:
        """For calls in this process."""
        host = self.dom0.host()
        return Host(host.paths, host.config._replace(tcti=self.tpm.tcti))

    def plugin(self, function: str, **arguments: str) -> subprocess.Popen:
        """Start the plugin."""
        return self.dom0.start(function, **arguments)

    def cli(self, option: str) -> subprocess.Popen:
        """Start the command line."""
        command = [self.dom0.python, "-m", "xentpm_lib.host.cli", "--config", self.dom0.paths.config, option]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def identity(self) -> Identity:
        """The identity, whose keys are made where they are not there."""
        return functions.read_identity(self.host)

    def make_challenge(self) -> None:
        """Make ``challenge`` for the keys as they are."""
        self.challenge = make_challenge(self.dom0.root, self.identity(), b"a secret of a verifier")

    # States to begin with

    def set_tag(self, tag: Optional[bytes]) -> None:
        """Make ``tag`` the asset tag; None: no tag."""
        if tag is None:
            functions.clear_asset_tag(self.host, {})
        else:
            functions.set_asset_tag(self.host, {"tag": tag.hex()})

    def forget_everything(self, auth: bytes = b"") -> None:
        """No owner, no keys, no tag, nothing on disk; then ``auth`` for owner and lockout."""
        tpm_probe.clear(self.tpm, AUTH if tpm_probe.lockout_is_set(self.tpm) else b"")
        shutil.rmtree(self.dom0.paths.state, ignore_errors=True)
        if auth:
            for hierarchy in (tpm_probe.OWNER, tpm_probe.LOCKOUT):
                tpm_probe.change_auth(self.tpm, hierarchy, b"", auth)

    # What holds afterwards

    def check(self, tags: Tuple[Optional[bytes], ...]) -> None:
        """The next call works, proves one of ``tags``, leaves nothing in the TPM and nothing to finish."""
        evidence = check_quote(functions.get_quote(self.host, {"nonce": NONCE}), NONCE, tags)
        self.check_nothing_left()
        proven = None if evidence.asset_tag is None else tpm_probe.tag(self.tpm)
        assert tpm_probe.tag(self.tpm) == proven, "the tag is in the TPM and not in the quote"
        assert not self.pending(), self.pending()
        again = check_quote(functions.get_quote(self.host, {"nonce": NONCE}), NONCE, (proven,))
        assert again.untrusted_ak_name == evidence.untrusted_ak_name

    def check_nothing_left(self) -> None:
        """No transient object and no session is in the TPM."""
        left = tpm_probe.leftovers(self.tpm)
        assert not left, {kind: list(map(hex, handles)) for kind, handles in left.items()}

    def pending(self) -> List[str]:
        """What is to be finished, by the names of its files."""
        state = self.dom0.paths.state
        return (
            [name for name in os.listdir(state) if name.endswith(".pending")] if os.path.isdir(state) else []
        )

    def check_owner(self) -> None:
        """Both authorisations are ours; the lockout one is asked once."""
        assert tpm_probe.owner_is(self.tpm, AUTH), "the owner authorisation is not ours"
        assert tpm_probe.lockout_is_set(self.tpm), "the lockout authorisation is empty"
        assert tpm_probe.lockout_is(self.tpm, AUTH), "the lockout authorisation is somebody else's"


def count_commands(bed: Bed, start: "Start") -> int:
    """How many TPM commands the call sends when nothing disturbs it."""
    bed.proxy.arm(None)
    process = start(bed)
    out, err = process.communicate(timeout=LIMIT_S)[:2]
    assert process.returncode == 0 and b"Failure" not in out, (out, err)
    return len(bed.proxy.commands)


def killed_at(bed: Bed, start: "Start", point: KillPoint, number: signal.Signals = signal.SIGKILL) -> int:
    """Start the call, send it the signal at ``point``; returns its exit status."""
    bed.proxy.arm(point, number)
    process = start(bed)
    bed.proxy.aim(process)
    process.communicate(timeout=LIMIT_S)
    assert bed.proxy.point is None, "the call ended before {}".format(point)
    return process.returncode


def points(commands: int) -> Iterator[KillPoint]:
    """Before and after every command."""
    for number in range(commands):
        yield KillPoint(number, False)
        yield KillPoint(number, True)


class RandomKills(NamedTuple):
    """Kill a call at random moments: ``before`` each one, then ``start``, the signal, and ``after``."""

    start: "Start"
    after: Callable[["Bed"], None]
    before: Callable[["Bed"], None] = lambda bed: None
    number: signal.Signals = signal.SIGKILL
    longest_delay_s: float = 0.002  # a command takes half a millisecond, a whole call's about five

    def run(self, bed: "Bed", generator: random.Random, kills: int) -> None:
        """Until ``kills`` calls ended by the signal. One in ten gets it on its way to the first command."""
        self.before(bed)
        begin = time.monotonic()
        commands = count_commands(bed, self.start)
        whole_s = time.monotonic() - begin
        done = 0
        for _ in range(MOST_STARTS * kills):
            self.before(bed)
            point = KillPoint(generator.randrange(commands), generator.random() < 0.5)
            early_s = generator.uniform(0, whole_s / 2) if generator.random() < 0.1 else None
            if self._kills(bed, point, generator.uniform(0, self.longest_delay_s), early_s):
                done += 1
                self.after(bed)
            if done == kills:
                return
        raise AssertionError("only {} of {} calls were still running at the signal".format(done, kills))

    def _kills(self, bed: "Bed", point: KillPoint, delay_s: float, early_s: Optional[float]) -> bool:
        """Tells whether the signal ended the call."""
        bed.proxy.arm(point if early_s is None else None, self.number, delay_s)
        process = self.start(bed)
        bed.proxy.aim(process)
        if early_s is not None:
            time.sleep(early_s)
            process.send_signal(self.number)
        process.communicate(timeout=LIMIT_S)
        return process.returncode == -self.number


def lock_record(dom0: Dom0) -> str:
    """What the lock file says of its holder."""
    try:
        with open(dom0.paths.lock) as file:
            return file.read()
    except FileNotFoundError:
        return ""


Start = Callable[[Bed], subprocess.Popen]
