"""A TPM that still has the old default password, with the newline, is moved to the configured one."""

import pytest

from support.dom0 import PASSWORD
from support.in_process import CutAfter, CutBefore, lockout_tries, noting, proxied
from support.tpm2_tools import OWNER, tpm2
from xentpm_lib.errors import TpmError
from xentpm_lib.tpm.ownership import OLD_DEFAULT_AUTH, is_owned, take_ownership

OLD = "hex:" + OLD_DEFAULT_AUTH.hex()


def _take(dom0):
    with dom0.host().tpm("take") as tpm:
        return take_ownership(tpm.esys, tpm.owner_auth)


def _is_ours_in_full(dom0):
    with dom0.host().tpm("is_owned") as tpm:
        assert is_owned(tpm.esys, tpm.owner_auth)
    tpm2(dom0, "dictionarylockout", "-c", "-p", OWNER)  # the lockout password too, and it is not locked


@pytest.fixture
def old_dom0(new_dom0):
    """As an old release left it: owner and lockout with the old default."""
    tpm2(new_dom0, "changeauth", "-c", "o", OLD)
    tpm2(new_dom0, "changeauth", "-c", "l", OLD)
    return new_dom0


def _commands(dom0):
    seen = []
    with proxied(dom0, noting(seen)):
        _take(dom0)
    return seen


def test_moved(old_dom0):
    seen = _commands(old_dom0)
    assert lockout_tries(seen) == 2  # old to empty, empty to new: both right
    _is_ours_in_full(old_dom0)
    assert _take(old_dom0) == (False, False)


def test_moved_without_a_lockout_password(new_dom0):
    tpm2(new_dom0, "changeauth", "-c", "o", OLD)
    assert _take(new_dom0) == (True, False)
    _is_ours_in_full(new_dom0)


def test_kept_where_it_is_the_configured_one(old_dom0):
    old_dom0.configure(password=OLD_DEFAULT_AUTH.hex())
    assert _take(old_dom0) == (False, False)
    old_dom0.configure(password=PASSWORD)
    assert _take(old_dom0).changed


@pytest.mark.parametrize("with_lockout", [True, False], ids=["lockout", "no lockout"])
@pytest.mark.parametrize("cut", [CutBefore, CutAfter])
@pytest.mark.parametrize("number", range(8))
def test_cut_short_anywhere_the_next_call_finishes(new_dom0, cut, number, with_lockout):
    tpm2(new_dom0, "changeauth", "-c", "o", OLD)
    if with_lockout:
        tpm2(new_dom0, "changeauth", "-c", "l", OLD)
    with proxied(new_dom0, cut(number)) as proxy:
        try:
            _take(new_dom0)
        except TpmError as error:
            assert error.code == "XENTPM_TPM_UNREACHABLE"
            assert len(proxy.commands) >= number
    seen = []
    with proxied(new_dom0, noting(seen)):
        _take(new_dom0)
    _is_ours_in_full(new_dom0)


@pytest.mark.parametrize("cut", [CutBefore, CutAfter])
@pytest.mark.parametrize("number", range(6))
def test_taking_a_free_tpm_cut_short(new_dom0, cut, number):
    with proxied(new_dom0, cut(number)):
        try:
            _take(new_dom0)
        except TpmError as error:
            assert error.code == "XENTPM_TPM_UNREACHABLE"
    _take(new_dom0)
    _is_ours_in_full(new_dom0)
