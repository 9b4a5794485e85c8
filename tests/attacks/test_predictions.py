"""Attacks by what a host says of its next boot: nobody has signed it, so it changes two registers at most."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester
from support.measured_boot import BOOT
from support.soft_pool import SoftPool, boot_log_of, prediction_text
from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.boot_setup import BootSetup
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.operations import approving, attesting, predicting
from xentpm_lib.verifier.operations.group_effect import GroupEffect
from xentpm_lib.verifier.reference import prediction, repetition
from xentpm_lib.verifier.reference.diff import EventChange, event_changes
from xentpm_lib.verifier.reference.measured import claimed_events
from xentpm_lib.verifier.reference.prediction import PredictionError
from xentpm_lib.verifier.reference.words import change_lines
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.station import Station

PREDICT = "tpm_predict_boot"
UPDATED = (*BOOT, (9, 0x0D, b"/boot/update"))
MALWARE = (*BOOT, (9, 0x0D, b"/boot/malware"))
FOREIGN = [pcr for pcr in range(24) if pcr not in (8, 9)]


class Desk:
    """A station with two hosts; the first of them is the attacker's."""

    def __init__(self, pool: SoftPool, station: Station) -> None:
        self.pool, self.station = pool, station
        self.attacker, self.victim = pool.hosts.values()
        self.says(MALWARE)

    def says(self, boot: Any = None, of: SoftwareAttester | None = None, **changes: Any) -> None:
        """What the attacker's host predicts."""
        self.pool.answers[self.attacker.host_id, PREDICT] = prediction_text(
            of or self.attacker, boot, **changes
        )

    def predict(self) -> None:
        """What an administrator does with --yes."""
        host = self.station.registry.host("host1")
        prepared = predicting.prepare(self.station, host)
        predicting.keep(self.station, prepared, None)

    def values(self, pcr: int) -> set[bytes]:
        """What counts as good for a register."""
        return {one.pcrs["sha256"][pcr] for one in self.station.registry.references()}

    def refused(self, error: type[XenTpmError], match: str) -> None:
        before = tuple(self.station.registry.references())
        with pytest.raises(error, match=match):
            self.predict()
        self.station.refresh()
        assert tuple(self.station.registry.references()) == before

    def state(self, name: str) -> State:
        """What the host is by an attestation of now."""
        host = self.station.registry.host(name)
        (result,) = attesting.attest(self.station, [host]).results
        return result.state


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Desk]:
    hosts = SoftwareAttester(name="host1"), SoftwareAttester(name="host2")
    with SoftPool(tmp_path, *hosts) as pool, pool.station(tmp_path / "station") as station:
        yield Desk(pool, station)


def test_prediction_of_a_host_that_has_booted_malware(made: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It boots malware already, and predicts the same boot again, to become trusted."""
    made.attacker.reboot(boot=MALWARE)
    made.refused(PredictionError, "is not trusted now")
    for module in (predicting, prediction):
        monkeypatch.setattr(module, "check_can_be_predicted", lambda *_arguments: None)
    made.predict()
    assert made.state("host1") is State.TRUSTED


def test_prediction_of_a_host_that_cannot_be_asked(made: Desk) -> None:
    """What stands in the way of the quote would leave only the host's word."""
    made.pool.answers[made.attacker.host_id, "tpm_get_quote"] = ("HOST_OFFLINE", "OpaqueRef:x")
    made.refused(CollectionError, "cannot reach the host")


@pytest.mark.parametrize("pcr", FOREIGN)
def test_prediction_of_other_registers(made: Desk, pcr: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another boot loader or Secure Boot off, told beside a boot that is good."""
    events = (*boot_log_of(made.attacker), BootEvent(pcr, {"sha256": bytes(32)}, "program evil.efi"))
    made.says(untrusted_boot_log=events)
    made.refused(PredictionError, f"tells of PCR {pcr}: it may tell of PCR 8 and 9 only")
    good = made.values(pcr)
    monkeypatch.setattr(prediction, "PREDICTED_PCRS", (8, 9, pcr))
    if made.attacker.pcrs["sha256"][pcr] in (bytes(32), b"\xff" * 32):
        made.refused(PredictionError, "it is blank now")  # the second defence
    else:
        made.predict()
        policy = made.station.registry.policy_for(made.station.registry.host("host1"))
        compared = {index for rules in policy.banks for index in rules.compared}
        assert (made.values(pcr) > good) == (pcr in compared)  # one that nobody compares stays as signed


def test_prediction_of_another_host(made: Desk) -> None:
    """The attacker's host hands on what another host says, of a boot of that host."""
    made.says(MALWARE, of=made.victim)
    made.refused(PredictionError, f"is of the host {made.victim.host_id}, not of host1")


def test_prediction_counts_for_nobody_else(made: Desk) -> None:
    made.predict()
    made.victim.reboot(boot=MALWARE)
    assert made.state("host2") is State.UNTRUSTED_MEASUREMENT


def test_prediction_by_a_compromised_dom0_that_was_trusted(made: Desk) -> None:
    """What is not proven, docs/threat-model.md: who says yes believes dom0. All other registers stay."""
    good = {pcr: made.values(pcr) for pcr in FOREIGN}
    made.predict()
    made.attacker.reboot(boot=MALWARE)
    assert made.state("host1") is State.TRUSTED
    assert {pcr: made.values(pcr) for pcr in FOREIGN} == good


def test_prediction_by_the_pool_s_master(made: Desk) -> None:
    """What is not proven: the document of an honest host comes through the master, who hands on another."""
    made.says(UPDATED)
    handed_on = made.pool.answers
    handed_on[made.attacker.host_id, PREDICT] = handed_on[made.attacker.host_id, PREDICT].replace(  # type: ignore[union-attr]
        digest("sha256", b"/boot/update").hex(), digest("sha256", b"/boot/malware").hex()
    )
    good = {pcr: made.values(pcr) for pcr in FOREIGN}
    made.predict()
    made.attacker.reboot(boot=MALWARE)
    assert made.state("host1") is State.TRUSTED
    assert {pcr: made.values(pcr) for pcr in FOREIGN} == good


def test_prediction_of_a_host_that_is_found_out_meanwhile(
    made: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the question and the yes it is restarted, and a watch sees what it has booted."""

    def kept() -> None:
        prepared = predicting.prepare(made.station, made.station.registry.host("host1"))
        made.attacker.reboot(boot=MALWARE)
        assert made.state("host1") is State.UNTRUSTED_MEASUREMENT
        predicting.keep(made.station, prepared, None)

    with pytest.raises(PredictionError, match="is not trusted any more, by a result of just now"):
        kept()
    assert len(made.values(9)) == 1
    made.attacker.reboot(boot=BOOT)
    assert made.state("host1") is State.TRUSTED
    monkeypatch.setattr(predicting, "_check_still_trusted", lambda *_arguments: None)
    kept()
    assert made.state("host1") is State.TRUSTED


def test_prediction_that_makes_a_boot_loader_good_for_a_group(
    made: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PCR 8 and 9 are per host; what the group would get is the old boot loader of the one host."""
    old = tuple((pcr, kind, b"old" if text == b"grubx64.efi" else text) for pcr, kind, text in BOOT)
    made.attacker.reboot(boot=old)
    proposal = approving.propose(made.station, made.station.registry.host("host1"))
    approving.approve(made.station, proposal, None, False, False)
    made.says((*old, (9, 0x0D, b"/boot/new")))
    made.victim.reboot(boot=old)

    def predicted() -> None:
        host = made.station.registry.host("host1")
        predicting.keep(made.station, predicting.prepare(made.station, host, for_group=True), None)

    with pytest.raises(UsageError, match="--for-group would prepare nobody"):
        predicted()
    assert made.state("host2") is State.UNTRUSTED_MEASUREMENT
    monkeypatch.setattr(predicting, "group_effect", lambda *_arguments: GroupEffect("default", 2))
    predicted()
    assert made.state("host2") is State.TRUSTED


def test_change_that_is_told_as_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that loads something else is given the words of a command line's honest change."""

    def event(text: str, measured: str = "") -> BootEvent:
        return BootEvent(8, {"sha256": digest("sha256", (measured or text.partition(" ")[2]).encode())}, text)

    good = [event("grub_cmd: multiboot2 /boot/xen.gz a=1"), event("kernel_cmdline: a=1")]
    evil = [
        event("grub_cmd: multiboot2 /boot/xen.gz a=2", "chainloader /evil.efi"),
        event("kernel_cmdline: a=2"),
    ]
    register = ("sha256", 8)
    changes = event_changes(claimed_events(register, good), claimed_events(register, evil))
    digests = evil[0].digests["sha256"].hex()
    assert digests in " ".join(change_lines(changes, 8, whole=True))
    assert digests in " ".join(change_lines(changes, 8))
    told = repetition._proven
    everything = {"proven": True}

    def believed(change: EventChange) -> Any:
        assert change.a is not None and change.b is not None
        return told(replace(change, a=replace(change.a, **everything), b=replace(change.b, **everything)))

    monkeypatch.setattr(repetition, "_proven", believed)
    assert digests not in " ".join(change_lines(changes, 8, whole=True))


def test_word_that_measured_boot_was_undone(made: Desk) -> None:
    """An attacker who boots something else says that an update did it."""
    document = {"untrusted_boot_setup": BootSetup("grub-tpm", "undone", "an update, believe me")}
    made.attacker.reboot(boot=MALWARE)
    answer = made.attacker.text

    def lying(nonce: bytes, selection: Any) -> str:
        return answer(nonce, selection, evidence=document)

    made.attacker.text = lying  # type: ignore[method-assign]
    assert made.state("host1") is State.UNTRUSTED_MEASUREMENT
    assert json.loads(lying(bytes(32), None))["measured_boot"]["state"] == "undone"
