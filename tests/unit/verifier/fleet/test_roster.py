"""The roster: which hosts an entry of the ledger concerns, and how."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from support.evidence_maker import SoftwareAttester
from xentpm_lib.verifier import ledger_bodies as bodies
from xentpm_lib.verifier.fleet.roster import Effects, Roster
from xentpm_lib.verifier.fleet.states import States
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.registry import Registry
from xentpm_lib.verifier.result import State

ONE, TWO = SoftwareAttester(name="one"), SoftwareAttester(name="two")
POOL = PoolRecord(ONE.pool_id, "pool", ("https://a",), TlsTrust(pins=("ab" * 32,)))


class Ledger:
    """Entries that follow each other, and the roster that takes them in."""

    def __init__(self):
        self.states = States()
        self.roster = Roster(Registry(), self.states)
        self.number = 0

    def apply(self, *items):
        entries = []
        for item in items:
            self.number += 1
            entries.append(
                SimpleNamespace(seq=self.number, kind=item.kind, subject=item.subject, body=item.body)
            )
        return self.roster.apply(entries)


@pytest.fixture
def ledger():
    made = Ledger()
    made.apply(
        bodies.pool_added(POOL),
        bodies.policy_assigned("default", shipped("firmware").text),
        bodies.host_enrolled(ONE.record()),
        bodies.host_enrolled(TWO.record(group="rack7")),
    )
    return made


def test_a_host_with_a_policy_is_a_subject(ledger):
    reference = ONE.reference()
    ledger.apply(bodies.reference_added(reference))
    subject = ledger.roster.subject(ONE.host_id)
    assert subject.host.ak == ONE.ak and subject.previous is None
    assert [one.reference_id for one in subject.references] == [reference.reference_id]
    assert subject.policy == ledger.roster.policy(ONE.host_id)
    assert ledger.roster.outline(ONE.host_id).pool_name == "pool"


def test_a_host_without_a_policy_is_none_but_is_told_of(ledger):
    assert ledger.roster.subject(TWO.host_id) is None
    assert ledger.roster.outline(TWO.host_id).host_name == "two"
    assert ledger.roster.subject("nobody") is None and ledger.roster.outline("nobody") is None
    assert ledger.roster.pool("nowhere") is None


def test_enrolment_and_removal(ledger):
    assert ledger.apply(bodies.host_enrolled(ONE.record())).begun == {ONE.host_id}
    assert ledger.apply(bodies.host_removed(ONE.host_id)) == Effects(gone={ONE.host_id})
    assert ledger.states.current(ONE.host_id) is None
    effects = ledger.apply(bodies.host_removed(TWO.host_id), bodies.host_enrolled(TWO.record()))
    assert effects == Effects(begun={TWO.host_id})
    effects = ledger.apply(bodies.host_enrolled(ONE.record()), bodies.host_removed(ONE.host_id))
    assert effects == Effects(gone={ONE.host_id})


def test_a_policy_concerns_its_group_only(ledger):
    effects = ledger.apply(bodies.policy_assigned("rack7", shipped("firmware").text))
    assert effects == Effects(judged_anew={TWO.host_id})
    assert ledger.roster.subject(TWO.host_id) is not None
    assert ledger.apply(bodies.host_group(ONE.host_id, "rack7")).judged_anew == {ONE.host_id}
    assert ledger.apply(bodies.asset_tag_expected(ONE.host_id, bytes(20))).judged_anew == {ONE.host_id}


def test_reference_values_concern_whom_they_are_for_before_and_after(ledger):
    reference = replace(ONE.reference(), groups=frozenset({"rack7"}))
    number = reference.reference_id
    both = {ONE.host_id, TWO.host_id}
    assert ledger.apply(bodies.reference_added(reference)).judged_anew == both
    assert ledger.apply(bodies.reference_unassigned(number, groups=["rack7"])).judged_anew == {TWO.host_id}
    assert ledger.apply(bodies.reference_assigned(number, [TWO.host_id])).judged_anew == {TWO.host_id}
    assert ledger.apply(bodies.reference_retired(number, 1.0)).judged_anew == both
    assert ledger.apply(bodies.reference_retired("unknown", 1.0)).judged_anew == set()


def test_pools_and_changes_of_state(ledger):
    assert ledger.apply(bodies.pool_changed(replace(POOL, name="other"))).pools == {POOL.pool_id}
    change = bodies.StateChange(ONE.host_id, None, State.TRUSTED, 5.0)
    assert ledger.apply(bodies.state_changed(change), bodies.note("store", "text")) == Effects()
