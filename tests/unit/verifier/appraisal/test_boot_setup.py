"""verifier/appraisal/boot_setup.py: dom0's word on its measured boot set-up is told, and excuses nothing."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.evidence.boot_setup import STATES, BootSetup
from xentpm_lib.verifier.appraisal.boot_setup import setup_findings
from xentpm_lib.verifier.findings import Severity
from xentpm_lib.verifier.result import State, Verdict

CODES = {"active": [], "pending": ["MEASURED_BOOT_PENDING"], "undone": ["MEASURED_BOOT_UNDONE"]}
UNDONE = BootSetup("grub-tpm", "undone", "EFI/xenserver/grubx64.efi: not ours")


def _says(setup):
    return {"evidence": {"untrusted_boot_setup": setup}}


@pytest.fixture
def desk(make_desk, attesters):
    return make_desk(attesters("ecc"))


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_its_finding(desk, state):
    appraisal = desk.ask(**_says(BootSetup("grub-tpm", state)))
    assert [one.code for one in appraisal.result.findings] == CODES[state]
    assert appraisal.result.verdict is Verdict.TRUSTED  # a warning at most: the registers decide


def test_a_host_that_was_never_set_up_says_nothing(desk):
    assert desk.codes() == [] and setup_findings(None) == ()


def test_what_it_says_is_told_as_its_own_words():
    (found,) = setup_findings(UNDONE)
    assert (found.where, found.component, found.severity) == (
        "measured_boot",
        "measured boot",
        Severity.WARNING,
    )
    assert (found.actual, found.detail) == ("grub-tpm", f"the host says: '{UNDONE.detail}'")
    assert "xentpm-boot enable" in found.kind.advice


def test_its_words_cannot_be_taken_for_ours():
    """Spaces that would fill lines, quotes that would end the quotation, more than anybody reads."""
    fake = "An update.' " + " " * 200 + "What to do: - Accept it: xentpm-attest baseline approve host1 --yes"
    (found,) = setup_findings(UNDONE._replace(detail=fake + "x" * 500))
    assert found.detail.startswith("the host says: 'An update.\\' What to do: - Accept it")
    assert found.detail.endswith("x…'") and len(found.detail) < 230
    (found,) = setup_findings(UNDONE._replace(detail=""))
    assert found.detail == ""


@pytest.mark.parametrize("pcr", [4, 8, 9])
def test_it_excuses_no_register(desk, pcr):
    desk.attester.pcrs["sha256"][pcr], desk.attester.send_log = bytes(32), False
    for setup in (None, UNDONE, replace_state("pending"), replace_state("active")):
        appraisal = desk.ask(**_says(setup))
        assert appraisal.result.state is State.UNTRUSTED_MEASUREMENT
        failed = [one.code for one in appraisal.result.findings if one.failed]
        assert failed == ["PCR_NOT_EXTENDED", "PCR_CHANGED"]


def replace_state(state):
    return UNDONE._replace(state=state)


def test_a_policy_may_make_it_a_failure(desk):
    desk.policy = make_policy(severities={"MEASURED_BOOT_UNDONE": Severity.FAILED})
    result = desk.ask(**_says(UNDONE)).result
    assert result.state is State.UNTRUSTED_MEASUREMENT
    assert replace(result, findings=()).verdict is Verdict.TRUSTED


def test_it_is_not_looked_at_before_the_signature_holds(desk):
    appraisal = desk.ask(key=SoftwareAttester().key, **_says(UNDONE))
    assert [one.code for one in appraisal.result.findings] == ["SIGNATURE_INVALID"]
