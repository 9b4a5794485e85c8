"""What was found out about a host, when others have enrolled, moved or forgotten hosts meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.enrolment.enrol import NewHost, Rules, still_good
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.records import HostRecord

HOST = SoftwareAttester().record(serial=7)
OTHER_TPM = replace(SoftwareAttester().record(), host_id=HOST.host_id, serial=9)
ELSEWHERE = replace(HOST, host_id="00000000-0000-4000-8000-000000000000", name="other")
ANOTHER_POOL = "00000000-0000-4000-8000-00000000000a"


def checked(one: NewHost, *known: HostRecord, again: bool = False) -> NewHost:
    return still_good(one, Rules(EkAnchors(), make_policy(), replace=again, known=known))


def refused(one: NewHost, *known: HostRecord, again: bool = False) -> str:
    with pytest.raises(EnrolmentError) as caught:
        checked(one, *known, again=again)
    assert caught.value.hint
    return caught.value.code


def test_nothing_happened() -> None:
    new, anew = NewHost(HOST, "why"), NewHost(OTHER_TPM, "why", replaced=HOST, judged_with=HOST)
    assert checked(new) is new and checked(anew, HOST, again=True) is anew


def test_another_host_has_the_keys_now() -> None:
    assert refused(NewHost(HOST, "why"), ELSEWHERE) == "XENTPM_KEY_IN_USE"
    assert refused(NewHost(HOST, "why"), replace(OTHER_TPM, host_id="x", ak=HOST.ak)) == "XENTPM_KEY_IN_USE"


def test_the_host_is_enrolled_by_somebody_else() -> None:
    """With the same keys: there is nothing to do. With others: they are not replaced unseen."""
    same = checked(NewHost(HOST, "why"), replace(HOST, serial=12))
    assert same.unchanged and same.record.serial == 12
    assert refused(NewHost(HOST, "why"), OTHER_TPM) == "XENTPM_HOST_CHANGED"
    assert refused(NewHost(HOST, "why"), OTHER_TPM, again=True) == "XENTPM_HOST_CHANGED"
    assert refused(NewHost(HOST, "why"), replace(HOST, pool_id=ANOTHER_POOL)) == "XENTPM_HOST_CHANGED"
    mine = NewHost(OTHER_TPM, "why", replaced=HOST, judged_with=HOST)
    assert refused(mine, replace(HOST, serial=12), again=True) == "XENTPM_HOST_CHANGED"


def test_the_host_is_forgotten_or_moved() -> None:
    for one in (
        NewHost(HOST, "why", unchanged=True, judged_with=HOST),
        NewHost(HOST, "why", updated=True, replaced=HOST, judged_with=HOST),
        NewHost(OTHER_TPM, "why", replaced=HOST, judged_with=HOST),
    ):
        assert refused(one) == "XENTPM_HOST_CHANGED"
        assert refused(one, replace(HOST, pool_id=ANOTHER_POOL), again=True) == "XENTPM_HOST_CHANGED"


def test_group_and_asset_tag_are_those_of_now() -> None:
    now = replace(HOST, group="rack7", asset_tag=b"t" * 20)
    found = checked(NewHost(OTHER_TPM, "why", replaced=HOST, judged_with=HOST), now, again=True)
    assert (found.record.group, found.record.asset_tag) == ("rack7", b"t" * 20)
    assert found.replaced == now and found.record.ak == OTHER_TPM.ak
