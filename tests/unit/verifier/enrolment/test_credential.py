"""Credentials made here and opened by other code; tpm2-pytss makes some, to know that that code is right."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.credential_opener import Refused, endorsement_key, open_credential
from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.credential_file import Credential
from xentpm_lib.evidence.key_parameters import Symmetric
from xentpm_lib.verifier.enrolment.credential import make_credential
from xentpm_lib.verifier.errors import EnrolmentError

NAME = b"\0\x0b" + bytes(range(32))
SECRET = bytes(range(100, 132))

RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
KINDS = {
    "L-1": (RSA, "sha256", 128),
    "rsa-aes256": (RSA, "sha256", 256),
    "rsa-sha384": (RSA, "sha384", 256),
    "exponent-3": (rsa.generate_private_key(3, 2048), "sha256", 128),
    "L-2": (P256, "sha256", 128),
    "H-3": (P384, "sha384", 256),
    "H-4": (P521, "sha512", 256),
    "aes192": (P256, "sha256", 192),
}


@pytest.fixture(params=sorted(KINDS))
def kind(request):
    private, name_alg, bits = KINDS[request.param]
    return private, endorsement_key(private, name_alg, bits)


@pytest.mark.parametrize("secret", [SECRET, b"x", bytes(32), bytes(range(16)), bytes(range(17))])
def test_what_is_made_can_be_opened(kind, secret):
    private, ek = kind
    data = make_credential(ek, NAME, secret)
    assert open_credential(private, ek, NAME, data) == secret
    assert Credential.from_bytes(data).to_bytes() == data


def test_names_of_other_hashes(kind):
    private, ek = kind
    for name in (b"\0\x0c" + b"n" * 48, b"\0\x0d" + b"n" * 64):
        assert open_credential(private, ek, name, make_credential(ek, name, SECRET)) == SECRET


def test_points_that_begin_with_zeros():
    """One point in 256 does; it is written, and derived from, with all its bytes."""
    ek = endorsement_key(P256)
    found = 0
    while found < 2:
        data = make_credential(ek, NAME, SECRET)
        point = Credential.from_bytes(data).encrypted_secret
        if point[2] == 0 or point[36] == 0:
            found += 1
            assert open_credential(P256, ek, NAME, data) == SECRET


def test_never_the_same_twice(kind):
    _, ek = kind
    made = [Credential.from_bytes(make_credential(ek, NAME, SECRET)) for _ in range(2)]
    assert made[0].id_object != made[1].id_object
    assert made[0].encrypted_secret != made[1].encrypted_secret


def test_only_for_this_name(kind):
    private, ek = kind
    data = make_credential(ek, NAME, SECRET)
    with pytest.raises(Refused):
        open_credential(private, ek, NAME[:-1] + b"\xff", data)


def test_only_for_this_key():
    data = make_credential(endorsement_key(P256), NAME, SECRET)
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Refused):
        open_credential(other, endorsement_key(other), NAME, data)


def test_the_secret_is_not_in_it(kind):
    _, ek = kind
    assert SECRET[:8] not in make_credential(ek, NAME, SECRET)


@pytest.mark.parametrize("kind_name", ["L-1", "L-2", "rsa-sha384"])
def test_tpm2_pytss_makes_the_same(kind_name):
    """What tpm2-pytss makes is opened by the same code that opens ours."""
    import tpm2_pytss as tss
    from tpm2_pytss.utils import make_credential as theirs

    private, name_alg, bits = KINDS[kind_name]
    ek = endorsement_key(private, name_alg, bits)
    public, _ = tss.TPM2B_PUBLIC.unmarshal(ek.to_tpm2b())
    blob, seed = theirs(public, SECRET, NAME)
    data = Credential(bytes(blob.credential), bytes(seed.secret)).to_bytes()
    assert open_credential(private, ek, NAME, data) == SECRET


@pytest.mark.parametrize(
    "fields",
    [
        {"symmetric": None},
        {"symmetric": Symmetric("sm4", 128, "cfb")},
        {"symmetric": Symmetric("camellia", 128, "cfb")},
        {"symmetric": Symmetric("aes", 128, "cbc")},
        {"name_alg": "sha1", "auth_policy": b""},
        {"name_alg": "sm3_256", "auth_policy": b""},
        {"modulus": b""},
        {"modulus": b"\x80" * 255},
        {"modulus": bytes(256)},
        {"modulus": b"\xff" * 255 + b"\xfe"},
    ],
    ids=map(str, range(10)),
)
def test_keys_that_cannot_be_used(fields):
    ek = endorsement_key(RSA)._replace(**fields)
    with pytest.raises(EnrolmentError, match="endorsement key cannot be used") as caught:
        make_credential(ek, NAME, SECRET)
    assert caught.value.code == "XENTPM_EK_UNUSABLE"


@pytest.mark.parametrize(
    "x, y", [(b"\1" * 32, b"\1" * 32), (bytes(32), bytes(32)), (b"", b""), (b"\xff" * 32, b"\1")]
)
def test_points_that_are_not_on_the_curve(x, y):
    ek = endorsement_key(P256)._replace(x=x, y=y)
    with pytest.raises(EnrolmentError):
        make_credential(ek, NAME, SECRET)


@pytest.mark.parametrize("name", [b"", b"\0\x0b", NAME + b"x", b"\xff\xff" + bytes(32), NAME[:-1]])
def test_what_is_no_name(name):
    with pytest.raises(FormatError):
        make_credential(endorsement_key(P256), name, SECRET)


@pytest.mark.parametrize("size", [0, 33, 64, 70000])
def test_secrets_that_a_tpm_refuses(size):
    with pytest.raises(FormatError):
        make_credential(endorsement_key(P256), NAME, os.urandom(size))
