"""verifier/appraisal/logs.py: a log that leads to the signed values, and the ways in which it does not."""

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from support.measured_boot import BOOT, boot_events
from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import Event, EventLog, build_event_log
from xentpm_lib.verifier.appraisal.logs import MAX_EVENT_FINDINGS
from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.policy.model import Replay
from xentpm_lib.verifier.result import Verdict

BANKS = {"sha256": 32}


@pytest.fixture
def desk(make_desk, attesters):
    return make_desk(attesters("ecc"), policy=make_policy(replay=Replay.REQUIRED))


def _log(events, banks=None):
    return {"untrusted_event_log": build_event_log(EventLog(banks or BANKS, tuple(events)))}


def _codes(appraisal):
    return [(found.code, found.where) for found in appraisal.result.findings]


@pytest.mark.parametrize(
    "rule, codes", [(Replay.REQUIRED, ["EVENT_LOG_MISSING"]), (Replay.WHEN_PRESENT, []), (Replay.IGNORED, [])]
)
def test_no_log(desk, rule, codes):
    desk.policy = make_policy(replay=rule)
    desk.attester.send_log = False
    assert desk.codes() == codes
    assert desk.ask().evidence.events is None


@pytest.mark.parametrize(
    "rule, codes",
    [
        (Replay.REQUIRED, ["EVENT_LOG_MALFORMED"]),
        (Replay.WHEN_PRESENT, ["EVENT_LOG_MALFORMED"]),
        (Replay.IGNORED, []),
    ],
)
@pytest.mark.parametrize("log", [b"\0", b"\xff" * 100, bytes(4095)])
def test_no_log_that_can_be_read(desk, rule, codes, log):
    desk.policy = make_policy(replay=rule)
    appraisal = desk.ask(evidence={"untrusted_event_log": log})
    assert [found.code for found in appraisal.result.findings] == codes
    assert (appraisal.evidence.event_log, appraisal.evidence.events) == (log, None)


def test_an_event_less(desk):
    appraisal = desk.ask(evidence=_log(desk.attester.events[:-3]))
    assert _codes(appraisal) == [("EVENT_LOG_MISMATCH", "sha256:9")]
    found = appraisal.result.findings[0]
    assert found.expected == desk.attester.pcrs["sha256"][9].hex()
    assert found.component == "Xen, dom0 kernel or initrd"
    assert appraisal.evidence.events is None
    assert appraisal.evidence.event_log is not None


def test_two_events_in_another_order(desk):
    events = list(desk.attester.events)
    events[-3], events[-4] = events[-4], events[-3]
    assert _codes(desk.ask(evidence=_log(events))) == [("EVENT_LOG_MISMATCH", "sha256:9")]


def test_registers_that_the_policy_does_not_ask_for_may_differ(desk):
    """PCR 5 is not among them: its events are no proof of anything, and no fault."""
    assert desk.codes(evidence=_log(desk.attester.events[:-1])) == []


def test_a_log_of_another_boot(desk, attesters):
    other = attesters("ecc", boot=(*BOOT, (8, 13, b"another command")))
    assert desk.codes(evidence=_log(other.events)) == ["EVENT_LOG_MISMATCH"] * 2  # 1 has the serial number


def test_a_log_without_the_bank(desk):
    events = boot_events("x", ("sha1",))
    appraisal = desk.ask(evidence=_log(events, {"sha1": 20}))
    assert _codes(appraisal) == [("EVENT_LOG_MISMATCH", "sha256")]


def test_the_old_form_proves_nothing_of_sha256(desk):
    log = build_event_log(EventLog({"sha1": 20}, boot_events("x", ("sha1",)), crypto_agile=False))
    assert _codes(desk.ask(evidence={"untrusted_event_log": log})) == [("EVENT_LOG_MISMATCH", "sha256")]


def test_every_bank_has_to_lead_to_its_values(make_desk):
    desk = make_desk(SoftwareAttester(banks=("sha256", "sha384")))
    rules = desk.policy.banks[0]
    desk.policy = make_policy(banks=(rules, type(rules)("sha384", *[rules.shared, rules.per_host, ()])))
    assert desk.codes() == []
    events = list(desk.attester.events)
    events[0] = events[0]._replace(digests=dict(events[0].digests, sha384=bytes(48)))
    codes = _codes(desk.ask(evidence=_log(events, {"sha256": 32, "sha384": 48})))
    assert ("EVENT_LOG_MISMATCH", "sha384:0") in codes
    assert all("sha256" not in where for _, where in codes)


# What an event says beside its digest


def _rewritten(desk, number, **fields):
    events = list(desk.attester.events)
    events[number] = events[number]._replace(**fields)
    return _log(events)


def test_a_type_rewritten_to_one_that_extends_nothing(desk):
    assert desk.codes(evidence=_rewritten(desk, 0, type=3)) == ["EVENT_LOG_MISMATCH"]


def test_a_type_rewritten_to_an_unknown_one(desk):
    appraisal = desk.ask(evidence=_rewritten(desk, 1, type=0x0000ABCD))
    assert _codes(appraisal) == [("EVENT_LOG_UNKNOWN_EVENT", "event_log[1]")]
    assert appraisal.result.findings[0].actual == "0x0000abcd"


def test_a_boot_loader_that_calls_itself_a_separator(desk):
    """Its digest is measured, so the log leads to the values; but no separator has this digest."""
    number = next(n for n, event in enumerate(desk.attester.events) if event.type == 0x80000003)
    codes = _codes(desk.ask(evidence=_rewritten(desk, number, type=4, data=bytes(4))))
    assert codes == [("EVENT_LOG_MISMATCH", f"event_log[{number}]")]


@pytest.mark.parametrize("kind", [4, 5, 0x80000007, 0x80000001])
def test_words_that_were_not_measured(desk, kind):
    number = 2 if kind == 0x80000001 else 5
    evidence = _rewritten(desk, number, type=kind, data=b"Secure Boot is on, believe me")
    assert _codes(desk.ask(evidence=evidence)) == [("EVENT_LOG_MISMATCH", f"event_log[{number}]")]


def test_the_words_of_other_events_are_not_known_to_be_true(desk):
    """What GRUB or the firmware writes beside a file's digest nobody can check: it is shown, never judged."""
    assert desk.codes(evidence=_rewritten(desk, 1, data=b"any words")) == []


def test_a_log_cannot_flood_the_result(desk):
    event = Event(0, 0xABCD, {"sha256": bytes(32)}, b"")
    codes = _codes(desk.ask(evidence=_log([event] * 8_000)))
    assert sum(where.startswith("event_log") for _, where in codes) == MAX_EVENT_FINDINGS
    assert len(codes) <= MAX_EVENT_FINDINGS + 7


def test_a_severity_of_the_policy_may_tolerate_unknown_events(desk):
    severities = {"EVENT_LOG_UNKNOWN_EVENT": Severity.WARNING}
    desk.policy = make_policy(replay=Replay.REQUIRED, severities=severities)
    appraisal = desk.ask(evidence=_rewritten(desk, 1, type=0xABCD))
    assert appraisal.result.verdict is Verdict.TRUSTED
    assert appraisal.evidence.events is not None


# The boot log


def _boot_events(*texts, pcr=9):
    return tuple(BootEvent(pcr, {"sha256": digest("sha256", text)}, "a file") for text in texts)


BOOTED = (b"/boot/xen.gz", b"/boot/vmlinuz-4.19-xen", b"/boot/initrd-4.19-xen.img")


def test_a_boot_log_that_fits(desk):
    desk.attester.boot_log = _boot_events(*BOOTED)
    appraisal = desk.ask()
    assert appraisal.result.findings == ()
    assert appraisal.evidence.boot_log == desk.attester.boot_log


def test_files_that_were_changed_after_the_boot(desk):
    desk.attester.boot_log = _boot_events(*BOOTED[:2], b"another initrd")
    appraisal = desk.ask()
    assert _codes(appraisal) == [("BOOT_LOG_MISMATCH", "sha256:9")]
    assert appraisal.result.verdict is Verdict.TRUSTED  # a warning: this boot is the approved one
    assert appraisal.evidence.boot_log is None


@pytest.mark.parametrize("digests", [{}, {"sha1": bytes(20)}, {"sha256": bytes(31)}])
def test_a_boot_log_without_the_banks_digests(desk, digests):
    desk.attester.boot_log = (BootEvent(9, digests, "a file"),)
    if digests.get("sha256"):
        assert desk.codes() == ["EVIDENCE_MALFORMED"]
    else:
        assert _codes(desk.ask()) == [("BOOT_LOG_MISMATCH", "sha256")]


def test_an_empty_boot_log_says_nothing(desk):
    desk.attester.boot_log = ()
    assert desk.codes() == []


def test_a_boot_log_of_registers_that_a_dynamic_launch_zeroes(make_desk, attesters):
    launched = (17, 4, b"SINIT"), (18, 4, b"tboot")
    desk = make_desk(attesters("ecc", boot=(*BOOT, *launched), dynamic_launch=True))
    desk.policy = make_policy(dynamic_launch=True)
    desk.attester.boot_log = (*_boot_events(b"SINIT", pcr=17), *_boot_events(b"tboot", pcr=18))
    appraisal = desk.ask()
    assert appraisal.result.findings == ()
    assert appraisal.evidence.boot_log == desk.attester.boot_log
