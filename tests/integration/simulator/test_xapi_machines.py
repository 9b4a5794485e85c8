"""The whole simulator: real machines with software TPMs, the real plugin, the real XenAPI client."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from support import fake_machine

PROGRAM = [sys.executable, fake_machine.__file__]
ROOT = Path(__file__).parents[3]
LIMIT_S = 100
pytestmark = pytest.mark.timeout(400)
NONCE = base64.b64encode(bytes(range(32))).decode()


def environment(place: Path) -> dict[str, str]:
    path = f"{ROOT}:{ROOT / 'tests'}"
    return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(place), "REAL_MACHINES": "1"}


class Pool:
    """A running simulator and a client's session."""

    def __init__(self, place: Path, *options: str) -> None:
        self.environment = environment(place)
        self.process = subprocess.Popen(
            [*PROGRAM, "up", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.hosts = json.loads(line)["hosts"]
        ready = json.loads(line)
        self.api: Any = XenAPI.Session(ready["url"], ignore_ssl=True).xenapi
        self.api.login_with_password(ready["username"], ready["password"])

    def call(self, function: str, **args: str) -> str:
        return str(self.api.host.call_plugin(self.hosts[0]["ref"], "tpm", function, args))

    def pcrs(self, selection: str) -> dict[str, str]:
        quote = json.loads(self.call("tpm_get_quote", nonce=NONCE, pcrs=selection))
        (values,) = quote["quote"]["pcrs"].values()
        return dict(values)

    def sim(self, *arguments: str) -> str:
        ended = subprocess.run(
            [*PROGRAM, *arguments], capture_output=True, text=True, env=self.environment, timeout=LIMIT_S
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    running = Pool(tmp_path_factory.mktemp("pool"), "--http")
    yield running
    assert running.end() == 0


def test_identity(pool: Pool) -> None:
    identity = pool.call("tpm_get_attestation_identity")
    assert "<xentxt:TPM_Attestation_KEY_PEM>-----BEGIN PUBLIC KEY-----" in identity
    assert pool.call("tpm_get_attestation_identity") == identity


def test_an_edited_initrd_changes_one_pcr(pool: Pool) -> None:
    before = pool.pcrs("sha256:0,4,8,9")
    pool.sim("host", "edit", "host1", "initrd")
    assert pool.pcrs("sha256:0,4,8,9") == before
    assert pool.sim("host", "reboot", "host1") == "host1 rebooted\n"
    after = pool.pcrs("sha256:0,4,8,9")
    assert [index for index in before if before[index] != after[index]] == ["9"]


def test_the_documented_command(pool: Pool) -> None:
    tag = "00112233445566778899aabbccddeeff00112233"
    uuid = f"uuid={pool.hosts[0]['uuid']}"
    said = pool.sim("xe", "host-call-plugin", uuid, "plugin=tpm", "fn=tpm_set_asset_tag", f"args:tag={tag}")
    assert json.loads(said)["asset_tag"] == tag
    pool.call("tpm_clear_asset_tag")


def test_errors_of_the_plugin_arrive_as_they_are(pool: Pool) -> None:
    with pytest.raises(XenAPI.Failure) as caught:
        pool.call("tpm_get_quote", nonce="x")
    code, message, hint, marker = caught.value.details
    assert code == "XENTPM_BAD_ARGUMENT" and message and hint
    assert marker.startswith("xentpm[")


def test_another_tpm_has_other_keys(pool: Pool) -> None:
    before = pool.call("tpm_get_attestation_identity")
    pool.sim("host", "replace-tpm", "host1")
    assert pool.call("tpm_get_attestation_identity") != before


def test_a_host_that_is_off(pool: Pool) -> None:
    pool.sim("host", "power-off", "host1")
    with pytest.raises(OSError):  # it is the master, so nobody answers
        pool.call("tpm_get_status")
    pool.sim("host", "power-on", "host1")
    assert json.loads(pool.call("tpm_get_status"))["version"] == 1


def test_dynamic_launch(tmp_path: Path) -> None:
    pool = Pool(tmp_path, "--txt")
    values = pool.pcrs("sha256:17,18,19,22")
    assert all(set(values[index]) not in ({"f"}, {"0"}) for index in ("17", "18", "19"))
    assert set(values["22"]) == {"0"}
    assert pool.end(signal.SIGINT) == 0


def test_a_shell_in_dom0(tmp_path: Path) -> None:
    pool = Pool(tmp_path, "--dir", str(tmp_path / "a pool"))
    run = ["host", "run", "host1"]
    status = pool.sim(*run, "xentpm", "--status")
    assert f"{tmp_path}/apool/hosts/host1/root/opt/xensource/tpm/config" in "".join(status.split())
    assert "TPM owned              ok" in status
    assert len(pool.sim(*run, "tpm2_getrandom", "--hex", "8")) == 16
    value = pool.sim(*run, "sh", "-c", "cd /; tpm2_pcrread sha256:9 | tail -1").split()[-1]
    assert value.lower() == "0x" + pool.pcrs("sha256:9")["9"]
    assert pool.end() == 0


def test_tpm_state_survives(tmp_path: Path) -> None:
    """The same keys after a clean end and after SIGKILL."""
    identities = []
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        pool = Pool(tmp_path, "--dir", str(tmp_path / "pool"))
        identities.append(pool.call("tpm_get_attestation_identity"))
        pool.end(number)
    assert len(set(identities)) == 1
    wait_for_the_end_of_swtpms(tmp_path)


def test_interrupted_while_tpms_are_made(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "up", "--hosts", "6"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("making 6 hosts")
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (0, "") and "Traceback" not in err
    wait_for_the_end_of_swtpms(tmp_path)
    assert not list(tmp_path.glob("xentpm-sim-*/simulator.json"))


def wait_for_the_end_of_swtpms(place: Path) -> None:
    """Those that made TPMs look every tenth of a second whether to end."""
    deadline = time.monotonic() + LIMIT_S
    while _swtpms_of(place):
        assert time.monotonic() < deadline, _swtpms_of(place)
        time.sleep(0.1)


def _swtpms_of(place: Path) -> list[str]:
    """Command lines of software TPMs whose files are below a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "swtpm" in line and str(place) in line:
            found.append(line)
    return found
