"""The endorsement key and its certificates, as TPMs of several makers keep them."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from support.in_process import call, refusal
from support.tpm2_tools import OWNER, flush, tpm2
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.host import functions
from xentpm_lib.tpm.ek_templates import template_of

RSA_INDEX, P256_INDEX, P384_INDEX, CHAIN = 0x01C00002, 0x01C0000A, 0x01C00016, 0x01C00100
PLATFORM_ATTRIBUTES = "ppwrite|ppread|ownerread|authread|no_da|platformcreate"


def _identity(dom0):
    return Identity.from_xml(call(dom0, functions.get_identity))


def _undefine(dom0, index):
    tpm2(dom0, "nvundefine", hex(index), "-C", "p")


def _define(dom0, index, data, attributes=PLATFORM_ATTRIBUTES):
    """Have the platform put ``data`` into a new index; a list of them is written to indices that follow."""
    size = str(max(len(data), 1))
    tpm2(dom0, "nvdefine", hex(index), "-C", "p", "-s", size, "-a", attributes)
    if data:
        path = dom0.paths.at("nv.bin")
        with open(path, "wb") as file:
            file.write(data)
        tpm2(dom0, "nvwrite", hex(index), "-C", "p", "-i", path)


def _forget_ek(dom0):
    tpm2(dom0, "evictcontrol", "-C", "o", "-c", "0x81010001")


def _certificate_in(dom0, index):
    path = dom0.paths.at("certificate.bin")
    tpm2(dom0, "nvread", hex(index), "-C", hex(index), "-o", path)
    with open(path, "rb") as file:
        return file.read()


def _certified_pem(identity):
    key = x509.load_der_x509_certificate(identity.ek_certificate).public_key()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, kind).decode("ascii")


def test_rsa(new_dom0):
    identity = _identity(new_dom0)
    assert identity.ek.type == "rsa"
    assert [template.name for template in template_of(identity.ek)] == ["L-1"]
    assert identity.ek.pem() == _certified_pem(identity)
    assert identity.ek_certificate == _certificate_in(new_dom0, RSA_INDEX)


def test_rsa_is_made_where_it_is_not(new_dom0):
    before = _identity(new_dom0)
    tpm2(new_dom0, "evictcontrol", "-C", "o", "-P", OWNER, "-c", "0x81010001")
    assert _identity(new_dom0) == before


def test_p256(ecc_dom0):
    identity = _identity(ecc_dom0)
    assert (identity.ek.type, identity.ek.curve) == ("ecc", "nist_p256")
    assert [template.name for template in template_of(identity.ek)] == ["L-2"]
    assert identity.ek.pem() == _certified_pem(identity)
    assert identity.ek_certificate == _certificate_in(ecc_dom0, P256_INDEX)
    assert _identity(ecc_dom0) == identity


def test_p384_of_the_high_range(new_dom0):
    """A TPM whose only certificate is the one of swtpm's P-384 key."""
    _forget_ek(new_dom0)
    _undefine(new_dom0, RSA_INDEX)
    identity = _identity(new_dom0)
    assert [template.name for template in template_of(identity.ek)] == ["H-3"]
    assert identity.ek.pem() == _certified_pem(identity)


def test_the_key_at_the_handle_counts_not_the_preference(new_dom0):
    """An EK that is there is kept, though a certificate of another template is the only one left."""
    _undefine(new_dom0, RSA_INDEX)
    identity = _identity(new_dom0)
    assert identity.ek.type == "rsa"
    assert identity.ek_certificate is None


def test_a_certificate_of_another_key_is_passed_over(new_dom0, ecc_dom0):
    """The RSA index holds somebody else's: the EK is the next one that has a certificate of its own."""
    other = _certificate_in(ecc_dom0, P256_INDEX)
    _forget_ek(new_dom0)
    _undefine(new_dom0, RSA_INDEX)
    _define(new_dom0, RSA_INDEX, other)
    identity = _identity(new_dom0)
    assert [template.name for template in template_of(identity.ek)] == ["H-3"]
    assert identity.ek.pem() == _certified_pem(identity)


def test_no_certificate_at_all(new_dom0):
    _forget_ek(new_dom0)
    _undefine(new_dom0, RSA_INDEX)
    _undefine(new_dom0, P384_INDEX)
    xml = call(new_dom0, functions.get_identity)
    assert "<xentxt:TPM_Endorsement_Certficate></xentxt:TPM_Endorsement_Certficate>" in xml
    identity = Identity.from_xml(xml)
    assert identity.ek_certificate is None
    assert [template.name for template in template_of(identity.ek)] == ["L-1"]


@pytest.mark.parametrize("padding", [b"\xff" * 100, b"\0" * 7, b"\x30\x82"], ids=["ff", "zeros", "half"])
def test_trailing_bytes(new_dom0, padding):
    certificate = _certificate_in(new_dom0, RSA_INDEX)
    _undefine(new_dom0, RSA_INDEX)
    _define(new_dom0, RSA_INDEX, certificate + padding)
    identity = _identity(new_dom0)
    assert identity.ek_certificate == certificate
    assert identity.ek.pem() == _certified_pem(identity)


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 64,
        b"\xff" * 64,
        b"0",
        b"\x30",
        b"\x30\x82\x04",
        b"\x30\x82\x04\x00" + b"x" * 16,
        b"\x30\x80\0\0",
    ],
)
def test_garbage_for_a_certificate(new_dom0, data):
    _undefine(new_dom0, RSA_INDEX)
    _define(new_dom0, RSA_INDEX, data)
    error = refusal(new_dom0, functions.get_identity)
    assert error.code == "XENTPM_CERTIFICATE"
    assert error.message.startswith("XenServer could not parse TPM certificate: ")


def test_a_certificate_that_cannot_be_read(new_dom0):
    _undefine(new_dom0, RSA_INDEX)
    _define(new_dom0, RSA_INDEX, b"\x30\x00", "ppwrite|ppread|no_da|platformcreate")
    error = refusal(new_dom0, functions.get_identity)
    assert error.code == "XENTPM_CERTIFICATE"
    assert error.message.startswith("XenServer could not read TPM certificate: ")


def test_an_index_that_was_never_written(new_dom0):
    _undefine(new_dom0, RSA_INDEX)
    _define(new_dom0, RSA_INDEX, b"")
    assert _identity(new_dom0).ek_certificate is None


def test_a_certificate_of_another_key(new_dom0, ecc_dom0):
    """Well formed, but for another TPM: it is no certificate of this one."""
    other = _certificate_in(ecc_dom0, P256_INDEX)
    _undefine(new_dom0, RSA_INDEX)
    _define(new_dom0, RSA_INDEX, other)
    assert _identity(new_dom0).ek_certificate is None


def test_on_die_chain(new_dom0, ecc_dom0):
    """Two certificates one after the other, split over two indices, then padding."""
    first = _certificate_in(ecc_dom0, P256_INDEX)
    second = _certificate_in(new_dom0, P384_INDEX)
    joined = first + second + b"\0" * 100
    _define(new_dom0, CHAIN, joined[:900])
    _define(new_dom0, CHAIN + 1, joined[900:])
    identity = _identity(new_dom0)
    assert identity.ek_certificate_chain == (first, second)
    assert identity.ek_certificate is not None


def test_on_die_chain_of_padding(new_dom0):
    _define(new_dom0, CHAIN, b"\xff" * 64)
    assert _identity(new_dom0).ek_certificate_chain == ()


def test_on_die_chain_that_is_cut(new_dom0):
    _define(new_dom0, CHAIN, b"\x30\x82\x04\x00" + b"x" * 64)
    error = refusal(new_dom0, functions.get_identity)
    assert error.code == "XENTPM_CERTIFICATE"
    assert error.message.startswith("XenServer could not parse TPM certificate: ")


def test_a_chain_index_that_cannot_be_read(new_dom0):
    _define(new_dom0, CHAIN, b"\x30\x00", "ppwrite|ppread|no_da|platformcreate")
    error = refusal(new_dom0, functions.get_identity)
    assert error.code == "XENTPM_CERTIFICATE"
    assert error.message.startswith("XenServer could not read TPM certificate: ")


SIGNING = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"


@pytest.mark.parametrize(
    "key",
    [
        ("-G", "rsa2048:rsassa-sha256:null", "-a", SIGNING),
        ("-G", "ecc256:ecdsa-sha256:null", "-a", SIGNING + "|restricted"),
        ("-G", "hmac", "-a", SIGNING),
        ("-G", "aes128cfb", "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt"),
    ],
    ids=["signing", "restricted", "hmac", "aes"],
)
def test_a_foreign_key_at_the_handle(new_dom0, key):
    _forget_ek(new_dom0)
    tpm2(new_dom0, "createprimary", "-C", "o", "-c", "other.ctx", *key)
    tpm2(new_dom0, "evictcontrol", "-C", "o", "-c", "other.ctx", "0x81010001")
    flush(new_dom0)
    error = refusal(new_dom0, functions.get_identity)
    assert error.code == "XENTPM_FOREIGN_KEY"
    assert "The key at 0x81010001 is no endorsement key" in error.message
    assert "tpm2_evictcontrol" in error.hint
    tpm2(new_dom0, "evictcontrol", "-C", "o", "-c", "0x81010001")
    assert _identity(new_dom0).ek_certificate is not None


def test_a_storage_key_of_the_owner_at_the_handle(new_dom0):
    """A storage root key has an EK's attributes; it is of another hierarchy, and no certificate is for it."""
    _forget_ek(new_dom0)
    tpm2(new_dom0, "createprimary", "-C", "o", "-c", "srk.ctx", "-G", "rsa2048")
    tpm2(new_dom0, "evictcontrol", "-C", "o", "-c", "srk.ctx", "0x81010001")
    flush(new_dom0)
    assert refusal(new_dom0, functions.get_identity).code == "XENTPM_FOREIGN_KEY"
