"""verifier/appraisal/measurements.py: what nobody has extended, and launches that never were."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy, sole_bank_rules
from support.measured_boot import BOOT
from xentpm_lib.evidence.pcr import extend
from xentpm_lib.verifier.appraisal.measurements import is_extended, measurement_findings
from xentpm_lib.verifier.policy.model import BootPath, Replay

TXT = (*BOOT, (17, 4, b"SINIT"), (18, 4, b"tboot"), (19, 4, b"Xen and dom0"))


@pytest.mark.parametrize(
    "pcr, value, extended",
    [
        (0, bytes(32), False),
        (0, bytes(31) + b"\3", False),
        (0, bytes(31) + b"\4", False),
        (0, bytes(31) + b"\5", True),
        (0, b"\3" + bytes(31), True),
        (1, bytes(31) + b"\3", True),
        (1, bytes(32), False),
        (1, b"\xff" * 32, False),
        (17, b"\xff" * 48, False),
        (17, b"\xff" * 47 + b"\xfe", True),
        (8, bytes(19) + b"\1", True),
    ],
)
def test_is_extended(pcr, value, extended):
    assert is_extended(pcr, value) is extended


@pytest.fixture
def desk(make_desk, attesters):
    return make_desk(attesters("ecc", send_log=False))


def _set(desk, pcr, value):
    """Give the register this value, and approve it: it is the rule that has to refuse it."""
    desk.attester.pcrs["sha256"][pcr] = value
    desk.references = [desk.attester.reference()]


@pytest.mark.parametrize("value", [bytes(32), b"\xff" * 32])
@pytest.mark.parametrize("pcr", [0, 1, 2, 4, 7, 8, 9])
def test_a_required_register_that_nobody_extended(desk, pcr, value):
    _set(desk, pcr, value)
    found = desk.ask().result.findings
    assert [(one.code, one.where) for one in found] == [("PCR_NOT_EXTENDED", f"sha256:{pcr}")]
    assert found[0].component


def test_a_locality_is_no_measurement(desk):
    _set(desk, 0, bytes(31) + b"\3")
    assert desk.codes() == ["PCR_NOT_EXTENDED"]


def test_a_bank_that_the_firmware_leaves_alone(make_desk):
    """CVE-2021-42299: dom0 has extended what it wants to be seen, but 0 to 7 are as at the start.

    The policy does not ask for any register to be extended; a bank of that kind is refused all the same.
    """
    desk = make_desk(SoftwareAttester(boot=tuple(event for event in BOOT if event[0] > 7), send_log=False))
    desk.policy = make_policy(banks=(replace(sole_bank_rules(), extended=()),))
    found = desk.ask().result.findings
    assert [(one.code, one.where) for one in found] == [("PCR_NOT_EXTENDED", "sha256")]


def test_a_second_bank_that_the_firmware_leaves_alone(make_desk):
    desk = make_desk(SoftwareAttester(banks=("sha256", "sha384"), send_log=False))
    desk.attester.pcrs["sha384"] = {pcr: bytes(48) for pcr in range(24)}
    desk.references = [desk.attester.reference()]
    rules = sole_bank_rules()
    desk.policy = make_policy(banks=(rules, replace(rules, bank="sha384", extended=())))
    assert [one.where for one in desk.ask().result.findings] == ["sha384"]


@pytest.fixture
def txt_desk(make_desk, attesters):
    """A host that was launched, and a policy that wants it."""
    desk = make_desk(attesters("ecc", boot=TXT, dynamic_launch=True, send_log=False))
    rules = replace(sole_bank_rules(), shared=(0, 17, 18, 19), extended=(0, 17, 18, 19))
    desk.policy = make_policy(banks=(rules,), dynamic_launch=True, boot=BootPath.TXT, replay=Replay.IGNORED)
    return desk


def test_a_dynamic_launch(txt_desk):
    assert txt_desk.codes() == []


@pytest.mark.parametrize("pcr", range(17, 23))
def test_registers_of_the_launch_that_are_all_ones(txt_desk, pcr):
    _set(txt_desk, pcr, b"\xff" * 32)
    found = txt_desk.ask().result.findings
    assert ("DYNAMIC_LAUNCH_MISSING", f"sha256:{pcr}") in [(one.code, one.where) for one in found]


def test_no_launch_at_all_is_one_finding(txt_desk):
    for pcr in range(17, 23):
        _set(txt_desk, pcr, b"\xff" * 32)
    txt_desk.policy = make_policy(
        banks=(replace(sole_bank_rules(), shared=(0, 17), extended=(0,)),), dynamic_launch=True
    )
    assert txt_desk.codes() == ["DYNAMIC_LAUNCH_MISSING"]


def test_a_launch_that_measured_nothing(txt_desk):
    _set(txt_desk, 17, bytes(32))
    assert txt_desk.codes() == ["PCR_NOT_EXTENDED", "DYNAMIC_LAUNCH_MISSING"]


def test_a_pretended_launch_cannot_be_extended_from_ones():
    """Who extends a register of ones never gets to what a launch leaves, and all ones are refused."""
    value = extend("sha256", b"\xff" * 32, bytes(32))
    assert is_extended(17, value)
    assert value != extend("sha256", bytes(32), bytes(32))


def test_no_policy_no_finding():
    assert list(measurement_findings({}, make_policy(banks=()))) == []
