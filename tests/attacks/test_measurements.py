"""Attacks on what was measured: PCR values under other names, banks that nobody extends, logs that lie."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester, make_policy, sole_bank_rules
from support.in_process import call
from support.measured_boot import BOOT
from support.tpm2_tools import tpm2
from xentpm_lib.errors import PolicyError
from xentpm_lib.evidence import pcr as pcr_format
from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.attest import Attest
from xentpm_lib.evidence.event_log import EventLog, build_event_log, parse_event_log
from xentpm_lib.evidence.event_types import EV_NO_ACTION, EV_SEPARATOR, EVENT_TYPES
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import PcrSelection, composite_digest, extend
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.host import functions
from xentpm_lib.verifier.appraisal import authenticity, logs
from xentpm_lib.verifier.policy.loader import load_policy, shipped
from xentpm_lib.verifier.policy.model import BankRules, Replay
from xentpm_lib.verifier.reference.capture import CaptureError, capture

appraisal_itself = import_module("xentpm_lib.verifier.appraisal.appraise")
INITRD = (9, 0x0D, b"/boot/initrd-4.19-xen.img")
CHANGED = tuple((9, 0x0D, b"/boot/initrd-of-the-attacker") if one == INITRD else one for one in BOOT)
FREE = 16  # the register that anybody resets and extends


# Registers under other names.


def changed_with_good_copy(desk: Any) -> SoftwareAttester:
    """The host boots another initrd; root extends the free register to what PCR 9 should be."""
    host: SoftwareAttester = desk.attester
    host.reboot(boot=CHANGED)
    for event in desk_log(desk).events:
        if event.pcr == 9:
            old = host.pcrs["sha256"][FREE]
            host.pcrs["sha256"][FREE] = extend("sha256", old, event.digests["sha256"])
    assert host.pcrs["sha256"][FREE] == desk.good[9] != host.pcrs["sha256"][9]
    return host


def desk_log(desk: Any) -> EventLog:
    """The log of the good boot."""
    good = copy.deepcopy(desk.attester)
    good.boot = BOOT
    good.measure()
    return parse_event_log(good.event_log())


def shown_as_good(desk: Any, evidence: QuoteEvidence, pcrs: Iterable[int]) -> QuoteEvidence:
    """Shown: the values of these registers and the log of a good boot."""
    shown = {number: desk.good[number] for number in pcrs}
    good_log = build_event_log(desk_log(desk))
    return evidence._replace(untrusted_pcrs={"sha256": shown}, untrusted_event_log=good_log)


def test_relabelled_pcrs_cve_2024_29039(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quoted is register 16 in the place of 9; the document calls it 9. CVE-2024-29039 (tpm2-tools).

    The names of registers were taken from the document, and the signed selection was not looked at.
    """
    host = changed_with_good_copy(desk)
    signed = PcrSelection.from_text("sha256:0,1,2,3,4,5,6,7,8,16")
    labels = PcrSelection.from_text("sha256:0,1,2,3,4,5,6,7,8,9")

    def attack() -> Any:
        challenge = desk.challenge()
        made = host.quote_evidence(challenge.nonce, signed)
        return desk.judge(shown_as_good(desk, made, range(10)), challenge)

    desk.caught(attack(), "PCR_SELECTION")

    def labels_believed(attest: Attest, _asked: PcrSelection) -> Any:
        assert attest.quote is not None
        return attest.quote._replace(selection=labels)

    monkeypatch.setattr(appraisal_itself, "check_selection", labels_believed)
    desk.believed(attack())


TWICE = "sha256:0,1,2,3,4,5,6,7,8+sha256:16+sha256:10,11,12,13,14,15,16,17,18,19,20,21,22,23"


def test_bank_that_is_selected_twice(dom0: Any, desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many values as were asked for: a bank selected more than once makes room for 16 in the place of 9.

    A real TPM signs that, and its digest is that of the lie. Two checks stop it: no bank is in a selection
    twice, and the selection is the one asked for.
    """
    ak = Identity.from_xml(call(dom0, functions.get_identity)).ak
    measured = {0: b"firmware", FREE: b"what a good boot measures into 9"}
    shown = pcr_format.start_values("sha256")
    for number, data in measured.items():
        value = digest("sha256", data)
        tpm2(dom0, "pcrextend", f"{number}:sha256={value.hex()}")
        shown[number] = extend("sha256", shown[number], value)
    shown[9] = shown[FREE]  # the TPM's own is zeros
    desk.attester.ak, desk.attester.tag, desk.attester.send_log = ak, None, False
    desk.record = replace(desk.record, ak=ak, asset_tag=None)
    desk.references = [desk.attester.reference(pcrs={"sha256": shown})]
    desk.policy = make_policy(banks=(BankRules("sha256", (0, 9), (), (0, 9)),))

    def attack() -> Any:
        challenge = desk.challenge()
        words = ["-c", "0x81010002", "-g", "sha256", "-l", TWICE, "-q", challenge.nonce.hex()]
        tpm2(dom0, "quote", *words, "-m", "attest", "-s", "signature")
        attest, signature = (Path(dom0.root, name).read_bytes() for name in ("attest", "signature"))
        made = desk.attester.quote_evidence(challenge.nonce, challenge.selection)
        made = made._replace(attest=attest, signature=signature, untrusted_pcrs={"sha256": shown})
        return desk.judge(made, challenge)

    def as_asked(attest: Attest, selection: PcrSelection) -> Any:
        assert attest.quote is not None
        return attest.quote._replace(selection=selection)

    desk.caught(attack(), "ATTEST_MALFORMED")
    with monkeypatch.context() as other:
        other.setattr(appraisal_itself, "check_selection", as_asked)
        desk.caught(attack(), "ATTEST_MALFORMED")
    monkeypatch.setattr(pcr_format, "_check_banks", lambda _banks: None)
    desk.caught(attack(), "PCR_SELECTION")
    monkeypatch.setattr(appraisal_itself, "check_selection", as_asked)
    desk.believed(attack())


def test_selection_truncation_cve_2022_0317(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quote leaves out the register that would tell; the document adds a value for it. CVE-2022-0317.

    (go-attestation: values that no quote covered were given to the caller as if one had.) Two checks stop it.
    """
    host = desk.attester
    host.reboot(boot=CHANGED)
    fewer = PcrSelection.from_text("sha256:0,1,2,3,4,5,6,7,8")

    def attack() -> Any:
        challenge = desk.challenge()
        made = host.quote_evidence(challenge.nonce, fewer)
        return desk.judge(shown_as_good(desk, made, range(10)), challenge)

    desk.caught(attack(), "PCR_SELECTION")
    with monkeypatch.context() as one:
        one.setattr(authenticity, "_only", lambda values, _indices: values)
        desk.caught(attack(), "PCR_SELECTION")
    monkeypatch.setattr(appraisal_itself, "check_selection", lambda attest, _asked: attest.quote)
    desk.caught(attack(), "INTERNAL_ERROR")  # there is no value to compare, and that trusts nobody
    monkeypatch.setattr(authenticity, "_only", lambda values, _indices: values)
    desk.believed(attack())


def test_values_that_were_not_signed(desk: Any, blind: Callable[..., None]) -> None:
    """The quote is right and complete; shown beside it are the values of a good boot."""
    desk.attester.reboot(boot=CHANGED)

    def attack(challenge: Any) -> Any:
        made = desk.attester.quote_evidence(challenge.nonce, challenge.selection)
        return desk.judge(shown_as_good(desk, made, made.untrusted_pcrs["sha256"]), challenge)

    desk.caught(attack(desk.challenge()), "PCR_DIGEST")
    blind(authenticity, composite_digest(desk.attester.pcrs, desk.policy.selection, "sha256"))
    desk.believed(attack(desk.challenge()))


# Banks.


def test_sha1_bank_downgrade(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host offers the bank in which collisions can be had; and a policy that asks for it is refused."""
    host = SoftwareAttester(banks=("sha1",), host_id=desk.record.host_id)
    desk.attester, desk.record, desk.references = host, host.record(), [host.reference()]

    def attack() -> Any:
        challenge = desk.challenge()
        return desk.judge(host.text(challenge.nonce, PcrSelection.from_text("sha1:all")), challenge)

    desk.caught(attack(), "PCR_SELECTION")
    text = shipped("uefi-grub").text.replace("[pcrs.sha256]", "[pcrs.sha1]")
    with pytest.raises(PolicyError, match="sha1"):
        load_policy(text, "with sha1")
    desk.policy = make_policy(banks=(sole_bank_rules("sha1"),))  # as if that were not refused
    desk.believed(attack())


def test_unextended_bank_cve_2021_42299(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The firmware extends only the bank sha1, so that sha256 says nothing of any boot. CVE-2021-42299."""
    host = SoftwareAttester(banks=("sha1", "sha256"), host_id=desk.record.host_id, send_log=False)

    def only_sha1() -> None:
        host.pcrs["sha256"] = pcr_format.start_values("sha256")

    only_sha1()
    desk.attester, desk.record, desk.references = host, host.record(), [host.reference()]
    host.reboot(boot=CHANGED)
    only_sha1()
    codes = [one.code for one in desk.ask().result.findings if one.failed]
    assert set(codes) == {"PCR_NOT_EXTENDED"}
    blank = desk.ask()
    with pytest.raises(CaptureError):
        capture(blank.result, blank.evidence, desk.record, desk.policy, "blank", "admin", desk.now)
    monkeypatch.setattr(appraisal_itself, "measurement_findings", lambda *_anything: ())
    desk.believed(desk.ask())


def test_unextended_bank_that_root_has_filled(desk: Any) -> None:
    """What no check can see, and docs/threat-model.md says: a blank bank is root's to fill.

    Until then it is seen: a host with such firmware, freshly installed, gets no reference values of its own,
    and those of others do not make it trusted where a register is per host.
    """
    other = desk.references[0]
    desk.attester.reboot(boot=CHANGED)  # measured by the firmware into another bank only
    desk.attester.pcrs["sha256"] = pcr_format.start_values("sha256")
    desk.references = [replace(other, hosts=frozenset(), groups=frozenset({desk.record.group}))]

    def attack(bank: dict[int, bytes]) -> Any:
        desk.attester.pcrs["sha256"] = bank
        challenge = desk.challenge()
        made = desk.attester.quote_evidence(challenge.nonce, challenge.selection)
        return desk.judge(made._replace(untrusted_event_log=build_event_log(desk_log(desk))), challenge)

    filled = dict(desk.good)
    blank = attack(pcr_format.start_values("sha256"))
    assert "PCR_NOT_EXTENDED" in [one.code for one in blank.result.findings]
    desk.caught(attack(filled), "NO_REFERENCE_VALUES")
    desk.policy = make_policy(banks=(replace(sole_bank_rules(), per_host=()),))
    desk.believed(attack(filled))


# Logs.


def log_changed(desk: Any, change: Callable[[list[Any]], Any]) -> dict[str, Any]:
    """Evidence with a log in which root has changed the events."""
    log = parse_event_log(desk.attester.event_log())
    events = list(log.events)
    change(events)
    return {"evidence": {"untrusted_event_log": build_event_log(log._replace(events=tuple(events)))}}


def at(events: list[Any], kind: int) -> int:
    return next(number for number, event in enumerate(events) if event.type == kind)


VARIABLE, IPL = 0x80000001, 0x0D


def test_event_data_rewritten(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log leads to the signed values, but what it says of a setting is not what was measured."""

    def change(events: list[Any]) -> None:
        number = at(events, VARIABLE)
        events[number] = events[number]._replace(data="SecureBoot".encode("utf-16-le") + b"\1")

    attack = log_changed(desk, change)
    desk.caught(desk.ask(**attack), "EVENT_LOG_MISMATCH")
    monkeypatch.setattr(logs, "_is_of_its_data", lambda *_anything: True)
    desk.believed(desk.ask(**attack))


def test_event_type_rewritten(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A boot loader's event is passed off as a harmless separator: types are not part of what is measured."""

    def change(events: list[Any]) -> None:
        number = at(events, IPL)
        events[number] = events[number]._replace(type=EV_SEPARATOR, data=bytes(4))

    attack = log_changed(desk, change)
    desk.caught(desk.ask(**attack), "EVENT_LOG_MISMATCH")
    monkeypatch.setattr(logs, "_is_of_its_data", lambda *_anything: True)
    desk.believed(desk.ask(**attack))


def test_event_type_that_nobody_knows(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a type that readers pass over."""

    def change(events: list[Any]) -> None:
        number = at(events, IPL)
        events[number] = events[number]._replace(type=0x1234)

    attack = log_changed(desk, change)
    desk.caught(desk.ask(**attack), "EVENT_LOG_UNKNOWN_EVENT")
    monkeypatch.setattr(logs, "EVENT_TYPES", {**EVENT_TYPES, 0x1234: "whatever"})
    desk.believed(desk.ask(**attack))


def test_event_that_is_said_to_extend_nothing(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event hidden as EV_NO_ACTION, which no replay extends: then the replay ends elsewhere."""

    def change(events: list[Any]) -> None:
        number = at(events, IPL)
        events[number] = events[number]._replace(type=EV_NO_ACTION)

    attack = log_changed(desk, change)
    desk.caught(desk.ask(**attack), "EVENT_LOG_MISMATCH")
    monkeypatch.setattr(logs, "_mismatches", lambda *_anything: ())
    desk.believed(desk.ask(**attack))


def test_log_that_does_not_match(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of another boot beside a good quote; and no log at all where one is required."""
    attack = log_changed(desk, lambda events: events.pop(at(events, IPL)))
    desk.caught(desk.ask(**attack), "EVENT_LOG_MISMATCH")
    with monkeypatch.context() as one:
        one.setattr(logs, "_mismatches", lambda *_anything: ())
        desk.believed(desk.ask(**attack))
    desk.attester.send_log = False
    desk.policy = replace(desk.policy, replay=Replay.REQUIRED)
    desk.caught(desk.ask(), "EVENT_LOG_MISSING")
    desk.policy = replace(desk.policy, replay=Replay.WHEN_PRESENT)
    desk.believed(desk.ask())
