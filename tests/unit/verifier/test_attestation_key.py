"""verifier/attestation_key.py: enrolled keys, checked against signatures of a real TPM."""

from pathlib import Path

import pytest

from support.evidence_maker import AK_ATTRIBUTES, SoftwareAttester, make_key, public_of
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.verifier.attestation_key import attestation_key

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "swtpm"


def _vector(kind, name):
    return (VECTORS / kind / name).read_bytes()


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_key_and_signatures_of_swtpm(kind):
    key = attestation_key(ts.Public.from_tpm2b(_vector(kind, "ak.tpm2b")))
    assert key.name == _vector(kind, "ak.name")
    assert key.qualified_name == _vector(kind, "ak.qualified_name")
    assert key.tpm2b == _vector(kind, "ak.tpm2b")
    assert (key.faults, key.hash) == ((), "sha256")
    for what in ("quote", "nv"):
        data = _vector(kind, what + ".attest")
        signature = ts.Signature.from_bytes(_vector(kind, what + ".signature"))
        assert key.signed(signature, data)
        assert not key.signed(signature, data + b"\0")
        assert not key.signed(signature, data[:-1] + b"\xff")


@pytest.mark.parametrize("kind, other", [("ecc", "rsa"), ("rsa", "ecc")])
def test_a_signature_of_the_other_kind(kind, other):
    key = attestation_key(ts.Public.from_tpm2b(_vector(kind, "ak.tpm2b")))
    signature = ts.Signature.from_bytes(_vector(other, "quote.signature"))
    assert not key.signed(signature, _vector(other, "quote.attest"))


def test_loaded_once():
    ak = SoftwareAttester().ak
    assert attestation_key(ak) is attestation_key(ts.Public.from_tpm2b(ak.to_tpm2b()))


@pytest.mark.parametrize(
    "ak, fault",
    [
        (public_of(make_key(), AK_ATTRIBUTES | ts.DECRYPT, ts.Scheme("ecdsa", "sha256")), "decrypt is set"),
        (public_of(make_key(), AK_ATTRIBUTES, None), "it has no signing scheme of its own"),
        (public_of(make_key(), AK_ATTRIBUTES, ts.Scheme("ecdsa", "sha1")), "it signs SHA-1 digests"),
        (public_of(make_key(), AK_ATTRIBUTES, ts.Scheme("ecdsa", "sm3_256")), "it signs sm3_256 digests"),
        (
            public_of(make_key(), AK_ATTRIBUTES, ts.Scheme("ecdsa", "sha256"))._replace(y=b"\1" * 32),
            "its numbers are no key",
        ),
        (
            public_of(make_key("rsa1024"), AK_ATTRIBUTES, ts.Scheme("rsassa", "sha256")),
            "RSA with 1024 bits is too weak",
        ),
    ],
)
def test_a_key_with_faults_verifies_nothing(ak, fault):
    key = attestation_key(ak)
    assert key.faults == (fault,)
    assert not key.signed(ts.Signature("ecdsa", "sha256", r=b"\1", s=b"\1"), b"")
