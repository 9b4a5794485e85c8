"""evidence/signature.py: the three schemes, and verifying with the cryptography package."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from xentpm_lib.evidence.signature import MAX_SIGNATURE_SIZE, Signature
from xentpm_lib.evidence.tpm_structures import Public

ECDSA = Signature("ecdsa", "sha256", r=b"\x80" + b"r" * 31, s=b"s" * 32)
RSASSA = Signature("rsassa", "sha384", rsa=b"x" * 256)


@pytest.mark.parametrize("what", ["quote", "nv"])
@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_tpms_signature_is_valid(vectors, kind, what):
    folder = vectors / "swtpm" / kind
    data = (folder / (what + ".signature")).read_bytes()
    signature = Signature.from_bytes(data)
    assert signature.to_bytes() == data
    assert signature.hash == "sha256"
    signed = (folder / (what + ".attest")).read_bytes()
    key = load_der_public_key(Public.from_tpm2b((folder / "ak.tpm2b").read_bytes()).spki_der())
    if kind == "ecc":
        assert signature.scheme == "ecdsa"
        key.verify(signature.der(), signed, ec.ECDSA(hashes.SHA256()))
    else:
        assert signature.scheme == "rsassa"
        key.verify(signature.der(), signed, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("signature", [ECDSA, RSASSA, RSASSA._replace(scheme="rsapss")])
def test_round_trips(signature):
    assert Signature.from_bytes(signature.to_bytes()) == signature


@pytest.mark.parametrize("r, s", [(1, 2), (127, 128), (1 << 255, (1 << 255) - 1), (1 << 520, 3), (0, 0)])
@pytest.mark.parametrize("size", [0, 66])
def test_der(r, s, size):
    numbers = [number.to_bytes(max(size, (number.bit_length() + 7) // 8, 1), "big") for number in (r, s)]
    assert Signature("ecdsa", "sha256", r=numbers[0], s=numbers[1]).der() == encode_dss_signature(r, s)


def test_the_largest_fits():
    assert len(Signature("rsapss", "sha512", rsa=bytes(512)).to_bytes()) == MAX_SIGNATURE_SIZE


@pytest.mark.parametrize(
    "data, where, fragment",
    [
        ("", "offset 0", "2 bytes wanted"),
        ("0010", "offset 0", "signature scheme 0x0010 is none of rsassa, rsapss, ecdsa"),
        ("0005000b", "offset 0", "signature scheme 0x0005"),
        ("00180010", "offset 2", "0x0010 is no hash"),
        ("0018000b0000", "offset 4", "size 0, expected 1 to 66"),
        ("0018000b0001010043", "offset 7", "size 67, expected 1 to 66"),
        ("0014000b0000", "offset 4", "size 0, expected 1 to 512"),
        ("0014000b0201", "offset 4", "size 513, expected 1 to 512"),
        ("0014000b000201", "offset 6", "2 bytes wanted, 1 left"),
        ("0014000b00010100", "offset 7", "1 trailing bytes"),
    ],
)
def test_refusals(refuses, data, where, fragment):
    refuses(where, fragment, Signature.from_bytes, bytes.fromhex(data))


@pytest.mark.parametrize(
    "signature, where, fragment",
    [
        (ECDSA._replace(scheme="ecdaa"), "scheme", "'ecdaa' is none of"),
        (ECDSA._replace(hash="md5"), "hash", "no hash algorithm"),
        (ECDSA._replace(r=b""), "", "0 bytes, expected 1 to 66"),
        (ECDSA._replace(rsa=b"x"), "scheme", "fields of another scheme are set"),
        (RSASSA._replace(s=b"x"), "scheme", "fields of another scheme are set"),
        (RSASSA._replace(rsa=bytes(513)), "", "513 bytes, expected 1 to 512"),
    ],
)
def test_building_what_cannot_be(refuses, signature, where, fragment):
    refuses(where, fragment, signature.to_bytes)
