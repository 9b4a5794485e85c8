"""Calls that are cut short: how to start them, to kill them, and what has to hold afterwards."""

import os
import shutil
import signal
import subprocess
import time
from typing import Callable, Iterator, List, Optional, Tuple

from support import tpm_probe
from support.dom0 import NONCE, PASSWORD, REPOSITORY, Dom0
from support.kill_proxy import KillPoint, KillProxy
from support.remote_side import check_quote, make_challenge

from xentpm_lib.evidence.identity import Identity
from xentpm_lib.host import functions
from xentpm_lib.host.host import Host

AUTH = bytes.fromhex(PASSWORD)
LIMIT_S = 60
_POLL_S = 0.0005


class Bed:
    """A dom0 whose processes reach its TPM through a `KillProxy`; ``call`` and ``quote`` reach it directly."""

    def __init__(self, dom0: Dom0) -> None:
        self.dom0, self.tpm = dom0, dom0.tpm
        target = self.tpm.tcti.partition("path=")[2]
        self.proxy = KillProxy(target + ".kill", target)
        dom0.configure(tcti=self.proxy.tcti)
        self.challenge = ""

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
        """The next call works, proves one of ``tags``, leaves nothing in the TPM and nothing to be finished."""
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
    bed.proxy.aim(process.pid)
    process.communicate(timeout=LIMIT_S)
    assert bed.proxy.point is None, "the call ended before {}".format(point)
    return process.returncode


def points(commands: int) -> Iterator[KillPoint]:
    """Before and after every command."""
    for number in range(commands):
        yield KillPoint(number, False)
        yield KillPoint(number, True)


def killed_after(bed: Bed, start: "Start", delay_s: float, number: signal.Signals) -> bool:
    """Start the call, send it the signal after ``delay_s``; tells whether that ended it."""
    bed.proxy.arm(None)
    process = start(bed)
    time.sleep(delay_s)
    process.send_signal(number)
    process.communicate(timeout=LIMIT_S)
    return process.returncode == -number


def usual_times(bed: Bed, start: "Start") -> Tuple[float, float]:
    """When the call takes the lock, and when it ends, in seconds after its start."""
    bed.proxy.arm(None)
    begin = time.monotonic()
    process = start(bed)
    while not lock_record(bed.dom0) and process.poll() is None:
        time.sleep(_POLL_S)
    locked = time.monotonic()
    process.communicate(timeout=LIMIT_S)
    return locked - begin, time.monotonic() - begin


def lock_record(dom0: Dom0) -> str:
    """What the lock file says of its holder."""
    try:
        with open(dom0.paths.lock) as file:
            return file.read()
    except FileNotFoundError:
        return ""


Start = Callable[[Bed], subprocess.Popen]
