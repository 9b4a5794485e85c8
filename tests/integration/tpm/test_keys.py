"""The attestation key: made once, the same again after a loss, another after a rotation."""

import os
import struct

import pytest

from support.dom0 import NONCE, PASSWORD
from support.in_process import Answer, CutAfter, CutBefore, call, commands_of, proxied, refusal
from support.tpm2_tools import OWNER, flush, tpm2
from xentpm_lib.errors import TpmError
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Attest, qualified_name
from xentpm_lib.host import functions
from xentpm_lib.simulator.tpm_wire import without_authorisation

FIRST_HANDLE = 0x81010002
NULL, ALG_NULL, ALG_SHA256, CC_START_AUTH_SESSION = 0x40000007, 0x0010, 0x000B, 0x00000176


def _ak(dom0):
    return Identity.from_xml(call(dom0, functions.get_identity)).ak


def _rotate(dom0):
    with dom0.host().tpm("rotate_ak") as tpm:
        return tpm.keys.rotate()


def _evict(dom0, handle):
    tpm2(dom0, "evictcontrol", "-C", "o", "-P", OWNER, "-c", hex(handle))


def _put(dom0, handle, *key, **hierarchy):
    """Have other software put a primary of the owner hierarchy at ``handle``."""
    where = hierarchy.get("hierarchy", "o")
    auth = ("-P", OWNER) if where == "o" else ()
    tpm2(dom0, "createprimary", "-C", where, "-c", "other.ctx", *(auth + key))
    tpm2(dom0, "evictcontrol", "-C", "o", "-P", OWNER, "-c", "other.ctx", hex(handle))
    flush(dom0)


def _handles(dom0):
    """Those of our range; swtpm's tools keep a P-384 key at 0x81010016."""
    handles = tpm2(dom0, "getcap", "handles-persistent").split()[1::2]
    return [handle for handle in handles if int(handle, 16) < 0x81010010]


@pytest.mark.parametrize(
    "algorithm, kind, scheme, detail",
    [("ecc", "ecc", "ecdsa", "nist_p256"), ("rsa", "rsa", "rsassa", 2048), ("RSA", "rsa", "rsassa", 2048)],
)
def test_algorithms(new_dom0, algorithm, kind, scheme, detail):
    new_dom0.configure(ak_algorithm=algorithm)
    ak = _ak(new_dom0)
    assert (ak.type, ak.name_alg) == (kind, "sha256")
    assert (ak.scheme.name, ak.scheme.hash) == (scheme, "sha256")
    assert detail == (ak.curve if kind == "ecc" else ak.key_bits)


@pytest.mark.parametrize("algorithm", ["ecc", "rsa"])
def test_attributes(dom0, algorithm):
    """A key that can never sign a forged attest, and that needs no password and knows no lockout."""
    dom0.configure(ak_algorithm=algorithm)
    ak = _ak(dom0)
    assert ak.attestation_key_faults() == ()
    never = ts.DECRYPT | ts.ADMIN_WITH_POLICY
    always = ts.FIXED_TPM | ts.FIXED_PARENT | ts.SENSITIVE_DATA_ORIGIN | ts.RESTRICTED | ts.SIGN
    assert ak.attributes & always == always
    assert not ak.attributes & never
    assert ak.attributes & ts.NO_DA
    assert ak.auth_policy == b""


def test_it_is_a_primary_of_the_endorsement_hierarchy(dom0):
    evidence = QuoteEvidence.from_json(call(dom0, functions.get_quote, nonce=NONCE))
    signer = Attest.from_bytes(evidence.attest).qualified_signer
    assert signer == qualified_name(0x4000000B, evidence.untrusted_ak_name)
    assert signer != qualified_name(0x40000001, evidence.untrusted_ak_name)


def test_both_algorithms_live_side_by_side(dom0):
    ecc = _ak(dom0)
    dom0.configure(ak_algorithm="rsa")
    rsa = _ak(dom0)
    assert _ak(dom0) == rsa
    dom0.configure(ak_algorithm=None)
    assert _ak(dom0) == ecc
    assert _handles(dom0) == ["0x81010001", "0x81010002", "0x81010003"]


@pytest.mark.parametrize("algorithm", ["ecc", "rsa"])
def test_a_lost_handle_gives_the_same_key_again(dom0, algorithm):
    dom0.configure(ak_algorithm=algorithm)
    before = _ak(dom0)
    _evict(dom0, FIRST_HANDLE if algorithm == "ecc" else FIRST_HANDLE + 1)
    assert _ak(dom0) == before


@pytest.mark.parametrize("algorithm", ["ecc", "rsa"])
def test_rotation_gives_another_key_for_good(dom0, algorithm):
    dom0.configure(ak_algorithm=algorithm)
    first = _ak(dom0)
    second = _rotate(dom0).public
    assert second.to_tpm2b() != first.to_tpm2b()
    assert _ak(dom0) == second
    dom0.tpm.power_cycle()
    assert _ak(dom0) == second
    _evict(dom0, FIRST_HANDLE if algorithm == "ecc" else FIRST_HANDLE + 1)
    assert _ak(dom0) == second
    third = _rotate(dom0).public
    assert third not in (first, second)


def test_rotation_leaves_one_key(dom0):
    before = _handles(dom0)
    _rotate(dom0)
    _rotate(dom0)
    assert _handles(dom0) == before


def test_rotation_without_a_key_yet(new_dom0):
    assert _rotate(new_dom0).public == _ak(new_dom0)


@pytest.mark.parametrize("cut", [CutBefore, CutAfter])
@pytest.mark.parametrize("number", range(10))
def test_rotation_cut_short_ends_with_one_new_key(dom0, cut, number):
    before, handles = _ak(dom0), _handles(dom0)
    with proxied(dom0, cut(number)):
        try:
            _rotate(dom0)
        except TpmError as error:
            assert error.code == "XENTPM_TPM_UNREACHABLE"
    after = _ak(dom0)
    assert _ak(dom0) == after
    assert _handles(dom0) == handles
    if number > 3:
        assert after != before


@pytest.mark.parametrize("cut", [CutBefore, CutAfter])
@pytest.mark.parametrize("number", range(12))
def test_first_use_cut_short(new_dom0, cut, number):
    with proxied(new_dom0, cut(number)):
        try:
            call(new_dom0, functions.get_quote, nonce=NONCE)
        except TpmError as error:
            assert error.code == "XENTPM_TPM_UNREACHABLE"
    call(new_dom0, functions.get_quote, nonce=NONCE)
    assert _handles(new_dom0) == ["0x81010001", "0x81010002"]


# Other software's keys in the way


def test_a_foreign_key_at_the_first_handle(new_dom0):
    call(new_dom0, functions.set_asset_tag, tag="a5" * 20)  # takes ownership
    _put(new_dom0, FIRST_HANDLE, "-G", "rsa2048")
    ak = _ak(new_dom0)
    assert ak.attestation_key_faults() == ()
    assert _handles(new_dom0) == ["0x81010001", "0x81010002", "0x81010003"]
    assert _ak(new_dom0) == ak


@pytest.mark.parametrize("key", ["hmac", "aes128cfb", "keyedhash"])
def test_a_foreign_key_of_a_kind_that_is_none_of_ours(dom0, key):
    before = _ak(dom0)
    _evict(dom0, FIRST_HANDLE)
    _put(dom0, FIRST_HANDLE, "-G", "hmac" if key == "keyedhash" else key, "-a", _attributes(key))
    assert _ak(dom0) == before
    assert "0x81010003" in _handles(dom0)


def _attributes(key):
    use = {"hmac": "sign", "aes128cfb": "decrypt|sign", "keyedhash": "sign"}[key]
    return "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|" + use


def test_a_look_alike_of_another_hierarchy_is_never_used(dom0):
    """A key made by our template in the owner hierarchy: its quotes would have no true counters."""
    _evict(dom0, FIRST_HANDLE)
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign"
    _put(dom0, FIRST_HANDLE, "-G", "ecc256:ecdsa-sha256:null", "-a", attributes)
    error = refusal(dom0, functions.get_quote, nonce=NONCE)
    assert error.code == "XENTPM_FOREIGN_KEY"
    assert "tpm2_evictcontrol" in error.hint
    assert refusal(dom0, functions.get_identity).code == "XENTPM_FOREIGN_KEY"
    _evict(dom0, FIRST_HANDLE)
    call(dom0, functions.get_quote, nonce=NONCE)


def test_a_rotation_beside_a_foreign_key(new_dom0):
    call(new_dom0, functions.set_asset_tag, tag="a5" * 20)  # takes ownership
    _put(new_dom0, FIRST_HANDLE, "-G", "rsa2048")
    assert _rotate(new_dom0).public == _ak(new_dom0)
    assert _handles(new_dom0) == ["0x81010001", "0x81010002", "0x81010003"]


def test_a_rotation_that_is_refused_changes_nothing(dom0):
    """The endorsement hierarchy got a password: quotes go on, before and after the refusal."""
    before = _ak(dom0)
    tpm2(dom0, "changeauth", "-c", "endorsement", "secret")
    with pytest.raises(TpmError) as caught:
        _rotate(dom0)
    assert caught.value.code == "XENTPM_AUTH_FAILED"
    assert _ak(dom0) == before
    tpm2(dom0, "changeauth", "-c", "endorsement", "-p", "secret")
    assert _ak(dom0) == before


def test_a_rotation_whose_eviction_is_refused_is_dropped(dom0):
    before = _ak(dom0)
    with proxied(dom0, Answer("EvictControl", 0x149)), pytest.raises(TpmError):
        _rotate(dom0)
    assert _ak(dom0) == before


@pytest.mark.parametrize("damaged", ["", "00", "00" * 40])
def test_a_damaged_intention_is_refused(dom0, damaged):
    os.makedirs(dom0.paths.state)
    dom0.write("var/lib/xentpm/ak_rotation.pending", damaged)
    assert refusal(dom0, functions.get_quote, nonce=NONCE).code == "XENTPM_IO"


def test_all_handles_in_use(new_dom0):
    call(new_dom0, functions.set_asset_tag, tag="a5" * 20)
    for handle in range(FIRST_HANDLE, 0x81010008):
        _put(new_dom0, handle, "-G", "ecc256", hierarchy="e")
    error = refusal(new_dom0, functions.get_quote, nonce=NONCE)
    assert error.code == "XENTPM_NV_SPACE"
    assert "0x81010002 to 0x81010007" in error.message
    assert "tpm2_evictcontrol" in error.hint
    _evict(new_dom0, 0x81010005)
    call(new_dom0, functions.get_quote, nonce=NONCE)


# What it costs, and what is left behind


@pytest.mark.parametrize(
    "function, arguments, most",
    [
        (functions.get_quote, {"nonce": NONCE}, 6),
        (functions.get_identity, {}, 8),
    ],
)
def test_commands_with_keys_in_place(dom0, function, arguments, most):
    names = commands_of(dom0, function, **arguments)
    assert len(names) <= most, names
    assert "StartAuthSession" not in names


def test_commands_with_a_tag(dom0):
    call(dom0, functions.set_asset_tag, tag="a5" * 20)
    assert len(commands_of(dom0, functions.get_quote, nonce=NONCE)) <= 8


def test_nothing_is_left_in_the_tpm(new_dom0):
    call(new_dom0, functions.get_identity)
    for kind in ("handles-transient", "handles-loaded-session", "handles-saved-session"):
        assert tpm2(new_dom0, "getcap", kind).strip() == ""


@pytest.mark.parametrize("kind", [0, 1], ids=["hmac", "policy"])
def test_what_a_killed_process_left_is_flushed(dom0, kind):
    tpm2(dom0, "createprimary", "-C", "e", "-c", "left.ctx")
    parameters = struct.pack(">IIH16sHBHH", NULL, NULL, 16, bytes(16), 0, kind, ALG_NULL, ALG_SHA256)
    dom0.tpm.run("StartAuthSession", without_authorisation(CC_START_AUTH_SESSION, parameters))
    assert tpm2(dom0, "getcap", "handles-transient").strip()
    assert tpm2(dom0, "getcap", "handles-loaded-session").strip()
    with open(dom0.paths.lock, "w") as file:
        file.write("tpm_get_quote 4711")
    call(dom0, functions.get_quote, nonce=NONCE)
    for handles in ("handles-transient", "handles-loaded-session"):
        assert tpm2(dom0, "getcap", handles).strip() == "", handles


def test_other_softwares_objects_are_left_alone_otherwise(dom0):
    tpm2(dom0, "createprimary", "-C", "e", "-c", "theirs.ctx")
    call(dom0, functions.get_quote, nonce=NONCE)
    assert tpm2(dom0, "getcap", "handles-transient").strip()


def test_the_password_is_in_no_record(dom0):
    host = dom0.host()
    with host.tpm("look") as tpm:
        shown = repr(host) + repr(tpm.keys.attestation_key())
    assert PASSWORD not in shown
    assert repr(bytes.fromhex(PASSWORD)) not in shown
