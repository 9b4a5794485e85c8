"""Attacks on the binding of attestation key, endorsement key and TPM, against real TPMs.

Each test shows first that the attack works as far as the TPM is concerned, and then which check stops it.
"""

import os
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.dom0_fixtures import manufacture, running_dom0
from support.ek_authority import Authority, der
from support.in_process import call, refusal
from support.tpm2_tools import Tpm2Failed, flush, run_tool, tpm2
from xentpm_lib.evidence import attributes as bits
from xentpm_lib.evidence.encoding import decode_base64, encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.key_parameters import Scheme
from xentpm_lib.evidence.names import ENDORSEMENT_HIERARCHY, qualified_name
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.evidence.public import Public
from xentpm_lib.evidence.tpm_structures import Attest, QuoteInfo
from xentpm_lib.host import functions
from xentpm_lib.verifier.enrolment import ek_trust
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.enrolment.credential import make_credential
from xentpm_lib.verifier.enrolment.ek_trust import check_ak, check_ek
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.records import EkTrust

SECRET = os.urandom(32)


def identity_of(dom0):
    return Identity.from_xml(call(dom0, functions.get_identity))


def answer(dom0, credential):
    text = call(dom0, functions.answer_challenge, challenge=encode_base64(credential))
    return decode_base64(text, "answer", 1, 64)


def path(dom0, name):
    return os.path.join(dom0.root, name)


def write(dom0, name, data):
    with open(path(dom0, name), "wb") as file:
        file.write(data)


def read(dom0, name):
    with open(path(dom0, name), "rb") as file:
        return file.read()


def activate(dom0, key_context, credential):
    """What the TPM opens for a key, asked with tpm2-tools by somebody who is root. Raises: Tpm2Failed."""
    write(dom0, "credential", credential)
    try:
        tpm2(dom0, "startauthsession", "--policy-session", "-S", "s.ctx")
        tpm2(dom0, "policysecret", "-S", "s.ctx", "-c", "e")
        names = ["-c", key_context, "-C", "0x81010001", "-i", "credential", "-o", "opened"]
        tpm2(dom0, "activatecredential", *names, "-P", "session:s.ctx")
    finally:
        flush(dom0)
    return read(dom0, "opened")


def software_key(dom0):
    """A key that the attacker holds in a file, loaded into the TPM; its private key, public area and Name."""
    private = ec.generate_private_key(ec.SECP256R1())
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    write(dom0, "software.pem", text)
    tpm2(
        dom0, "loadexternal", "-C", "n", "-G", "ecc:ecdsa-sha256", "-r", "software.pem", "-c", "software.ctx"
    )
    tpm2(dom0, "readpublic", "-c", "software.ctx", "-o", "software.pub", "-n", "software.name")
    flush(dom0)
    return private, Public.from_tpm2b(read(dom0, "software.pub")), read(dom0, "software.name")


def forged_quote(ak):
    """An attest as a TPM would make it, of a host that is in the best of states, by whoever writes it."""
    return Attest(
        "quote",
        qualified_name(ENDORSEMENT_HIERARCHY, ak.name()),
        b"n" * 32,
        1000,
        1,
        0,
        True,
        1,
        quote=QuoteInfo(PcrSelection.from_text("sha256:0,1,2"), hashes_of(b"the values that are expected")),
    ).to_bytes()


def hashes_of(data):
    digest = hashes.Hash(hashes.SHA256())
    digest.update(data)
    return digest.finalize()


@pytest.fixture
def any_attributes(monkeypatch):
    """Returns what removes the one defence: that the attributes of an attestation key are looked at."""
    return lambda: monkeypatch.setattr(Public, "attestation_key_faults", lambda _self: ())


def test_an_attestation_key_in_software(dom0, any_attributes):
    """A TPM answers a challenge for a key that was loaded into it from outside, whose owner signs anything.

    So the answer alone does not bind a key to the TPM: the attributes in its Name have to say that it never
    was outside.
    """
    identity = identity_of(dom0)
    private, public, name = software_key(dom0)
    assert activate(dom0, "software.ctx", make_credential(identity.ek, name, SECRET)) == SECRET
    forged = forged_quote(public)
    signature = private.sign(forged, ec.ECDSA(hashes.SHA256()))
    private.public_key().verify(signature, forged, ec.ECDSA(hashes.SHA256()))
    # What stops it.
    with pytest.raises(EnrolmentError, match="fixedTPM is not set") as caught:
        check_ak(public)
    assert caught.value.code == "XENTPM_AK_UNFIT"
    any_attributes()
    check_ak(public)  # and the challenge was answered above


def test_a_key_in_software_that_claims_to_be_in_the_tpm(dom0):
    """The same key, with a public area as a TPM's own has it: then its Name is one that no TPM holds."""
    identity = identity_of(dom0)
    _, public, name = software_key(dom0)
    claimed = public._replace(
        attributes=identity.ak.attributes,
        scheme=Scheme("ecdsa", "sha256"),
        auth_policy=identity.ak.auth_policy,
    )
    check_ak(claimed)  # looks as good as the real one
    credential = make_credential(identity.ek, claimed.name(), SECRET)
    with pytest.raises(Tpm2Failed, match="integrity"):  # what stops it: the challenge is to this Name
        activate(dom0, "software.ctx", credential)
    assert (
        refusal(dom0, functions.answer_challenge, challenge=encode_base64(credential)).code
        == "XENTPM_CHALLENGE"
    )
    # As if the Name were the one that the host tells, and not computed from what it shows.
    told = make_credential(identity.ek, name, SECRET)
    assert activate(dom0, "software.ctx", told) == SECRET
    with pytest.raises(Tpm2Failed):  # nor does a TPM load a key from outside that says so
        write(dom0, "claimed.pub", claimed.to_tpm2b())
        tpm2(dom0, "loadexternal", "-C", "n", "-u", "claimed.pub", "-r", "software.pem", "-c", "claimed.ctx")
    flush(dom0)


def test_an_unrestricted_key_of_the_tpm(dom0, any_attributes):
    """A key that really is in the TPM, but signs whatever it is given: a forged quote among it."""
    identity = identity_of(dom0)
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
    tpm2(dom0, "createprimary", "-C", "e", "-G", "ecc:ecdsa-sha256:null", "-a", attributes, "-c", "free.ctx")
    tpm2(dom0, "readpublic", "-c", "free.ctx", "-o", "free.pub")
    flush(dom0)
    public = Public.from_tpm2b(read(dom0, "free.pub"))
    assert activate(dom0, "free.ctx", make_credential(identity.ek, public.name(), SECRET)) == SECRET
    forged = forged_quote(public)
    write(dom0, "forged", forged)
    tpm2(dom0, "sign", "-c", "free.ctx", "-g", "sha256", "-f", "plain", "-o", "signature", "forged")
    flush(dom0)
    key = serialization.load_pem_public_key(public.pem().encode("ascii"))
    key.verify(read(dom0, "signature"), forged, ec.ECDSA(hashes.SHA256()))
    # What stops it.
    with pytest.raises(EnrolmentError, match="restricted is not set"):
        check_ak(public)
    # And the TPM itself will not do that with the host's own key.
    with pytest.raises(Tpm2Failed):
        tpm2(dom0, "sign", "-c", "0x81010002", "-g", "sha256", "-o", "signature", "forged")
    flush(dom0)
    any_attributes()
    check_ak(public)  # whose forged quote verifies, and whose challenge was answered


@pytest.fixture(scope="module")
def another_tpm(tmp_path_factory):
    return manufacture(tmp_path_factory, "another")


@pytest.fixture
def victim(another_tpm, tmp_path):
    """Another host, whose TPM has a good certificate."""
    with running_dom0(another_tpm, tmp_path / "victim") as dom0:
        yield dom0


def authorities(state):
    """The certificates of the authority beside a manufactured TPM's state."""
    folder = os.path.join(os.path.dirname(state), "ca")
    return EkAnchors.load([os.path.join(folder, name) for name in ("root.pem", "issuer.pem")])


def test_ak_not_bound_to_ek(dom0, victim, another_tpm):
    """A host shows the EK and the certificate of another TPM, and its own AK. Nothing of that is forged.

    Of the kind of CVE-2021-3406, CVE-2022-1053 and CVE-2023-38201 (Keylime), where a challenge was not made,
    not for the key that was used later, or could be passed by.
    """
    stolen = identity_of(victim)
    claimed = stolen._replace(ak=identity_of(dom0).ak)
    anchors = authorities(another_tpm)
    assert check_ek(claimed, anchors, {EkTrust.CERTIFICATE}, time.time()).trust is EkTrust.CERTIFICATE
    check_ak(claimed.ak)
    # What stops it: neither TPM can open this.
    credential = make_credential(claimed.ek, claimed.ak.name(), SECRET)
    for host in (dom0, victim):
        error = refusal(host, functions.answer_challenge, challenge=encode_base64(credential))
        assert error.code == "XENTPM_CHALLENGE"
    # As if the challenge were not for this AK: the victim answers, and the host has its word for it.
    assert answer(victim, make_credential(claimed.ek, stolen.ak.name(), SECRET)) == SECRET


def test_a_certificate_of_another_key(dom0, victim, another_tpm, monkeypatch):
    """A host shows its own EK and the certificate of another TPM."""
    claimed = identity_of(dom0)._replace(ek_certificate=identity_of(victim).ek_certificate)
    with pytest.raises(EnrolmentError) as caught:
        check_ek(claimed, authorities(another_tpm), set(EkTrust), time.time())
    assert caught.value.code == "XENTPM_EK_MISMATCH"
    its_own = x509.load_der_x509_certificate(claimed.ek_certificate)
    monkeypatch.setattr(ek_trust, "load_ek_certificate", lambda _data, _ek: its_own)
    decision = check_ek(claimed, authorities(another_tpm), {EkTrust.CERTIFICATE}, time.time())
    assert decision.trust is EkTrust.CERTIFICATE


def test_a_certificate_that_anybody_can_make(dom0, tmp_path):
    """The attacker's own authority, of the same name as the real one; a tool finds no fault with the path."""
    forger = Authority("swtpm-localca")
    key = serialization.load_pem_public_key(identity_of(dom0).ek.pem().encode("ascii"))
    certificate = forger.endorse(key)
    for name, one in (("ca.pem", forger.certificate), ("leaf.pem", certificate)):
        (tmp_path / name).write_bytes(one.public_bytes(serialization.Encoding.PEM))
    run_tool(["openssl", "verify", "-CAfile", "ca.pem", "leaf.pem"], str(tmp_path))
    claimed = identity_of(dom0)._replace(
        ek_certificate=der(certificate), ek_certificate_chain=(der(forger.certificate),)
    )
    # What stops it: only the roots that the administrator gave count, not those that the host sends.
    for anchors in (EkAnchors(), EkAnchors(roots=(Authority("swtpm-localca").certificate,))):
        with pytest.raises(EnrolmentError) as caught:
            check_ek(claimed, anchors, {EkTrust.CERTIFICATE, EkTrust.PINNED}, time.time())
        assert caught.value.code == "XENTPM_EK_UNTRUSTED"
    # As if they did: what the host sends as authority is among the roots.
    sent = EkAnchors(roots=(forger.certificate,))
    assert check_ek(claimed, sent, {EkTrust.CERTIFICATE}, time.time()).trust is EkTrust.CERTIFICATE


def test_an_endorsement_key_that_signs_authorities(tmp_path):
    """Whoever owns one certified TPM issues certificates with its EK. OpenSSL refuses that path, too."""
    maker = Authority("maker")
    owned = ec.generate_private_key(ec.SECP256R1())
    owner = Authority("owner", maker, key=owned)  # the same key and name as an authority, for the signature
    endorsed = maker.endorse(owned.public_key(), subject=owner.name)
    victim_key = ec.generate_private_key(ec.SECP256R1())
    forged = owner.endorse(victim_key.public_key())
    parts = {"root": maker.certificate, "middle": endorsed, "leaf": forged}
    for name, one in parts.items():
        (tmp_path / name).write_bytes(one.public_bytes(serialization.Encoding.PEM))
    command = ["openssl", "verify", "-CAfile", "root", "-untrusted", "middle", "leaf"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode != 0
    from support.credential_opener import endorsement_key

    ek = endorsement_key(victim_key)
    claimed = Identity(der(forged), ek, ek, "", (der(endorsed),))
    anchors = EkAnchors(roots=(maker.certificate,))
    with pytest.raises(EnrolmentError) as caught:
        check_ek(claimed, anchors, {EkTrust.CERTIFICATE}, time.time())
    assert caught.value.code == "XENTPM_EK_UNTRUSTED"
    # Removing the one defence, that an EK certificate is no authority's, the path would hold.
    through = Identity(der(forged), ek, ek, "", (der(owner.certificate),))
    assert check_ek(through, anchors, {EkTrust.CERTIFICATE}, time.time()).trust is EkTrust.CERTIFICATE


def test_an_attestation_key_with_the_power_to_decrypt(dom0, any_attributes):
    """A restricted key may sign or decrypt; one that does both is no attestation key of this project."""
    ak = identity_of(dom0).ak
    check_ak(ak)
    for changed in (ak.attributes | bits.DECRYPT, ak.attributes & ~bits.RESTRICTED):
        with pytest.raises(EnrolmentError):
            check_ak(ak._replace(attributes=changed))
    any_attributes()
    check_ak(ak._replace(attributes=ak.attributes | bits.DECRYPT))
