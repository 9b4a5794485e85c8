"""What a host shows becomes reference values only when nothing about it is in doubt."""

import hashlib

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.errors import UsageError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import parse_event_log
from xentpm_lib.verifier.appraisal.model import VerifiedEvidence
from xentpm_lib.verifier.appraisal.outcome import conclude, unappraised
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.reference.capture import CaptureError, capture
from xentpm_lib.verifier.result import TpmClock

NOW = 1_800_000_000.0
POLICY = make_policy()
CLOCK = TpmClock(1000, 1, 0, True, 1)


def evidence_of(host, **changes):
    log = host.event_log()
    fields = {"pcrs": host.pcrs, "event_log": log, "events": parse_event_log(log), **changes}
    return VerifiedEvidence(attest=host.attest(bytes(32)), **fields)


def result_of(host, *findings, policy=POLICY, now=NOW):
    findings = findings or (finding("NO_REFERENCE_VALUES"),)
    return conclude(host.record(), policy, now, findings, clock=CLOCK)


def captured(host, *findings, policy=POLICY, evidence=None, **changes):
    words = {"label": "as installed", "who": "jo", "now": NOW + 1, **changes}
    result = result_of(host, *findings, policy=policy)
    return capture(result, evidence or evidence_of(host), host.record(), policy, **words)


@pytest.fixture
def host():
    return SoftwareAttester()


def test_all_that_was_signed_is_kept_and_assigned_to_the_host_alone(host):
    reference = captured(host, label="  after the update ", origin="approved")
    assert reference.pcrs == host.pcrs
    assert set(reference.pcrs["sha256"]) == set(range(24))
    assert (reference.label, reference.origin, reference.created_by) == ("after the update", "approved", "jo")
    assert (reference.created_at, reference.source_host) == (NOW + 1, host.host_id)
    assert (reference.hosts, reference.groups) == ({host.host_id}, frozenset())
    assert reference.event_log == hashlib.sha256(host.event_log()).hexdigest()
    assert reference.retired_at is None


def test_each_capture_has_its_own_name(host):
    assert captured(host).reference_id != captured(host).reference_id


def test_banks_that_the_policy_does_not_ask_for_are_left_out():
    host = SoftwareAttester(banks=("sha256", "sha384"))
    assert set(captured(host).pcrs) == {"sha256"}


def test_a_log_that_does_not_replay_is_not_kept(host):
    assert captured(host, evidence=evidence_of(host, events=None)).event_log == ""
    assert captured(host, evidence=evidence_of(host, events=None, event_log=None)).event_log == ""


def test_the_boot_log_is_kept(host):
    boot = (BootEvent(9, {"sha256": bytes(32)}, "/boot/xen.gz"),)
    assert captured(host, evidence=evidence_of(host, boot_log=boot)).boot_log == boot


@pytest.mark.parametrize(
    "code",
    [
        "SIGNER_MISMATCH",
        "EK_CHANGED",
        "UUID_CHANGED",
        "CLOCK_WENT_BACK",
        "EVENT_LOG_MISMATCH",
        "ASSET_TAG_INVALID",
        "INTERNAL_ERROR",
        "HOST_OFFLINE",
    ],
)
def test_a_host_whose_keys_or_evidence_are_in_doubt_is_refused(host, code):
    with pytest.raises(CaptureError) as raised:
        captured(host, finding("PCR_CHANGED"), finding(code, where="w", component="c"))
    assert [one.code for one in raised.value.findings] == [code]
    assert f"{code}: " in raised.value.message
    assert raised.value.message.endswith(": w (c)")
    assert raised.value.hint == finding(code).kind.advice
    assert raised.value.code == "XENTPM_CAPTURE_REFUSED"


def test_what_only_differs_from_other_reference_values_is_captured(host):
    captured(host, finding("PCR_CHANGED"), finding("HOST_REBOOTED"), finding("EK_FIRST_USE"))


@pytest.mark.parametrize("blank", [bytes(32), b"\xff" * 32], ids=["zeros", "ones"])
@pytest.mark.parametrize("pcr", [1, 9])
def test_a_blank_register_that_has_to_be_measured_is_refused(host, pcr, blank):
    host.pcrs["sha256"][pcr] = blank
    with pytest.raises(CaptureError, match=f"PCR_NOT_EXTENDED: .*: sha256:{pcr} "):
        captured(host)


def test_a_bank_that_firmware_leaves_alone_is_refused(host):
    host.pcrs["sha256"] = dict.fromkeys(range(24), bytes(32))
    with pytest.raises(CaptureError, match="PCR_NOT_EXTENDED: .*: sha256 "):
        captured(host)


def test_a_launch_that_did_not_happen_is_refused(host):
    with pytest.raises(CaptureError, match="DYNAMIC_LAUNCH_MISSING"):
        captured(host, policy=shipped("txt"))


def test_without_verified_evidence_there_is_nothing_to_capture(host):
    result = unappraised(host.record(), POLICY, NOW, finding("NO_REFERENCE_VALUES"))
    with pytest.raises(CaptureError, match="could not be verified"):
        capture(result, None, host.record(), POLICY, "label", "jo", NOW)
    with pytest.raises(CaptureError, match="could not be verified"):
        capture(result, evidence_of(host), host.record(), POLICY, "label", "jo", NOW)


def test_the_result_of_another_host_or_policy_is_refused(host):
    other = SoftwareAttester()
    with pytest.raises(CaptureError, match="another host"):
        capture(result_of(other), evidence_of(host), host.record(), POLICY, "label", "jo", NOW)
    with pytest.raises(CaptureError, match="or policy"):
        capture(result_of(host), evidence_of(host), host.record(), shipped("firmware"), "label", "jo", NOW)


@pytest.mark.parametrize("late", [-1.0, 900.0])
def test_a_result_that_is_over_is_refused(host, late):
    with pytest.raises(CaptureError, match="expired"):
        capture(result_of(host), evidence_of(host), host.record(), POLICY, "label", "jo", NOW + late)


@pytest.mark.parametrize("label", ["", "  ", "a\nb", "\x1b[31m", "x" * 101])
def test_a_label_that_cannot_be_is_refused(host, label):
    with pytest.raises(UsageError, match="label"):
        captured(host, label=label)
