"""Reference values of a boot to come: of a trusted host, PCR 8 and 9 only, with logs that lead to them."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy, sole_bank_rules
from support.measured_boot import BOOT
from support.soft_pool import boot_log_of, prediction_text
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.event_log import parse_event_log
from xentpm_lib.verifier.appraisal import appraise
from xentpm_lib.verifier.appraisal.outcome import conclude
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.policy.model import Replay
from xentpm_lib.verifier.reference.capture import CaptureError
from xentpm_lib.verifier.reference.measured import measurements
from xentpm_lib.verifier.reference.prediction import PredictionError, predict
from xentpm_lib.verifier.result import TpmClock, Verdict

NOW = 1_800_000_000.0
POLICY = make_policy()
INITRD = (9, 0x0D, b"/boot/initrd-4.19-xen.img")
UPDATED = tuple((9, 0x0D, b"/boot/initrd-4.19-xen.img 2") if one == INITRD else one for one in BOOT)
AK_CHANGED = "something in its dom0 answers wrongly"


def appraised(host, policy=POLICY, references=None):
    book = ChallengeBook(clock=lambda: NOW)
    challenge = book.issue(host.record(), policy)
    text = host.text(challenge.nonce, challenge.selection)
    known = [host.reference()] if references is None else references
    return appraise(text, book.redeem(challenge), host.record(), known, policy, None, NOW)


def predicted(host, text=None, policy=POLICY, references=None, **words):
    done = appraised(host, policy, references)
    text = prediction_text(host, UPDATED) if text is None else text
    fields = {"label": "update", "who": "jo", "now": NOW + 1, **words}
    return predict(text, done.result, done.evidence, host.record(), policy, **fields)


@pytest.fixture
def host():
    return SoftwareAttester()


def test_the_next_boot_is_what_was_predicted(host):
    reference = predicted(host).reference
    now = dict(host.pcrs["sha256"])
    assert {pcr for pcr in range(24) if reference.pcrs["sha256"][pcr] != now[pcr]} == {9}
    assert (reference.origin, reference.label, reference.created_by) == ("predicted", "update", "jo")
    assert (reference.source_host, reference.hosts) == (host.host_id, {host.host_id})
    assert reference.boot_log == boot_log_of(host, UPDATED)
    good = host.reference()
    host.reboot(boot=UPDATED)
    assert appraised(host, references=[good]).result.verdict is Verdict.UNTRUSTED
    done = appraised(host, references=[good, reference])
    assert done.result.verdict is Verdict.TRUSTED
    assert [one.label for one in done.result.references if one.matched] == ["update"]


def test_the_old_boot_stays_good(host):
    reference = predicted(host).reference
    assert appraised(host, references=[host.reference(), reference]).result.verdict is Verdict.TRUSTED


def test_the_logs_that_are_kept_lead_to_the_values(host):
    made = predicted(host)
    log = parse_event_log(made.event_log)
    assert {event.pcr for event in log.events} == {event.pcr for event in host.events} - {8, 9}
    measured = measurements(made.reference.pcrs, made.event_log, made.reference.boot_log)
    extended = {event.pcr for event in host.events}
    assert {pcr for bank, pcr in measured} == extended
    assert [one.text for one in measured["sha256", 9]][-1] == "/boot/initrd-4.19-xen.img 2"


@pytest.mark.parametrize("case", ["none", "ignored"])
def test_without_a_log_that_leads_to_the_values_none_is_kept(host, case):
    host.send_log = case == "ignored"
    policy = make_policy(replay=Replay.IGNORED) if case == "ignored" else POLICY
    made = predicted(host, policy=policy)
    assert (made.event_log, made.reference.event_log) == (None, "")
    assert made.reference.boot_log == boot_log_of(host, UPDATED)


def test_what_the_host_said_is_handed_on(host):
    text = prediction_text(host, UPDATED, untrusted_entry="Xen", untrusted_notes=("grubenv is empty",))
    made = predicted(host, text)
    assert (made.entry, made.notes) == ("Xen", ("grubenv is empty",))


def test_every_bank_of_the_policy_is_predicted_and_no_other():
    host = SoftwareAttester(banks=("sha1", "sha256", "sha384"))
    rules = sole_bank_rules()
    policy = make_policy(banks=(rules, replace(rules, bank="sha384")))
    reference = predicted(host, policy=policy).reference
    assert all(set(event.digests) == {"sha256", "sha384"} for event in reference.boot_log)
    host.reboot(boot=UPDATED)
    for bank in ("sha256", "sha384"):
        assert reference.pcrs[bank][9] == host.pcrs[bank][9]
    without = tuple(
        one._replace(digests={"sha256": one.digests["sha256"]}) for one in boot_log_of(host, UPDATED)
    )
    host.reboot(boot=BOOT)
    text = prediction_text(host, untrusted_boot_log=without)
    with pytest.raises(PredictionError, match="no sha384 digest of an event of PCR 8") as refused:
        predicted(host, text, policy=policy)
    assert "sha256 and sha384" in refused.value.hint and "newer supplemental pack" in refused.value.hint


# Refusals


def test_a_host_that_is_not_trusted(host):
    good = host.reference()
    host.extend(9, b"x")
    host.send_log = False
    with pytest.raises(PredictionError, match="is not trusted now .PCR_CHANGED.: its word") as refused:
        predicted(host, references=[good])
    assert refused.value.code == "XENTPM_PREDICTION_REFUSED" and "explain HOST" in refused.value.hint


def test_a_result_that_is_over(host):
    with pytest.raises(CaptureError, match="expired"):
        predicted(host, now=NOW + 901)


def test_a_trusted_result_without_evidence(host):
    result = appraised(host).result
    with pytest.raises(CaptureError, match="could not be verified"):
        predict(prediction_text(host), result, None, host.record(), POLICY, "x", "jo", NOW)


@pytest.mark.parametrize("text", ["", "{}", "null", "[" * 5000])
def test_what_is_no_prediction(host, text):
    with pytest.raises(PredictionError, match="is no boot prediction") as refused:
        predicted(host, text)
    assert "newer supplemental pack" in refused.value.hint


def test_the_prediction_of_another_host(host):
    other = SoftwareAttester()
    with pytest.raises(PredictionError, match=f"of the host {other.host_id}, not of host1") as refused:
        predicted(host, prediction_text(other))
    assert AK_CHANGED in refused.value.hint


@pytest.mark.parametrize("pcr", [pcr for pcr in range(24) if pcr not in (8, 9)])
def test_another_register_than_those_of_grub(host, pcr):
    more = BootEvent(pcr, {"sha256": bytes(32)}, "anything")
    text = prediction_text(host, untrusted_boot_log=(*boot_log_of(host, UPDATED), more))
    with pytest.raises(PredictionError, match=f"tells of PCR {pcr}: it may tell of PCR 8 and 9 only"):
        predicted(host, text)


@pytest.mark.parametrize("pcr", [8, 9])
def test_a_register_that_the_prediction_leaves_out(host, pcr):
    host.boot_log = boot_log_of(host)  # which leads to this boot
    left = tuple(one for one in boot_log_of(host, UPDATED) if one.pcr != pcr)
    with pytest.raises(PredictionError, match=f"does not tell of PCR {pcr} .sha256., and this boot has"):
        predicted(host, prediction_text(host, untrusted_boot_log=left))


def test_a_register_that_is_blank_now():
    host = SoftwareAttester(boot=tuple(one for one in BOOT if one[0] != 8))
    rules = replace(sole_bank_rules(), extended=(0, 1, 2, 4, 7, 9))
    with pytest.raises(PredictionError, match="tells of PCR 8 .sha256., and it is blank now") as refused:
        predicted(host, policy=make_policy(banks=(rules,), event_log_pcrs=(0,)))
    assert "baseline approve HOST" in refused.value.hint


def test_a_dynamic_launch_cannot_be_predicted():
    launched = ((17, 4, b"SINIT"), (18, 4, b"tboot"))
    host = SoftwareAttester(boot=(*BOOT, *launched), dynamic_launch=True)
    with pytest.raises(PredictionError, match="dynamic launch"):
        predicted(host, policy=make_policy(dynamic_launch=True))


def test_a_policy_that_compares_neither(host):
    rules = replace(sole_bank_rules(), shared=(0, 2, 4, 7))
    with pytest.raises(PredictionError, match="compares neither PCR 8 nor PCR 9"):
        predicted(host, policy=make_policy(banks=(rules,)))


def test_a_host_with_a_key_in_doubt(host):
    result = conclude(host.record(), POLICY, NOW, (finding("AK_CHANGED"),), clock=TpmClock(1, 1, 1, True, 1))
    with pytest.raises(PredictionError, match="AK_CHANGED"):
        predict(prediction_text(host), result, None, host.record(), POLICY, "x", "jo", NOW)
