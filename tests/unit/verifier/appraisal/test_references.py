"""verifier/appraisal/references.py: which reference values apply, and that they are never mixed."""

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy, sole_bank_rules
from support.measured_boot import BOOT
from xentpm_lib.verifier.result import State, Verdict

OTHER = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def desk(make_desk, attesters):
    return make_desk(attesters("ecc"))


def _changed(desk, pcr, **fields):
    """The host's reference values with another value in ``pcr``."""
    reference = desk.attester.reference(**fields)
    reference.pcrs["sha256"][pcr] = bytes(31) + bytes([pcr + 1])
    return reference


def test_no_reference_values_at_all(desk):
    desk.references = []
    result = desk.ask().result
    assert [found.code for found in result.findings] == ["NO_REFERENCE_VALUES"]
    assert result.state is State.PENDING_APPROVAL
    assert result.references == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"hosts": frozenset({OTHER})},
        {"hosts": frozenset(), "groups": frozenset({"another group"})},
        {"hosts": frozenset()},
        {"retired_at": 1.0},
        {"retired_at": 0.0},
    ],
)
def test_reference_values_that_do_not_apply(desk, fields):
    desk.references = [desk.attester.reference(**fields)]
    assert desk.codes() == ["NO_REFERENCE_VALUES"]


def test_those_of_the_group_are_not_enough_for_what_is_per_host(desk):
    desk.references = [desk.attester.reference(hosts=frozenset(), groups=frozenset({"default"}))]
    found = desk.ask().result.findings
    assert [one.code for one in found] == ["NO_REFERENCE_VALUES"]
    assert "of the host itself for sha256:1" in found[0].detail


def test_those_of_the_group_and_the_hosts_own(desk, attesters):
    """A reference captured on one host of a group serves the others, but for the PCR with serial numbers."""
    twin = attesters("ecc")
    of_group = twin.reference(hosts=frozenset({twin.host_id}), groups=frozenset({"default"}))
    own = _changed(desk, 9)
    assert of_group.pcrs["sha256"][1] != desk.attester.pcrs["sha256"][1]
    desk.references = [of_group, own]
    appraisal = desk.ask()
    assert appraisal.result.verdict is Verdict.TRUSTED
    assert {used.matched for used in appraisal.result.references} == {True}


def test_a_policy_without_registers_of_the_host_needs_none_of_its_own(desk):
    desk.policy = make_policy(banks=(replace(sole_bank_rules(), per_host=()),))
    desk.references = [desk.attester.reference(hosts=frozenset(), groups=frozenset({"default"}))]
    assert desk.codes() == []


def test_a_policy_with_registers_of_the_host_only(desk):
    desk.policy = make_policy(banks=(replace(sole_bank_rules(), shared=()),))
    assert desk.codes() == []
    desk.references = [desk.attester.reference(hosts=frozenset(), groups=frozenset({"default"}))]
    assert desk.codes() == ["NO_REFERENCE_VALUES"]


def test_a_policy_that_compares_nothing_trusts_nobody(desk):
    desk.policy = make_policy(banks=(replace(sole_bank_rules(), shared=(), per_host=()),))
    found = desk.ask().result.findings
    assert [one.code for one in found] == ["NO_REFERENCE_VALUES"]
    assert found[0].detail == "the policy compares no register"


def test_a_policy_without_a_bank_trusts_nobody(desk):
    desk.policy = make_policy(banks=())
    desk.attester.send_log = False
    assert desk.ask().result.verdict is Verdict.UNTRUSTED


def test_registers_of_two_references_are_never_mixed(desk):
    """Each register is good in one of the two, but no approved state has both."""
    desk.references = [_changed(desk, 8), _changed(desk, 9)]
    codes = desk.codes()
    assert codes == ["PCR_CHANGED"]


def test_two_states_of_the_host_itself_are_never_mixed(desk):
    """What is shared is of one of its boots, what is per host of another: nobody has approved that."""
    january, june = _changed(desk, 1, label="January"), _changed(desk, 4, label="June", created_at=2.0)
    january.pcrs["sha256"][8] = june.pcrs["sha256"][0] = bytes(31) + b"\1"
    desk.policy = make_policy(banks=(replace(sole_bank_rules(), shared=(0, 4), per_host=(1, 8)),))
    desk.references = [january, june]
    result = desk.ask().result
    assert [(one.code, one.where) for one in result.findings] == [
        ("PCR_CHANGED", "sha256:0"),
        ("PCR_CHANGED", "sha256:4"),
    ]
    assert "not mixed" in result.findings[0].detail
    assert not any(used.matched for used in result.references)


def test_values_of_another_host_serve_with_the_hosts_own(desk, attesters):
    """They were assigned to the host itself, not to its group: it has not shown them."""
    twin = attesters("ecc")
    others = twin.reference(hosts=frozenset({twin.host_id, desk.attester.host_id}))
    desk.references = [others, _changed(desk, 9)]
    assert desk.ask().result.verdict is Verdict.TRUSTED


def test_of_several_that_fit_a_whole_one_counts(desk):
    """A newer one that fits what is shared does not hide that an older one fits all."""
    newer = _changed(desk, 1, label="newer", created_at=2e9)
    desk.references = [desk.attester.reference(label="whole"), newer]
    result = desk.ask().result
    assert [(one.label, one.matched) for one in result.references] == [("newer", False), ("whole", True)]


def test_each_reference_that_fits_is_told_as_such(desk):
    """Two captures of one state: neither differs."""
    desk.references = [desk.attester.reference(label="first"), desk.attester.reference(label="second")]
    assert [one.matched for one in desk.ask().result.references] == [True, True]


def test_one_alternative_that_fits_is_enough(desk):
    good = desk.attester.reference(label="before the update", created_at=1.0)
    of_group = {"hosts": frozenset(), "groups": frozenset({"default"})}
    desk.references = [_changed(desk, 8, label="after it", **of_group), good]
    result = desk.ask().result
    assert result.verdict is Verdict.TRUSTED
    assert [(used.label, used.matched) for used in result.references] == [
        ("after it", False),
        ("before the update", True),
    ]


def test_what_changed_is_told_against_the_nearest(desk):
    desk.attester.reboot(boot=(*BOOT[:-3], (9, 13, b"/boot/initrd, another"), *BOOT[-2:]))
    far = _changed(desk, 8, label="far")
    far.pcrs["sha256"][9] = bytes(31) + b"\1"
    near = _changed(desk, 9, label="near", created_at=1.0)
    desk.references = [far, near]
    found = desk.ask().result.findings
    assert [(one.code, one.where) for one in found] == [("PCR_CHANGED", "sha256:9")]
    assert found[0].expected == near.pcrs["sha256"][9].hex()
    assert found[0].actual == desk.attester.pcrs["sha256"][9].hex()
    assert found[0].component == "Xen, dom0 kernel or initrd"
    assert found[0].detail == "compared with near, the nearest of 2 alternatives"


def test_of_two_as_near_the_newest(desk):
    desk.references = [
        _changed(desk, 9, label="old", created_at=1.0),
        _changed(desk, 8, label="new", created_at=2.0),
    ]
    found = desk.ask().result.findings
    assert [one.where for one in found] == ["sha256:8"]


def test_both_kinds_of_registers_are_told(desk):
    own = _changed(desk, 1)
    own.pcrs["sha256"][4] = bytes(32)
    desk.references = [own]
    assert [(one.code, one.where) for one in desk.ask().result.findings] == [
        ("PCR_CHANGED", "sha256:4"),
        ("PCR_CHANGED", "sha256:1"),
    ]


@pytest.mark.parametrize("lost", ["bank", "register", "length"])
def test_a_reference_that_lacks_what_is_compared_fits_nothing(desk, lost):
    reference = desk.attester.reference()
    if lost == "bank":
        reference = replace(reference, pcrs={"sha384": {pcr: bytes(48) for pcr in range(24)}})
    elif lost == "register":
        del reference.pcrs["sha256"][9]
    else:
        reference.pcrs["sha256"][9] = reference.pcrs["sha256"][9][:20]
    desk.references = [reference]
    codes = desk.codes()
    assert set(codes) == {"PCR_CHANGED"}
    assert len(codes) == (7 if lost == "bank" else 1)


def test_every_bank_of_the_policy_has_to_fit(make_desk):
    """A second bank is compared, too: its being right in SHA-256 does not help it."""
    desk = make_desk(SoftwareAttester(banks=("sha256", "sha384")))
    rules = sole_bank_rules()
    desk.policy = make_policy(banks=(rules, replace(rules, bank="sha384")))
    assert desk.codes() == []
    desk.references[0].pcrs["sha384"][0] = bytes(48)
    assert [one.where for one in desk.ask().result.findings] == ["sha384:0"]
