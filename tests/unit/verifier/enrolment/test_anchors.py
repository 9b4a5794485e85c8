"""Certificates and pins as administrators have them: bundles, directories, DER, lists."""

import os

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.credential_opener import endorsement_key
from support.ek_authority import Authority, der, pem
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.enrolment.anchors import MAX_FILE_SIZE, EkAnchors, fingerprint

ROOT, OTHER = Authority("root"), Authority("other")
ISSUER = Authority("issuer", ROOT)
KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
DIGEST = fingerprint(SPKI)


def written(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


def refused(*authorities, pins=()):
    with pytest.raises(UsageError) as caught:
        EkAnchors.load(authorities, pins)
    return caught.value.message


def test_nothing():
    assert EkAnchors.load() == EkAnchors()
    assert EkAnchors.load(allow_first_use=True).allow_first_use


@pytest.mark.parametrize("order", [(ROOT, ISSUER, OTHER), (ISSUER, OTHER, ROOT, ISSUER, ROOT)])
def test_a_bundle(order, tmp_path):
    text = b"# all makers\n" + pem(*(one.certificate for one in order)) + b"\ntrailing words\n"
    anchors = EkAnchors.load([written(tmp_path, "all.pem", text)])
    assert set(anchors.roots) == {ROOT.certificate, OTHER.certificate}
    assert len(anchors.roots) == 2
    assert anchors.intermediates == (ISSUER.certificate,)


@pytest.mark.parametrize("trailing", [b"", b"\0", b"\xff" * 100])
def test_der(trailing, tmp_path):
    anchors = EkAnchors.load([str(written(tmp_path, "root.anything", der(ROOT.certificate) + trailing))])
    assert anchors.roots == (ROOT.certificate,)


def test_a_directory(tmp_path):
    written(tmp_path, "a.pem", pem(ROOT.certificate))
    written(tmp_path, "b.CRT", der(ISSUER.certificate))
    written(tmp_path, "broken.cer", b"\x30\x03junk")
    written(tmp_path, "key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    written(tmp_path, "README", b"not read")
    (tmp_path / "below.pem").mkdir()
    anchors = EkAnchors.load([tmp_path])
    assert (anchors.roots, anchors.intermediates) == ((ROOT.certificate,), (ISSUER.certificate,))
    assert sorted(os.path.basename(line.partition(":")[0].partition(" ")[0]) for line in anchors.skipped) == [
        "below.pem",
        "broken.cer",
        "key.pem",
    ]


def test_an_empty_directory(tmp_path):
    assert "no certificate in this directory" in refused(tmp_path)


def test_no_root(tmp_path):
    assert "self-signed" in refused(written(tmp_path, "issuer.pem", pem(ISSUER.certificate)))


def test_a_signature_that_is_not_its_own(tmp_path):
    """Issuer and subject are equal, but another key has signed: that is no root."""
    twin = Authority("root", ROOT)
    anchors = EkAnchors.load([written(tmp_path, "a.pem", pem(ROOT.certificate, twin.certificate))])
    assert (anchors.roots, anchors.intermediates) == ((ROOT.certificate,), (twin.certificate,))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"-----BEGIN CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_file_that_is_no_certificate(data, tmp_path):
    path = written(tmp_path, "a.pem", data)
    assert str(path) in refused(path)


def test_one_broken_certificate_in_a_bundle(tmp_path):
    data = pem(ROOT.certificate) + b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    said = refused(written(tmp_path, "a.pem", data))
    assert "no certificate that can be read: " in said and ("PEM" in said) and "https://" not in said


def test_files_that_cannot_be_read(tmp_path):
    assert "No such file" in refused(tmp_path / "absent.pem")
    assert "not a file" in refused("/dev/zero")
    assert "bytes" in refused(written(tmp_path, "large", b"\0" * (MAX_FILE_SIZE + 1)))


SPELLINGS = [DIGEST, DIGEST.upper(), "sha256:" + DIGEST, bytes.fromhex(DIGEST).hex(":"), "SHA256:" + DIGEST]


@pytest.mark.parametrize("pin", SPELLINGS)
def test_a_pin(pin):
    assert EkAnchors.load(pins=[pin]).pins == {DIGEST}


def test_a_fingerprint_is_what_openssl_prints(tmp_path):
    """openssl pkey -pubin -in ek.pem -outform DER | sha256sum"""
    import subprocess

    text = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    written(tmp_path, "ek.pem", text)
    command = "openssl pkey -pubin -in ek.pem -outform DER | sha256sum"
    out = subprocess.check_output(command, shell=True, cwd=tmp_path, text=True)
    assert out.split()[0] == DIGEST
    assert EkAnchors.load(pins=[str(tmp_path / "ek.pem")]).pins == {DIGEST}


RSA_KEY = rsa.generate_private_key(65537, 2048)
PEM_KEYS = b"".join(
    key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for key in (KEY, RSA_KEY)
)
BOTH = {DIGEST, fingerprint(endorsement_key(RSA_KEY).spki_der())}


@pytest.mark.parametrize(
    "data, expected",
    [
        (PEM_KEYS, BOTH),
        (SPKI, {DIGEST}),
        (endorsement_key(KEY).to_tpm2b(), {DIGEST}),
        (endorsement_key(RSA_KEY).to_tpm2b(), BOTH - {DIGEST}),
        (pem(ROOT.endorse(KEY.public_key())), {DIGEST}),
        (der(ROOT.endorse(KEY.public_key())) + b"\0\0", {DIGEST}),
        ("# hosts\n\n{}  # xen-07\nsha256:{}\n".format(DIGEST, "ab" * 32).encode(), {DIGEST, "ab" * 32}),
    ],
    ids=["pem keys", "der", "tpm2b ecc", "tpm2b rsa", "pem certificate", "der certificate", "list"],
)
def test_a_file_of_pins(data, expected, tmp_path):
    assert EkAnchors.load(pins=[str(written(tmp_path, "pins", data))]).pins == expected


@pytest.mark.parametrize("first", "0123456789abcdef")
@pytest.mark.parametrize("behind", ["", "\n", "\r\n", "  # xen-07\n" + "ab" * 32])
def test_a_list_may_begin_with_any_digit(first, behind, tmp_path):
    """The digit 0 is also the byte that DER begins with."""
    text = first + "c" * 63 + behind
    assert first + "c" * 63 in EkAnchors.load(pins=[str(written(tmp_path, "pins", text.encode()))]).pins


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# nothing\n",
        b"junk\n",
        DIGEST.encode() + b"\n" + b"ab" * 20 + b"\n",
        b"\0\1\2",
        b"0\x03\2\1\1",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"\xff\xfe",
        "ü".encode(),
    ],
)
def test_what_is_no_list_of_pins(data, tmp_path):
    assert "no key and no list" in refused(pins=[str(written(tmp_path, "pins", data))])


@pytest.mark.parametrize("pin", ["", "ab" * 20, "g" * 64, "/absent/file", "ab" * 33, "٣" * 64])
def test_what_is_no_pin(pin):
    assert refused(pins=[pin])
