"""evidence/certificate.py: where certificates end, and whose key they hold."""

import pytest

from xentpm_lib.evidence.certificate import certificate_holds_key, split_certificates, trim_certificate
from xentpm_lib.evidence.tpm_structures import Public

SHORT = b"\x30\x03abc"


@pytest.fixture
def certificate(vectors):
    return (vectors / "swtpm" / "rsa" / "ek.certificate").read_bytes()


def test_trimming(certificate):
    assert trim_certificate(certificate + b"\0" * 100) == trim_certificate(certificate) == certificate


@pytest.mark.parametrize(
    "data, fragment",
    [
        (b"", "does not start"),
        (b"\0" * 1000, "does not start"),
        (b"\xff" * 1000, "does not start"),
        (b"\x30\x04abc", "says 6 bytes, got 5"),
        (b"\x30\x82\x40\x00" + bytes(16384), "a certificate of 16388 bytes, at most 16384"),
    ],
)
def test_what_is_no_certificate(refuses, data, fragment):
    refuses("certificate", fragment, trim_certificate, data)


def test_splitting(refuses, certificate):
    assert split_certificates(b"") == ()
    assert split_certificates(SHORT + certificate + SHORT) == (SHORT, certificate, SHORT)
    refuses("chain[1]", "does not start", split_certificates, SHORT + b"\0", "chain")
    assert len(split_certificates(SHORT * 16)) == 16
    refuses("chain", "over 16 certificates", split_certificates, SHORT * 17, "chain")


def test_whose_key(vectors, certificate):
    keys = {
        kind: Public.from_tpm2b((vectors / "swtpm" / kind / "ek.tpm2b").read_bytes())
        for kind in ("rsa", "ecc")
    }
    assert certificate_holds_key(certificate, keys["rsa"])
    assert not certificate_holds_key(certificate, keys["ecc"])
    assert certificate_holds_key(SHORT + keys["ecc"].spki_der(), keys["ecc"])


def test_a_template_is_in_no_certificate(refuses):
    template = Public("rsa", "sha256", 0, key_bits=2048)
    refuses("unique", "no usable public key", certificate_holds_key, SHORT, template)
