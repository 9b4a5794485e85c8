"""Credentials against real TPMs: opened by tpm2-tools, and by the plugin, which uses tpm2-pytss."""

import os

import pytest

from support.credential_opener import endorsement_key, open_credential
from support.dom0_fixtures import manufacture, running_dom0
from support.in_process import call, refusal
from support.tpm2_tools import Tpm2Failed, flush, run_tool, tpm2
from xentpm_lib.evidence.attributes import USER_WITH_AUTH
from xentpm_lib.evidence.credential_file import Credential
from xentpm_lib.evidence.encoding import decode_base64, encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.public import Public
from xentpm_lib.host import functions
from xentpm_lib.simulator.swtpm import Swtpm
from xentpm_lib.verifier.enrolment.credential import make_credential

SECRET = bytes(range(100, 132))
EK_KINDS = ("rsa", "ecc", "ecc384")
ROUNDS = {"rsa": 3, "ecc": 40, "ecc384": 10}


class Tools:
    """tpm2-tools with one swtpm, their EK and an AK below it."""

    def __init__(self, tpm, folder, kind):
        self.tpm, self.root = tpm, str(folder)
        tpm2(self, "createek", "-G", kind, "-c", "ek.ctx", "-u", "ek.pub")
        flush(self)
        tpm2(self, "createak", "-C", "ek.ctx", "-c", "ak.ctx", "-n", "ak.name", "-G", "ecc", "-s", "ecdsa")
        flush(self)
        self.ek = Public.from_tpm2b(self.read("ek.pub"))
        self.name = self.read("ak.name")

    def read(self, name):
        with open(os.path.join(self.root, name), "rb") as file:
            return file.read()

    def write(self, name, data):
        with open(os.path.join(self.root, name), "wb") as file:
            file.write(data)

    def activate(self, credential):
        """What tpm2_activatecredential makes of it. Raises: Tpm2Failed."""
        self.write("credential", credential)
        by_policy = not self.ek.attributes & USER_WITH_AUTH
        try:
            if by_policy:
                tpm2(self, "startauthsession", "--policy-session", "-S", "s.ctx")
                tpm2(self, "policysecret", "-S", "s.ctx", "-c", "e")
            names = ["-c", "ak.ctx", "-C", "ek.ctx", "-i", "credential", "-o", "opened"]
            tpm2(self, "activatecredential", *names, *(["-P", "session:s.ctx"] if by_policy else []))
        finally:
            flush(self)
        return self.read("opened")


@pytest.fixture(scope="session", params=EK_KINDS)
def tools(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools-" + request.param)
    Swtpm.manufacture(str(folder / "state"), str(folder / "ca"))
    with Swtpm(str(folder / "state")) as tpm:
        made = Tools(tpm, folder, request.param)
        made.kind = request.param
        yield made


def test_opened_by_tpm2_activatecredential(tools):
    for number in range(ROUNDS[tools.kind] // 3 + 1):
        secret = os.urandom(32) if number else SECRET
        assert tools.activate(make_credential(tools.ek, tools.name, secret)) == secret


def test_one_byte_and_the_largest_secret(tools):
    size = {"sha256": 32, "sha384": 48}[tools.ek.name_alg]
    for secret in (b"x", bytes(size)):
        assert tools.activate(make_credential(tools.ek, tools.name, secret)) == secret


def test_a_point_that_begins_with_a_zero(tools):
    """KDFe takes the coordinates with all their bytes; one point in 256 tells who forgot that."""
    if tools.kind == "rsa":
        return
    while True:
        credential = make_credential(tools.ek, tools.name, SECRET)
        if Credential.from_bytes(credential).encrypted_secret[2] == 0:
            break
    assert tools.activate(credential) == SECRET


def test_for_another_attestation_key(tools):
    credential = make_credential(tools.ek, tools.name[:-1] + bytes([tools.name[-1] ^ 1]), SECRET)
    with pytest.raises(Tpm2Failed, match="integrity"):
        tools.activate(credential)


def test_what_tpm2_makecredential_makes_has_the_same_form(tools):
    """Both are opened by the TPM, and are as large as each other."""
    tools.write("secret", SECRET)
    tools.write("ek.tpm2b", tools.ek.to_tpm2b())
    command = ["tpm2_makecredential", "-Q", "-T", "none", "-u", "ek.tpm2b", "-s", "secret"]
    run_tool([*command, "-n", tools.name.hex(), "-o", "theirs"], tools.root)
    theirs, ours = tools.read("theirs"), make_credential(tools.ek, tools.name, SECRET)
    assert tools.activate(theirs) == tools.activate(ours) == SECRET
    sealed, own = Credential.from_bytes(theirs), Credential.from_bytes(ours)
    assert len(sealed.id_object) == len(own.id_object)
    if tools.kind == "rsa":
        assert len(sealed.encrypted_secret) == len(own.encrypted_secret)
    else:  # two coordinates, whole in ours; the tool leaves out the zeros that one begins with
        size = len(tools.ek.x)
        assert size + 4 < len(sealed.encrypted_secret) <= len(own.encrypted_secret) == 2 * (size + 2)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
def test_tpm2_makecredential_is_opened_as_ours_is(kind, tmp_path):
    """The other direction: the opener of the unit tests opens what the tool made for a key in software."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    curve = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}.get(kind)
    private = ec.generate_private_key(curve) if curve else rsa.generate_private_key(65537, 2048)
    parameters = ("sha384", 256) if kind == "p384" else ("sha256", 128)
    ek = endorsement_key(private, *parameters)
    name = b"\0\x0b" + os.urandom(32)
    (tmp_path / "ek").write_bytes(ek.to_tpm2b())
    (tmp_path / "secret").write_bytes(SECRET)
    command = ["tpm2_makecredential", "-Q", "-T", "none", "-u", "ek", "-s", "secret", "-n", name.hex()]
    run_tool([*command, "-o", "made"], str(tmp_path))
    assert open_credential(private, ek, name, (tmp_path / "made").read_bytes()) == SECRET
    assert open_credential(private, ek, name, make_credential(ek, name, SECRET)) == SECRET


# The plugin's own function, with the endorsement keys that it makes.


@pytest.fixture(scope="session")
def other_tpm(tmp_path_factory):
    return manufacture(tmp_path_factory, "ecc", ecc_ek=True)


@pytest.fixture(params=["rsa", "p256", "p384"])
def any_dom0(request, manufactured_tpm, other_tpm, tmp_path):
    with running_dom0(other_tpm if request.param == "p256" else manufactured_tpm, tmp_path / "any") as dom0:
        if request.param == "p384":  # without its RSA key the certified one is P-384
            tpm2(dom0, "evictcontrol", "-C", "o", "-c", "0x81010001")
            tpm2(dom0, "nvundefine", "0x01c00002", "-C", "p")
        dom0.kind = request.param
        yield dom0


def _identity(dom0):
    return Identity.from_xml(call(dom0, functions.get_identity))


def _answer(dom0, credential):
    text = call(dom0, functions.answer_challenge, challenge=encode_base64(credential))
    return decode_base64(text, "answer", 1, 64)


def test_the_plugin_answers(any_dom0):
    identity = _identity(any_dom0)
    assert {"rsa": "", "p256": "nist_p256", "p384": "nist_p384"}[any_dom0.kind] == identity.ek.curve
    for secret in (SECRET, os.urandom(32)):
        assert _answer(any_dom0, make_credential(identity.ek, identity.ak.name(), secret)) == secret


def test_the_plugin_refuses_what_is_for_others(any_dom0):
    identity = _identity(any_dom0)
    other = identity.ak.name()[:-1] + bytes([identity.ak.name()[-1] ^ 1])
    challenge = encode_base64(make_credential(identity.ek, other, SECRET))
    error = refusal(any_dom0, functions.answer_challenge, challenge=challenge)
    assert error.code == "XENTPM_CHALLENGE"
