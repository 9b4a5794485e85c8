"""Which endorsement keys are believed, by a maker of TPMs whose certificates can be wrong in every part."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.credential_opener import endorsement_key
from support.ek_authority import (
    ABSENT,
    EK_USAGE,
    END,
    NOW,
    Authority,
    der,
    key_usage,
    tpm_name,
)
from support.ek_cases import (
    AK,
    ANCHORS,
    CERTIFICATE,
    EVERY,
    FIRST_USE,
    ISSUER,
    KEYS,
    PINNED,
    ROOT,
    STRANGER,
    TOLERATED,
    UNKNOWN,
    decide,
    identity,
    refusal,
)
from xentpm_lib.evidence import attributes as bits
from xentpm_lib.evidence.key_parameters import Scheme
from xentpm_lib.verifier.enrolment.anchors import EkAnchors, fingerprint
from xentpm_lib.verifier.enrolment.ek_trust import check_ak, check_ek
from xentpm_lib.verifier.errors import EnrolmentError

# A good one.


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_certified_through_a_given_intermediate(kind, tmp_path):
    certificate = ISSUER.endorse(KEYS[kind].public_key())
    decision = decide(certificate, key=KEYS[kind])
    assert (decision.trust, decision.warnings) == (CERTIFICATE, ())
    assert decision.detail == "id:49465800 SLB 9672 id:0F10, certified by CN=maker issuer"


@pytest.mark.parametrize("trailing", [b"\0", b"\xff" * 500, b"\0" * 16000, b"0\x82\1\0junk"])
def test_bytes_behind_the_certificate(trailing):
    assert decide(ISSUER.endorse(KEYS["rsa"].public_key()), trailing=trailing).trust is CERTIFICATE


def test_certified_through_what_the_host_sent(tmp_path):
    """Intel's way: the chain is in the TPM."""
    middle = Authority("middle", ROOT)
    leaf_issuer = Authority("on die", middle, extended=[EK_USAGE])
    certificate = leaf_issuer.endorse(KEYS["ecc"].public_key())
    anchors = EkAnchors(roots=(ROOT.certificate,))
    chain = [leaf_issuer.certificate, middle.certificate]
    for order in (chain, chain[::-1], [*chain, STRANGER.certificate, certificate]):
        assert decide(certificate, anchors, key=KEYS["ecc"], chain=order).trust is CERTIFICATE
    assert (
        refusal(certificate, anchors=anchors, key=KEYS["ecc"], chain=chain[:1]).code == "XENTPM_EK_UNTRUSTED"
    )


def test_certified_by_the_root_itself():
    assert decide(ROOT.endorse(KEYS["rsa"].public_key())).trust is CERTIFICATE


def test_a_subject_and_no_names():
    certificate = ISSUER.endorse(KEYS["rsa"].public_key(), names=ABSENT, subject=x509.Name([]))
    assert decide(certificate).detail.startswith("a TPM without a name, certified by")


def test_names_that_would_harm_a_terminal():
    names = tpm_name("id:1\x1b[2J", "m\u202eodel", "v" * 60)
    detail = decide(ISSUER.endorse(KEYS["rsa"].public_key(), names=names)).detail
    assert detail.isprintable()


def test_other_keys_and_hashes_of_authorities():
    for key, algorithm in (
        (rsa.generate_private_key(65537, 2048), hashes.SHA256()),
        (rsa.generate_private_key(65537, 3072), hashes.SHA384()),
        (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
        (ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()),
    ):
        root = Authority("other", key=key, hash=algorithm)
        anchors = EkAnchors(roots=(root.certificate,))
        certificate = root.endorse(KEYS["rsa"].public_key(), hash=algorithm)
        assert decide(certificate, anchors).trust is CERTIFICATE


# The certificate itself.


@pytest.mark.parametrize("now", [0, 1577836799, END.timestamp() + 86400 * 2, 253402300799])
def test_not_in_force(now):
    error = refusal(ISSUER.endorse(KEYS["rsa"].public_key()), now=now)
    assert error.code == "XENTPM_EK_EXPIRED"
    assert "from 2020-01-01 00:00:00 to 2040-01-01 00:00:00, and now it is " in error.message


def test_for_another_key():
    other = rsa.generate_private_key(65537, 2048)
    certificate = ISSUER.endorse(other.public_key())
    for allowed in ([CERTIFICATE], EVERY):
        anchors = EkAnchors(ANCHORS.roots, ANCHORS.intermediates, pins_of(KEYS["rsa"]), True)
        assert refusal(certificate, anchors=anchors, allowed=allowed).code == "XENTPM_EK_MISMATCH"


def test_for_another_key_that_the_bytes_of_ours_are_in():
    """A search for the modulus would find it: in a name."""
    modulus = endorsement_key(KEYS["rsa"]).modulus
    hidden = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), modulus)
    other = rsa.generate_private_key(65537, 2048)
    assert refusal(ISSUER.endorse(other.public_key(), more=[(hidden, False)])).code == "XENTPM_EK_MISMATCH"


def test_with_another_exponent():
    certificate = ISSUER.endorse(KEYS["rsa"].public_key())
    ek = endorsement_key(KEYS["rsa"])._replace(exponent=3)
    assert refusal(certificate, ek=ek).code == "XENTPM_EK_MISMATCH"


WRONG_USES = {
    "no extended usage": {"extended": ABSENT},
    "of servers": {"extended": [x509.ExtendedKeyUsageOID.SERVER_AUTH]},
    "any usage": {"extended": [x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]},
    "of a platform": {"extended": [x509.ObjectIdentifier("2.23.133.8.2")]},
    "of an attestation key": {"extended": [x509.ObjectIdentifier("2.23.133.8.3")]},
    "an authority": {"basic_constraints": x509.BasicConstraints(ca=True, path_length=None)},
    "signs certificates": {"usage": key_usage("key_encipherment", "key_cert_sign")},
    "signs lists": {"usage": key_usage("key_encipherment", "crl_sign")},
    "signs only": {"usage": key_usage("digital_signature")},
    "agreement by rsa": {"usage": key_usage("key_agreement")},
    "unknown critical": {"more": [(UNKNOWN, True)]},
    "critical constraints": {"more": [(x509.PolicyConstraints(0, None), True)]},
}


@pytest.mark.parametrize("parts", WRONG_USES.values(), ids=WRONG_USES)
def test_for_another_use(parts):
    assert refusal(ISSUER.endorse(KEYS["rsa"].public_key(), **parts)).code == "XENTPM_EK_USAGE"


@pytest.mark.parametrize("parts, warnings", TOLERATED.values(), ids=TOLERATED)
def test_not_as_the_profile_says(parts, warnings):
    decision = decide(ISSUER.endorse(KEYS["rsa"].public_key(), **parts))
    assert decision.trust is CERTIFICATE
    assert len(decision.warnings) == warnings


@pytest.mark.parametrize("data", [b"", b"junk", b"0\x03\2\1\1", b"\x30\x82", b"\x30\x80" + bytes(40)])
def test_what_is_no_certificate(data):
    found = identity()._replace(ek_certificate=data)
    with pytest.raises(EnrolmentError) as caught:
        check_ek(found, ANCHORS, {CERTIFICATE}, NOW)
    assert caught.value.code == "XENTPM_EK_MALFORMED"


def test_any_damaged_byte():
    """Whatever is signed is as it was signed. (The count of a signature's unused bits is not looked at.)"""
    data = der(ISSUER.endorse(KEYS["ecc"].public_key()))
    signed = x509.load_der_x509_certificate(data).tbs_certificate_bytes
    found = identity(key=KEYS["ecc"])
    accepted = 0
    for position in range(len(data)):
        damaged = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        try:
            check_ek(found._replace(ek_certificate=damaged), ANCHORS, {CERTIFICATE}, NOW)
        except EnrolmentError:
            continue
        assert x509.load_der_x509_certificate(damaged).tbs_certificate_bytes == signed
        accepted += 1
    assert accepted <= 1


# Other reasons to believe a key.


def pins_of(*keys):
    return frozenset(fingerprint(endorsement_key(key).spki_der()) for key in keys)


def test_pinned():
    anchors = EkAnchors(pins=pins_of(*KEYS.values()))
    for key in KEYS.values():
        decision = decide(None, anchors, EVERY, key=key)
        assert decision.trust is PINNED
        assert fingerprint(endorsement_key(key).spki_der()) in decision.detail


def test_pinned_and_not_in_the_policy():
    anchors = EkAnchors(pins=pins_of(KEYS["rsa"]))
    for allowed in ([], [CERTIFICATE], [FIRST_USE]):
        assert refusal(anchors=anchors, allowed=allowed).code == "XENTPM_EK_UNTRUSTED"


def test_another_pin():
    anchors = EkAnchors(pins=pins_of(KEYS["ecc"]))
    error = refusal(anchors=anchors, allowed=[PINNED])
    assert "not among those pinned" in error.message


def test_a_pinned_key_with_a_certificate_of_nobody():
    anchors = EkAnchors(pins=pins_of(KEYS["rsa"]))
    assert decide(STRANGER.endorse(KEYS["rsa"].public_key()), anchors, EVERY).trust is PINNED
    old = ISSUER.endorse(KEYS["rsa"].public_key(), end=datetime.datetime(2025, 1, 1))
    assert decide(old, anchors, EVERY).trust is PINNED


def test_a_certificate_where_the_policy_wants_pins():
    error = refusal(ISSUER.endorse(KEYS["rsa"].public_key()), allowed=[PINNED])
    assert error.code == "XENTPM_EK_UNTRUSTED"
    assert "policy" in error.message


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("allowed", [[], [CERTIFICATE], [CERTIFICATE, PINNED], [FIRST_USE], EVERY], ids=len)
def test_first_use_needs_policy_and_administrator(wanted, allowed):
    anchors = EkAnchors(allow_first_use=wanted)
    if wanted and FIRST_USE in allowed:
        decision = decide(None, anchors, allowed)
        assert decision.trust is FIRST_USE
        assert "nobody vouches" in decision.warnings[0]
        assert "no EK certificate" in decision.warnings[1]
    else:
        assert refusal(anchors=anchors, allowed=allowed).code == "XENTPM_EK_UNTRUSTED"


def test_nothing_allowed_and_nothing_given():
    certificate = ISSUER.endorse(KEYS["rsa"].public_key())
    for anchors in (EkAnchors(), ANCHORS, EkAnchors(pins=pins_of(KEYS["rsa"]), allow_first_use=True)):
        assert refusal(certificate, anchors=anchors, allowed=[]).code == "XENTPM_EK_UNTRUSTED"


# The keys.


@pytest.mark.parametrize(
    "lost",
    [bits.FIXED_TPM, bits.FIXED_PARENT, bits.SENSITIVE_DATA_ORIGIN, bits.RESTRICTED, bits.DECRYPT],
)
def test_a_key_that_is_no_storage_key(lost):
    ek = endorsement_key(KEYS["rsa"])
    anchors = EkAnchors(pins=pins_of(KEYS["rsa"]), allow_first_use=True)
    for attributes in (ek.attributes & ~lost, ek.attributes | bits.SIGN):
        error = refusal(anchors=anchors, allowed=EVERY, ek=ek._replace(attributes=attributes))
        assert error.code == "XENTPM_EK_UNUSABLE"


def test_a_weak_endorsement_key():
    weak = rsa.generate_private_key(65537, 1024)
    error = refusal(ISSUER.endorse(weak.public_key()), key=weak)
    assert (error.code, "1024" in error.message) == ("XENTPM_EK_UNUSABLE", True)


def point_of(key):
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")


GOOD_AK = AK._replace(**dict(zip("xy", point_of(KEYS["ecc"]), strict=True)))


def test_a_good_attestation_key():
    check_ak(GOOD_AK)
    check_ak(GOOD_AK, hashes={"sha256"})


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"attributes": GOOD_AK.attributes & ~bits.FIXED_TPM}, "fixedTPM is not set"),
        ({"attributes": GOOD_AK.attributes & ~bits.FIXED_PARENT}, "fixedParent is not set"),
        ({"attributes": GOOD_AK.attributes & ~bits.SENSITIVE_DATA_ORIGIN}, "sensitiveDataOrigin is not set"),
        ({"attributes": GOOD_AK.attributes & ~bits.RESTRICTED}, "restricted is not set"),
        ({"attributes": GOOD_AK.attributes & ~bits.SIGN}, "sign is not set"),
        ({"attributes": GOOD_AK.attributes | bits.DECRYPT}, "decrypt is set"),
        ({"scheme": None}, "no signing scheme"),
        ({"scheme": Scheme("ecdh", "sha256")}, "no signing scheme"),
        ({"scheme": Scheme("ecdsa", "sha1")}, "SHA-1"),
        ({"scheme": Scheme("ecdsa", "sm3_256")}, "signs with sm3_256"),
        ({"scheme": Scheme("ecdsa", "sha3_256")}, "signs with sha3_256"),
        ({"name_alg": "sha1"}, "SHA-1"),
        ({"x": bytes(32), "y": bytes(32)}, "no point"),
        ({"y": b"\1" * 32}, "no such public key"),
    ],
)
def test_an_attestation_key_that_proves_nothing(fields, words):
    with pytest.raises(EnrolmentError, match=words) as caught:
        check_ak(GOOD_AK._replace(**fields))
    assert caught.value.code == "XENTPM_AK_UNFIT"


def test_a_hash_that_is_not_wanted():
    with pytest.raises(EnrolmentError, match="signs with sha256"):
        check_ak(GOOD_AK, hashes={"sha384"})
