"""A challenge that only this TPM with this attestation key can answer."""

import base64
import os

import pytest

from support.dom0 import REPOSITORY
from support.in_process import call, proxied, refusal
from support.tpm2_tools import OWNER, flush, run_tool, tpm2
from support.tpm_proxy import response
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.host import functions

SECRET = bytes(range(100, 132))


def _identity(dom0):
    return Identity.from_xml(call(dom0, functions.get_identity))


def _by_tools(folder, identity, secret=SECRET, name=None):
    """A challenge made with tpm2_makecredential, which needs no TPM."""
    files = {"ek.pub": identity.ek.to_tpm2b(), "secret": secret}
    for file_name, data in files.items():
        with open(os.path.join(folder, file_name), "wb") as file:
            file.write(data)
    name = (identity.ak.name() if name is None else name).hex()
    command = ["tpm2_makecredential", "-T", "none", "-u", "ek.pub", "-n", name, "-s", "secret", "-o", "out"]
    run_tool(command, folder, dict(os.environ, TSS2_LOG="all+none"))
    with open(os.path.join(folder, "out"), "rb") as file:
        return base64.b64encode(file.read()).decode("ascii")


def _by_pytss(_folder, identity, secret=SECRET, name=None):
    """The same with tpm2-pytss's own implementation."""
    from tpm2_pytss import TPM2B_PUBLIC
    from tpm2_pytss.utils import make_credential

    public, _ = TPM2B_PUBLIC.unmarshal(identity.ek.to_tpm2b())
    blob, seed = make_credential(public, secret, identity.ak.name() if name is None else name)
    data = bytes.fromhex("badcc0de00000001") + blob.marshal() + seed.marshal()
    return base64.b64encode(data).decode("ascii")


def _answer(dom0, challenge):
    return base64.b64decode(call(dom0, functions.answer_challenge, challenge=challenge))


def _p384(dom0):
    tpm2(dom0, "evictcontrol", "-C", "o", "-c", "0x81010001")
    tpm2(dom0, "nvundefine", "0x01c00002", "-C", "p")
    return dom0


def _persist_ek(dom0, template):
    """Have other software make the EK by a template of the high range."""
    from xentpm_lib.tpm.ek_templates import EK_TEMPLATES
    from xentpm_lib.tpm.keys import EK_HANDLE, create_primary, evict, open_key, persist
    from xentpm_lib.tpm.ownership import use_owner_auth

    public = next(one.public for one in EK_TEMPLATES if one.name == template)
    with dom0.host().tpm("test") as tpm:
        use_owner_auth(tpm.esys, tpm.owner_auth)
        old = open_key(tpm.esys, EK_HANDLE)
        if old is not None:
            evict(tpm.esys, old, EK_HANDLE)
        persist(tpm.esys, create_primary(tpm.esys, public), EK_HANDLE)
    return dom0


KINDS = {
    "L-1": lambda new, ecc: new,
    "L-2": lambda new, ecc: ecc,
    "H-1": lambda new, ecc: _persist_ek(new, "H-1"),
    "H-2": lambda new, ecc: _persist_ek(new, "H-2"),
    "H-3": lambda new, ecc: _p384(new),
}


ROUND_TRIPS = [(template, _by_tools) for template in sorted(KINDS)]
# tpm2-pytss 2.3 encrypts wrongly for AES-256, which H-3 has.
ROUND_TRIPS += [(template, _by_pytss) for template in sorted(KINDS) if template != "H-3"]


@pytest.mark.parametrize("template, make", ROUND_TRIPS)
def test_round_trip(new_dom0, ecc_dom0, template, make):
    dom0 = KINDS[template](new_dom0, ecc_dom0)
    identity = _identity(dom0)
    for secret in (SECRET, b"x", bytes(32)):
        assert _answer(dom0, make(dom0.root, identity, secret)) == secret
    for kind in ("handles-transient", "handles-loaded-session"):
        assert tpm2(dom0, "getcap", kind).strip() == ""


@pytest.mark.parametrize("algorithm", ["ecc", "rsa"])
def test_attestation_key_of_either_kind(dom0, algorithm):
    dom0.configure(ak_algorithm=algorithm)
    assert _answer(dom0, _by_tools(dom0.root, _identity(dom0))) == SECRET


def _other(name):
    return name[:-1] + bytes([name[-1] ^ 1])


def test_for_another_attestation_key(dom0):
    identity = _identity(dom0)
    challenge = _by_tools(dom0.root, identity, name=_other(identity.ak.name()))
    error = refusal(dom0, functions.answer_challenge, challenge=challenge)
    assert error.code == "XENTPM_CHALLENGE"


@pytest.mark.parametrize("kind", ["rsa", "ecc"])
def test_for_another_tpm(dom0, ecc_dom0, kind):
    here, there = (dom0, ecc_dom0) if kind == "rsa" else (ecc_dom0, dom0)
    challenge = _by_tools(dom0.root, _identity(there))
    error = refusal(here, functions.answer_challenge, challenge=challenge)
    assert error.code == "XENTPM_CHALLENGE"
    assert "another TPM or attestation key" in error.message
    assert "tpm_get_attestation_identity" in error.hint


def test_for_another_rsa_endorsement_key(dom0):
    """The vector's challenge is for a TPM that is long gone, whose EK was RSA-2048 as well."""
    with open(os.path.join(REPOSITORY, "tests/vectors/swtpm/rsa/credential"), "rb") as file:
        challenge = base64.b64encode(file.read()).decode("ascii")
    assert refusal(dom0, functions.answer_challenge, challenge=challenge).code == "XENTPM_CHALLENGE"
    assert _answer(dom0, _by_tools(dom0.root, _identity(dom0))) == SECRET


def test_for_a_rotated_key(dom0):
    challenge = _by_tools(dom0.root, _identity(dom0))
    with dom0.host().tpm("rotate_ak") as tpm:
        tpm.keys.rotate()
    assert refusal(dom0, functions.answer_challenge, challenge=challenge).code == "XENTPM_CHALLENGE"


@pytest.mark.parametrize("at", [8, 9, 10, 11, 12, 40, 60, -300, -256, -1])
@pytest.mark.parametrize("template", ["L-1", "L-2"])
def test_damaged(new_dom0, ecc_dom0, template, at):
    dom0 = KINDS[template](new_dom0, ecc_dom0)
    data = bytearray(base64.b64decode(_by_tools(dom0.root, _identity(dom0))))
    data[max(at, -len(data))] ^= 0x55
    error = refusal(dom0, functions.answer_challenge, challenge=base64.b64encode(bytes(data)).decode("ascii"))
    assert error.code in ("XENTPM_CHALLENGE", "XENTPM_BAD_ARGUMENT")


@pytest.mark.parametrize("rc, code", [(0x921, "XENTPM_LOCKED_OUT"), (0x101, "XENTPM_TPM_FAILURE")])
def test_a_tpm_that_cannot_answer_now(dom0, rc, code):
    """That is no fault of the challenge: from here on the TPM refuses everything."""
    challenge = _by_tools(dom0.root, _identity(dom0))
    refused = []

    def rule(command):
        refused.extend([command.name] if command.name == "ActivateCredential" else [])
        return response(rc) if refused else None

    with proxied(dom0, rule):
        assert refusal(dom0, functions.answer_challenge, challenge=challenge).code == code
    assert _answer(dom0, challenge) == SECRET


def test_many_challenges_leave_nothing(ecc_dom0):
    challenge = _by_tools(ecc_dom0.root, _identity(ecc_dom0))
    for _ in range(10):
        assert _answer(ecc_dom0, challenge) == SECRET
        with pytest.raises(Exception, match="challenge"):
            call(ecc_dom0, functions.answer_challenge, challenge="AAAA")


def test_a_challenge_makes_the_keys_where_they_are_not(dom0):
    """A verifier may know the identity from before a TPM lost its persistent keys."""
    challenge = _by_tools(dom0.root, _identity(dom0))
    for handle in ("0x81010001", "0x81010002"):
        tpm2(dom0, "evictcontrol", "-C", "o", "-P", OWNER, "-c", handle)
    flush(dom0)
    assert _answer(dom0, challenge) == SECRET
