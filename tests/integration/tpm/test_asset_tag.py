"""The asset tag's NV index: sizes, changes cut short, a full TPM, and indexes of others in its place."""

import json

import pytest

from support.dom0 import NONCE
from support.in_process import Answer, CutAfter, CutBefore, call, commands_of, proxied, refusal
from support.tpm2_tools import OWNER, Tpm2Failed, tpm2
from xentpm_lib.errors import TpmError
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Attest, NvPublic
from xentpm_lib.host import functions

INDEX, RC_NV_SPACE = "0x1c10110", 0x14B
TAG_20, TAG_32, TAG_48 = "a1" * 20, "b2" * 32, "c3" * 48
OTHER_20 = "d4" * 20
PLATFORM = "ppwrite|ppread|ownerread|authread|no_da|platformcreate"
OURS = "ownerwrite|ownerread|authread|no_da"


def _set(dom0, tag):
    return json.loads(call(dom0, functions.set_asset_tag, tag=tag))["asset_tag"]


def _get(dom0):
    return json.loads(call(dom0, functions.get_asset_tag))["asset_tag"]


def _proven(dom0):
    """The tag as a quote proves it, None where it proves none."""
    tag = QuoteEvidence.from_json(call(dom0, functions.get_quote, nonce=NONCE)).asset_tag
    return None if tag is None else Attest.from_bytes(tag.attest).nv.contents.hex()


def _define(dom0, size, attributes, data=None, hierarchy="o", auth=()):
    """Have other software make an index where the tag's is."""
    where = ("-C", hierarchy) + (("-P", OWNER) if hierarchy == "o" else ())
    tpm2(dom0, "nvdefine", INDEX, "-s", str(size), "-a", attributes, *(where + tuple(auth)))
    if data is not None:
        path = dom0.paths.at("nv.bin")
        with open(path, "wb") as file:
            file.write(data)
        tpm2(dom0, "nvwrite", INDEX, "-i", path, *where)


@pytest.mark.parametrize("tag", [TAG_20, TAG_32, TAG_48])
def test_set_proven_and_cleared(dom0, tag):
    assert _get(dom0) is None
    assert _set(dom0, tag) == tag
    assert _get(dom0) == _proven(dom0) == tag
    dom0.tpm.power_cycle()
    assert _proven(dom0) == tag
    assert json.loads(call(dom0, functions.clear_asset_tag))["asset_tag"] is None
    assert _get(dom0) is None
    assert _proven(dom0) is None
    call(dom0, functions.clear_asset_tag)


@pytest.mark.parametrize("first", [TAG_20, TAG_32, TAG_48])
@pytest.mark.parametrize("second", [OTHER_20, TAG_32, TAG_48])
def test_changed(dom0, first, second):
    _set(dom0, first)
    _set(dom0, second)
    assert _get(dom0) == _proven(dom0) == second


def test_the_index_is_what_the_design_says(dom0):
    _set(dom0, TAG_20)
    tag = QuoteEvidence.from_json(call(dom0, functions.get_quote, nonce=NONCE)).asset_tag
    public = NvPublic.from_tpm2b(tag.untrusted_nv_public)
    assert (public.index, public.name_alg, public.data_size) == (0x01C10110, "sha256", 20)
    expected = ts.NV_OWNERWRITE | ts.NV_OWNERREAD | ts.NV_AUTHREAD | ts.NV_NO_DA | ts.NV_WRITTEN
    assert public.attributes == expected
    assert Attest.from_bytes(tag.attest).nv.index_name == public.name()


def test_anyone_reads_it_only_the_owner_writes_it(dom0):
    _set(dom0, TAG_20)
    tpm2(dom0, "nvread", INDEX, "-C", INDEX)
    with open(dom0.paths.at("nv.bin"), "wb") as file:
        file.write(b"x" * 20)
    for where in (("-C", INDEX), ("-C", "o"), ("-C", "o", "-P", "wrong")):
        with pytest.raises(Tpm2Failed):
            tpm2(dom0, "nvwrite", INDEX, "-i", dom0.paths.at("nv.bin"), *where)
    assert _get(dom0) == TAG_20


def test_a_tag_of_the_same_size_needs_no_new_index(dom0):
    _set(dom0, TAG_20)
    names = commands_of(dom0, functions.set_asset_tag, tag=OTHER_20)
    assert "NV_DefineSpace" not in names and "NV_UndefineSpace" not in names
    assert "NV_DefineSpace" in commands_of(dom0, functions.set_asset_tag, tag=TAG_32)


# Cut short


@pytest.mark.parametrize("cut", [CutBefore, CutAfter])
@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("old, new", [(None, TAG_20), (TAG_20, OTHER_20), (TAG_20, TAG_48)])
def test_set_cut_short_is_the_old_or_the_new(dom0, cut, number, old, new):
    if old is not None:
        _set(dom0, old)
    with proxied(dom0, cut(number)):
        try:
            call(dom0, functions.set_asset_tag, tag=new)
        except TpmError as error:
            assert error.code == "XENTPM_TPM_UNREACHABLE"
    proven = _proven(dom0)
    assert proven in (old, new)
    assert _get(dom0) == proven
    assert _set(dom0, TAG_32) == TAG_32


@pytest.mark.parametrize("cut", [CutBefore, CutAfter])
@pytest.mark.parametrize("number", range(4))
def test_clear_cut_short_is_the_old_or_nothing(dom0, cut, number):
    _set(dom0, TAG_20)
    with proxied(dom0, cut(number)):
        try:
            call(dom0, functions.clear_asset_tag)
        except TpmError as error:
            assert error.code == "XENTPM_TPM_UNREACHABLE"
    assert _proven(dom0) in (TAG_20, None)
    call(dom0, functions.clear_asset_tag)
    assert _proven(dom0) is None


def test_a_damaged_journal_is_told(dom0):
    _set(dom0, TAG_20)
    with open(dom0.paths.at("var/lib/xentpm/asset_tag.pending"), "w") as file:
        file.write("junk")
    assert refusal(dom0, functions.set_asset_tag, tag=TAG_32).code == "XENTPM_IO"


# A full TPM


def _fill(dom0):
    """Define indexes until the TPM has no room for another tag; returns the last one's."""
    for index in range(0x1500100, 0x1500200):
        for size in (2048, 512, 64, 32, 1):
            try:
                tpm2(dom0, "nvdefine", hex(index), "-C", "o", "-P", OWNER, "-s", str(size), "-a", OURS)
                break
            except Tpm2Failed:
                continue
        else:
            return hex(index - 1)
    raise AssertionError("the TPM cannot be filled")


def test_a_full_tpm(dom0):
    last = _fill(dom0)
    error = refusal(dom0, functions.set_asset_tag, tag=TAG_48)
    assert error.code == "XENTPM_NV_SPACE"
    assert "tpm2_nvreadpublic" in error.hint
    assert _get(dom0) is None
    assert _proven(dom0) is None
    for index in range(int(last, 16) - 4, int(last, 16) + 1):
        tpm2(dom0, "nvundefine", hex(index), "-C", "o", "-P", OWNER)
    assert _set(dom0, TAG_48) == TAG_48


@pytest.mark.parametrize("refused", ["NV_DefineSpace", "NV_Write"])
def test_a_refusal_on_the_way_keeps_the_earlier_tag(dom0, refused):
    _set(dom0, TAG_20)
    with proxied(dom0, Answer(refused, RC_NV_SPACE, 1)):
        assert refusal(dom0, functions.set_asset_tag, tag=TAG_48).code == "XENTPM_NV_SPACE"
    assert _get(dom0) == _proven(dom0) == TAG_20
    assert _set(dom0, OTHER_20) == OTHER_20


@pytest.mark.parametrize("refused", ["NV_DefineSpace", "NV_Write"])
def test_a_refusal_of_the_first_tag_leaves_nothing(dom0, refused):
    with proxied(dom0, Answer(refused, RC_NV_SPACE, 1)):
        assert refusal(dom0, functions.set_asset_tag, tag=TAG_48).code == "XENTPM_NV_SPACE"
    assert "0x1C10110" not in tpm2(dom0, "getcap", "handles-nv-index")
    assert _proven(dom0) is None


# Indexes of others


def test_other_attributes_are_replaced(dom0):
    _define(dom0, 20, OURS + "|authwrite", b"x" * 20)
    _set(dom0, TAG_20)
    assert _proven(dom0) == TAG_20
    assert "authwrite" not in tpm2(dom0, "nvreadpublic", INDEX)


def test_an_index_that_was_never_written(dom0):
    _define(dom0, 20, OURS)
    assert _proven(dom0) is None
    assert _get(dom0) is None
    call(dom0, functions.clear_asset_tag)
    _define(dom0, 20, OURS)
    assert _set(dom0, TAG_20) == _proven(dom0) == TAG_20


@pytest.mark.parametrize("data", [b"y" * 20, None], ids=["written", "unwritten"])
@pytest.mark.parametrize("tag", [TAG_20, TAG_48])
def test_an_index_of_the_platform(dom0, data, tag):
    """It can be neither written nor removed; after the refusal all is as before."""
    _define(dom0, 20, PLATFORM, data, hierarchy="p")
    for _ in range(2):
        assert refusal(dom0, functions.set_asset_tag, tag=tag).code == "XENTPM_NV_FOREIGN"
        assert refusal(dom0, functions.get_quote, nonce=NONCE).code == "XENTPM_NV_FOREIGN"
        assert refusal(dom0, functions.get_asset_tag).code == "XENTPM_NV_FOREIGN"
    assert refusal(dom0, functions.clear_asset_tag).code == "XENTPM_NV_FOREIGN"
    tpm2(dom0, "nvundefine", INDEX, "-C", "p")
    assert _set(dom0, tag) == _proven(dom0) == tag


@pytest.mark.parametrize("how", ["set", "clear"])
def test_an_index_with_a_password(dom0, how):
    """It cannot be read by us, but it is the owner's to remove."""
    _define(dom0, 20, OURS, b"x" * 20, auth=("-p", "theirs"))
    assert refusal(dom0, functions.get_quote, nonce=NONCE).code == "XENTPM_NV_FOREIGN"
    assert refusal(dom0, functions.get_asset_tag).code == "XENTPM_NV_FOREIGN"
    if how == "clear":
        call(dom0, functions.clear_asset_tag)
    assert _set(dom0, TAG_20) == _proven(dom0) == TAG_20


@pytest.mark.parametrize("size", [8, 1536])
def test_an_index_of_another_size(dom0, size):
    """It is no tag, whatever it is; a tag replaces it."""
    _define(dom0, size, OURS, b"x" * size)
    assert refusal(dom0, functions.get_quote, nonce=NONCE).code == "XENTPM_NV_FOREIGN"
    assert refusal(dom0, functions.get_asset_tag).code == "XENTPM_NV_FOREIGN"
    assert _set(dom0, TAG_20) == _proven(dom0) == TAG_20


def test_an_index_that_anybody_can_write(dom0):
    """Made with the owner's password by somebody who wants to change the tag without it later on."""
    _define(dom0, 20, OURS + "|authwrite", b"x" * 20)
    error = refusal(dom0, functions.get_quote, nonce=NONCE)
    assert error.code == "XENTPM_NV_FOREIGN"
    assert "tpm_clear_asset_tag" in error.hint
    assert _set(dom0, TAG_20) == _proven(dom0) == TAG_20
