"""Whose the TPM is: free, ours, somebody else's, locked, disabled."""

import pytest

from support.dom0 import NONCE, PASSWORD
from support.in_process import LOCKOUT, call, lockout_tries, noting, proxied, refusal
from support.tpm2_tools import OWNER, Tpm2Failed, tpm2
from xentpm_lib.errors import TpmError
from xentpm_lib.host import functions
from xentpm_lib.tpm.capabilities import read_properties
from xentpm_lib.tpm.ownership import is_owned, take_ownership

TAG = "a5" * 20
NOT_OURS = "XenServer does not own the TPM. Please clear the TPM in the BIOS"


def _take(dom0):
    with dom0.host().tpm("take") as tpm:
        return take_ownership(tpm.esys, tpm.owner_auth)


def _is_owned(dom0):
    with dom0.host().tpm("is_owned") as tpm:
        return is_owned(tpm.esys, tpm.owner_auth)


def _properties(dom0):
    with dom0.host().tpm("look") as tpm:
        return read_properties(tpm.esys)


def _quote(dom0):
    return call(dom0, functions.get_quote, nonce=NONCE)


def test_a_free_tpm_is_taken_once(new_dom0):
    assert not _is_owned(new_dom0)
    assert _take(new_dom0) == (True, True)
    assert _is_owned(new_dom0)
    assert _take(new_dom0) == (False, False)
    properties = _properties(new_dom0)
    assert properties.owner_auth_set and properties.lockout_auth_set
    assert not properties.endorsement_auth_set


def test_both_passwords_are_the_configured_one(new_dom0):
    _take(new_dom0)
    tpm2(new_dom0, "dictionarylockout", "-c", "-p", OWNER)
    tpm2(new_dom0, "changeauth", "-c", "o", "-p", OWNER)
    tpm2(new_dom0, "changeauth", "-c", "l", "-p", OWNER)


def test_asking_does_not_take(new_dom0):
    assert not _is_owned(new_dom0)
    assert not _properties(new_dom0).owner_auth_set


@pytest.mark.parametrize(
    "function, arguments",
    [
        (functions.set_asset_tag, {"tag": TAG}),
        (functions.get_identity, {}),
        (functions.get_quote, {"nonce": NONCE}),
    ],
)
def test_the_first_call_takes_a_free_tpm(new_dom0, function, arguments):
    call(new_dom0, function, **arguments)
    assert _is_owned(new_dom0)


def test_of_somebody_else(new_dom0):
    tpm2(new_dom0, "changeauth", "-c", "o", "theirs")
    assert not _is_owned(new_dom0)
    for function, arguments in (
        (functions.set_asset_tag, {"tag": TAG}),
        (functions.get_quote, {"nonce": NONCE}),
        (functions.get_identity, {}),
    ):
        error = refusal(new_dom0, function, **arguments)
        assert (error.code, error.message) == ("XENTPM_NOT_OWNED", NOT_OURS)
    with pytest.raises(TpmError) as caught:
        _take(new_dom0)
    assert caught.value.code == "XENTPM_NOT_OWNED"
    tpm2(new_dom0, "changeauth", "-c", "o", "-p", "theirs", "again")  # it is theirs as before


def test_of_somebody_else_costs_no_tries(new_dom0):
    tpm2(new_dom0, "changeauth", "-c", "o", "theirs")
    tpm2(new_dom0, "changeauth", "-c", "l", "theirs")
    seen = []
    with proxied(new_dom0, noting(seen)):
        refusal(new_dom0, functions.set_asset_tag, tag=TAG)
    assert lockout_tries(seen) == 0
    assert _properties(new_dom0).lockout_counter[0] == 0


def test_what_needs_no_owner_works_with_the_keys_of_before(dom0):
    """A TPM whose owner's password was changed behind our back still proves what it is."""
    tpm2(dom0, "changeauth", "-c", "o", "-p", OWNER, "theirs")
    _quote(dom0)
    call(dom0, functions.get_identity)
    assert call(dom0, functions.clear_asset_tag)
    assert refusal(dom0, functions.set_asset_tag, tag=TAG).code == "XENTPM_NOT_OWNED"


def test_a_foreign_lockout_password_of_a_free_tpm_is_left_alone(new_dom0):
    tpm2(new_dom0, "changeauth", "-c", "l", "theirs")
    seen = []
    with proxied(new_dom0, noting(seen)):
        assert _take(new_dom0) == (True, True)
        assert _take(new_dom0) == (False, False)
    assert lockout_tries(seen) == 0
    tpm2(new_dom0, "dictionarylockout", "-c", "-p", "theirs")


def test_lockout_set_by_a_cleared_password_is_mended(dom0):
    """Ours, but without a lockout password: as after a kill in the middle of taking ownership."""
    tpm2(dom0, "changeauth", "-c", "l", "-p", OWNER)
    assert _take(dom0) == (True, False)
    tpm2(dom0, "dictionarylockout", "-c", "-p", OWNER)


def test_an_endorsement_password_is_told(new_dom0):
    tpm2(new_dom0, "changeauth", "-c", "e", "theirs")
    error = refusal(new_dom0, functions.get_quote, nonce=NONCE)
    assert error.code == "XENTPM_AUTH_FAILED"
    assert error.hint
    assert _properties(new_dom0).endorsement_auth_set


@pytest.mark.parametrize("hierarchy", ["o", "e"])
def test_disabled_hierarchies(new_dom0, hierarchy):
    tpm2(new_dom0, "hierarchycontrol", "-C", "p", {"o": "shEnable", "e": "ehEnable"}[hierarchy], "clear")
    for function, arguments in (
        (functions.get_quote, {"nonce": NONCE}),
        (functions.set_asset_tag, {"tag": TAG}),
    ):
        error = refusal(new_dom0, function, **arguments)
        assert error.code == "XENTPM_DISABLED"
        assert "The TPM is deactivated. Please activate the TPM in the BIOS" in error.message
    assert not _properties(new_dom0).owner_auth_set


def _lock_out(dom0):
    """Real wrong passwords until the TPM locks itself."""
    tpm2(dom0, "dictionarylockout", "-s", "-n", "1", "-t", "1000", "-l", "1000", "-p", OWNER)
    attributes = "ownerread|ownerwrite|authread|authwrite"
    tpm2(dom0, "nvdefine", "0x1500020", "-C", "o", "-s", "4", "-a", attributes, "-p", "right", "-P", OWNER)
    with pytest.raises(Tpm2Failed):
        tpm2(dom0, "nvread", "0x1500020", "-C", "0x1500020", "-P", "wrong")
    assert _properties(dom0).in_lockout


def test_a_locked_tpm_still_quotes(dom0):
    """Our keys and our index are outside the dictionary-attack protection."""
    _lock_out(dom0)
    _quote(dom0)
    call(dom0, functions.set_asset_tag, tag=TAG)
    call(dom0, functions.get_identity)
    call(dom0, functions.clear_asset_tag)


def test_the_lockout_password_is_never_tried_twice(new_dom0):
    """An old default TPM whose lockout password is another: one wrong try, then the TPM refuses by itself."""
    new_dom0.configure(password="3beac9388f9b489d50bb01e2ff0fa2aaa9ee1d73")
    _take(new_dom0)
    new_dom0.configure(password=PASSWORD)
    tpm2(new_dom0, "changeauth", "-c", "l", "-p", "hex:3beac9388f9b489d50bb01e2ff0fa2aaa9ee1d73", "theirs")
    seen = []
    with proxied(new_dom0, noting(seen)):
        error = refusal(new_dom0, functions.set_asset_tag, tag=TAG)
    assert error.code in ("XENTPM_AUTH_FAILED", "XENTPM_LOCKED_OUT")
    assert lockout_tries(seen) == 1
    assert [data for name, data in seen if name == "HierarchyChangeAuth"][0][10:14] == LOCKOUT
