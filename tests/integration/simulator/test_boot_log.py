"""The boot log in a quote of a simulated host, whose boot loader is another imitation: it has to replay."""

from __future__ import annotations

import base64
import json
import subprocess
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xentpm_lib.evidence.boot_prediction import BootPrediction
from xentpm_lib.evidence.pcr import replay
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.host.boot.prediction import predict_command
from xentpm_lib.host.paths import Paths
from xentpm_lib.simulator.machine import Machine

NONCE = base64.b64encode(bytes(range(32))).decode()
PLAIN_PATH = {"PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}


@pytest.fixture(scope="module", params=["uefi", "txt"])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host with the real plugin, switched on."""
    place = tmp_path_factory.mktemp("boot-log")
    made = Machine.create(place / "host", "host", txt=request.param == "txt", ca_dir=place / "ca")
    made.power_on()
    yield made
    made.power_off()


def call(machine: Machine, function: str, **arguments: str) -> Any:
    """What the plugin answers."""
    request = xmlrpc.client.dumps(("OpaqueRef:session", arguments), function)
    command = [str(machine.plugin_path), request]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, env=PLAIN_PATH, stdin=subprocess.DEVNULL
    )
    ((answer,), _) = xmlrpc.client.loads(done.stdout)
    return answer


def quote(machine: Machine, **arguments: str) -> QuoteEvidence:
    answer = call(machine, "tpm_get_quote", nonce=NONCE, **arguments)
    assert answer["Status"] == "Success", answer
    return QuoteEvidence.from_json(answer["Value"])


def replays(evidence: QuoteEvidence) -> bool:
    """Whether the log leads to PCR 8 and 9 in every bank of the quote."""
    assert evidence.untrusted_boot_log is not None
    for bank, values in evidence.untrusted_pcrs.items():
        final = replay(bank, [(event.pcr, event.digests[bank]) for event in evidence.untrusted_boot_log])
        if any(final[pcr] != values[pcr] for pcr in (8, 9)):
            return False
    return True


def test_the_boot_log_of_a_quote(machine: Machine) -> None:
    if machine.txt:
        assert quote(machine).untrusted_boot_log is None
        answer = call(machine, "tpm_predict_boot")
        assert answer["ErrorDescription"][:1] == ["XENTPM_BOOT"]
        assert "not booted by UEFI" in answer["ErrorDescription"][1]
        return
    assert replays(quote(machine))
    paths = Paths.of_plugin(str(machine.plugin_path))
    assert "They hold the same now" in predict_command(paths).text
    assert replays(quote(machine, pcrs="sha1:8,9+sha256:8,9"))
    assert quote(machine, pcrs="sha256:0,1").untrusted_boot_log is None
    initrd = machine.root / "boot/initrd-4.19-xen.img"
    content = initrd.read_bytes()
    initrd.write_bytes(content + b"!")
    assert not replays(quote(machine))
    report = predict_command(paths)
    assert "They hold something else now" in report.text
    assert sorted(report.data["pcrs"]) == ["sha1", "sha256"]
    prediction = BootPrediction.from_json(call(machine, "tpm_predict_boot")["Value"])
    machine.reboot()
    evidence = quote(machine)
    assert replays(evidence)
    bank = next(iter(evidence.untrusted_pcrs))
    assert [
        (event.pcr, event.digests[bank], event.description) for event in prediction.untrusted_boot_log
    ] == [(event.pcr, event.digests[bank], event.description) for event in evidence.untrusted_boot_log or ()]
    assert prediction.untrusted_entry == "XenServer"
    config = machine.root / "boot/efi/EFI/xenserver/grub.cfg"
    config.write_text("blscfg\n" + config.read_text())
    assert quote(machine).untrusted_boot_log is None
    assert (
        json.dumps(call(machine, "tpm_predict_boot")["ErrorDescription"]).count("blscfg is not interpreted")
        == 1
    )


def test_digests_are_kept_between_calls(machine: Machine) -> None:
    if not machine.txt:
        assert Path(machine.root / "run/xentpm/boot-digests.json").stat().st_mode & 0o777 == 0o600
