"""verifier/appraisal/outcome.py and components.py: results without evidence, and words for registers."""

import pytest

from support.evidence_maker import make_policy
from xentpm_lib.verifier.appraisal import component, unappraised
from xentpm_lib.verifier.appraisal.outcome import evidence_digest
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.policy.model import BootPath
from xentpm_lib.verifier.result import State, Verdict


@pytest.mark.parametrize(
    "code, state",
    [
        ("HOST_OFFLINE", State.UNREACHABLE),
        ("PLUGIN_ERROR", State.UNTRUSTED_EVIDENCE),
        ("RECORD_ALTERED", State.UNTRUSTED_KEY),
    ],
)
def test_unappraised(desk, code, state):
    result = unappraised(desk.record, desk.policy, desk.now, finding(code))
    assert (result.state, result.verdict) == (state, Verdict.UNTRUSTED)
    assert (result.clock, result.references, result.evidence_digest) == (None, (), "")


@pytest.mark.parametrize("findings", [(), (finding("HOST_REBOOTED"),), (finding("EK_FIRST_USE"),)])
def test_unappraised_without_a_reason_is_untrusted_all_the_same(desk, findings):
    result = unappraised(desk.record, desk.policy, desk.now, *findings)
    assert result.verdict is Verdict.UNTRUSTED
    assert result.findings[-1].code == "INTERNAL_ERROR"


def test_the_digest_of_anything():
    assert len(evidence_digest("\ud800")) == 64
    assert evidence_digest(" " * (25 * 2**20)) == ""


@pytest.mark.parametrize("boot", BootPath)
@pytest.mark.parametrize("pcr", range(24))
def test_every_register_has_a_name(boot, pcr):
    assert component(boot, pcr)


def test_names_follow_the_boot_path():
    assert component(BootPath.UEFI_GRUB, 9) == "Xen, dom0 kernel or initrd"
    assert component(BootPath.TXT, 19) == "dom0 kernel or initrd"
    assert component(BootPath.FIRMWARE, 9) == "measured by the running system (PCR 9)"


def test_a_policy_may_not_weaken_a_result_without_evidence(desk):
    policy = make_policy(severities={"HOST_OFFLINE": finding("HOST_REBOOTED").severity})
    assert unappraised(desk.record, policy, desk.now, finding("HOST_OFFLINE")).state is State.UNREACHABLE
