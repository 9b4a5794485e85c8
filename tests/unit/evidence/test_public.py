"""evidence/public.py: keys and templates, Names, and what makes an attestation key."""

import pytest

from xentpm_lib.evidence.public import MAX_PUBLIC_SIZE, Public
from xentpm_lib.evidence.tpm_structures import (
    DECRYPT,
    FIXED_PARENT,
    FIXED_TPM,
    RESTRICTED,
    SENSITIVE_DATA_ORIGIN,
    SIGN,
    USER_WITH_AUTH,
    Scheme,
    Symmetric,
)

AK_ATTRIBUTES = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH | RESTRICTED | SIGN
ECC = Public(
    "ecc",
    "sha256",
    AK_ATTRIBUTES,
    scheme=Scheme("ecdsa", "sha256"),
    curve="nist_p256",
    x=b"\x01" * 32,
    y=b"\x02" * 32,
)
RSA = Public(
    "rsa",
    "sha256",
    AK_ATTRIBUTES,
    scheme=Scheme("rsassa", "sha256"),
    key_bits=2048,
    modulus=b"\x80" * 256,
)
STORAGE = Public(
    "rsa", "sha384", 0x300B2, b"p" * 48, Symmetric("aes", 256, "cfb"), key_bits=2048, modulus=bytes(256)
)


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
@pytest.mark.parametrize("key", ["ak", "ek"])
def test_a_tpms_keys(vectors, kind, key):
    data = (vectors / "swtpm" / kind / (key + ".tpm2b")).read_bytes()
    public = Public.from_tpm2b(data)
    assert public.to_tpm2b() == data
    assert Public.from_tpmt(data[2:]) == public
    assert public.type == kind
    assert public.pem() == (vectors / "swtpm" / kind / (key + ".pem")).read_text("ascii")


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_tpms_attestation_key(vectors, kind):
    public = Public.from_tpm2b((vectors / "swtpm" / kind / "ak.tpm2b").read_bytes())
    assert public.name() == (vectors / "swtpm" / kind / "ak.name").read_bytes()
    assert public.attestation_key_faults() == ()
    assert "restricted" in public.attribute_names()


@pytest.mark.parametrize("public", [ECC, RSA, STORAGE, ECC._replace(x=b"", y=b"", scheme=None)])
def test_round_trips(public):
    assert Public.from_tpm2b(public.to_tpm2b()) == public


def test_the_largest_fits():
    largest = STORAGE._replace(name_alg="sha512", auth_policy=bytes(64), key_bits=4096, modulus=bytes(512))
    assert len(largest._replace(scheme=Scheme("oaep", "sha256")).to_tpm2b()) <= MAX_PUBLIC_SIZE


ECC_BYTES = ECC.to_tpmt().hex()
RSA_BYTES = RSA.to_tpmt().hex()


@pytest.mark.parametrize(
    "data, where, fragment",
    [
        ("", "offset 0", "2 bytes wanted"),
        ("0008" + ECC_BYTES[4:], "offset 0", "object type 0x0008 is none of rsa, ecc"),
        ("00230010" + ECC_BYTES[8:], "offset 2", "0x0010 is no hash"),
        ("0023000b80050072" + ECC_BYTES[16:], "attributes", "reserved bits 0x80000000"),
        (ECC_BYTES.replace("000500720000", "00050072000100"), "auth_policy", "expected 0 or 32 bytes, got 1"),
        (ECC_BYTES.replace("000500720000", "000500720041"), "offset 8", "size 65, expected 0 to 64"),
        (ECC_BYTES.replace("000b00030010", "000b00100010"), "offset 16", "curve 0x0010 is none of"),
        (ECC_BYTES.replace("000b00030010", "000b00030007"), "offset 18", "key derivation scheme 0x0007"),
        (ECC_BYTES.replace("00200101", "00430101"), "offset 20", "size 67, expected 0 to 66"),
        (ECC_BYTES[:-2], "offset 56", "32 bytes wanted, 31 left"),
        (ECC_BYTES + "00", "offset 88", "1 trailing bytes"),
        (RSA_BYTES.replace("0014000b0800", "0014000b0801"), "key_bits", "an RSA key of 2049 bits"),
        (RSA_BYTES.replace("0800000000000100", "0800000000010100"), "exponent", "1 is no RSA exponent"),
        (RSA_BYTES.replace("0800000000000100", "0800000100000100"), "exponent", "65536 is no RSA exponent"),
        (
            RSA_BYTES.replace("0800000000000100", "0800000000000201"),
            "offset 22",
            "size 513, expected 0 to 512",
        ),
    ],
)
def test_tpmt_that_is_refused(refuses, data, where, fragment):
    assert data not in (ECC_BYTES, RSA_BYTES)
    refuses(where, fragment, Public.from_tpmt, bytes.fromhex(data))


@pytest.mark.parametrize(
    "data, where, fragment",
    [
        (b"\0", "offset 0", "2 bytes wanted"),
        (b"\4\0" + bytes(1024), "offset 0", "size 1024, expected 0 to 1022"),
        (ECC.to_tpm2b() + b"\0", "offset 90", "1 trailing bytes"),
        (b"\0\0", "offset 0", "TPMT_PUBLIC: 2 bytes wanted"),
    ],
)
def test_tpm2b_that_is_refused(refuses, data, where, fragment):
    refuses(where, fragment, Public.from_tpm2b, data)


@pytest.mark.parametrize(
    "public, where, fragment",
    [
        (ECC._replace(type="keyedhash"), "type", "'keyedhash' is none of rsa, ecc"),
        (ECC._replace(name_alg="md5"), "name_alg", "no hash algorithm"),
        (ECC._replace(attributes=1), "attributes", "reserved"),
        (ECC._replace(curve="bn"), "curve", "'bn' is none of"),
        (ECC._replace(x=bytes(67)), "", "67 bytes, expected 0 to 66"),
        (ECC._replace(modulus=b"x"), "type", "fields of another type of key are set"),
        (RSA._replace(curve="nist_p256"), "type", "fields of another type of key are set"),
        (RSA._replace(modulus=bytes(513)), "", "513 bytes, expected 0 to 512"),
        (RSA._replace(key_bits=0), "key_bits", "an RSA key of 0 bits"),
    ],
)
def test_building_what_cannot_be(refuses, public, where, fragment):
    refuses(where, fragment, public.to_tpm2b)


@pytest.mark.parametrize(
    "public, faults",
    [
        (ECC, ()),
        (RSA, ()),
        (RSA._replace(exponent=65537), ()),
        (ECC._replace(attributes=AK_ATTRIBUTES & ~FIXED_TPM), ("fixedTPM is not set",)),
        (ECC._replace(attributes=AK_ATTRIBUTES & ~FIXED_PARENT), ("fixedParent is not set",)),
        (
            ECC._replace(attributes=AK_ATTRIBUTES & ~SENSITIVE_DATA_ORIGIN),
            ("sensitiveDataOrigin is not set",),
        ),
        (ECC._replace(attributes=AK_ATTRIBUTES & ~RESTRICTED), ("restricted is not set",)),
        (ECC._replace(attributes=AK_ATTRIBUTES & ~SIGN), ("sign is not set",)),
        (ECC._replace(attributes=AK_ATTRIBUTES | DECRYPT), ("decrypt is set",)),
        (ECC._replace(scheme=None), ("it has no signing scheme of its own",)),
        (ECC._replace(scheme=Scheme("ecdh", "sha256")), ("it has no signing scheme of its own",)),
        (ECC._replace(scheme=Scheme("ecdsa", "sha1")), ("it signs SHA-1 digests",)),
        (ECC._replace(name_alg="sha1"), ("its Name is a SHA-1 digest",)),
        (RSA._replace(key_bits=1024, modulus=b"\x80" * 128), ("RSA with 1024 bits is too weak",)),
        (RSA._replace(exponent=3), ("its RSA exponent is 3",)),
        (RSA._replace(modulus=b""), ("the modulus has not 2048 bits",)),
        (RSA._replace(modulus=bytes(256)), ("the modulus has not 2048 bits",)),
        (RSA._replace(modulus=b"\x80" * 255), ("the modulus has not 2048 bits",)),
        (ECC._replace(x=b""), ("there is no point of the curve",)),
        (ECC._replace(x=bytes(32), y=bytes(32)), ("there is no point of the curve",)),
        (ECC._replace(y=bytes(33)), ("there is no point of the curve",)),
        (ECC._replace(attributes=0)._replace(scheme=None), None),
    ],
)
def test_attestation_key_faults(public, faults):
    found = public.attestation_key_faults()
    assert found == faults if faults is not None else len(found) == 6


@pytest.mark.parametrize("public", [RSA._replace(modulus=b""), ECC._replace(x=b""), ECC._replace(curve="bn")])
def test_a_template_has_no_key(refuses, public):
    refuses("unique", "no usable public key", public.key_bytes)
    refuses("unique", "no usable public key", public.spki_der)
    refuses("unique", "no usable public key", public.pem)


def test_short_coordinates_are_padded():
    short = ECC._replace(x=b"\x01", y=b"\x02" * 31)
    padded = ECC._replace(x=bytes(31) + b"\x01", y=b"\0" + b"\x02" * 31)
    assert short.spki_der() == padded.spki_der()
    assert short.name() != padded.name()
    assert short.key_bytes() == b"\x04" + bytes(31) + b"\x01" + b"\0" + b"\x02" * 31
