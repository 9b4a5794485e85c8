"""Which endorsement keys are believed, by a maker of TPMs whose certificates can be wrong in every part."""

import datetime
import subprocess

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
    common_name,
    der,
    key_usage,
    pem,
    tpm_name,
)
from xentpm_lib.evidence import attributes as bits
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.key_parameters import Scheme
from xentpm_lib.evidence.public import Public
from xentpm_lib.verifier.enrolment.anchors import EkAnchors, fingerprint
from xentpm_lib.verifier.enrolment.ek_trust import check_ak, check_ek
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.records import EkTrust

CERTIFICATE, PINNED, FIRST_USE = EkTrust.CERTIFICATE, EkTrust.PINNED, EkTrust.FIRST_USE
EVERY = frozenset(EkTrust)
KEYS = {"rsa": rsa.generate_private_key(65537, 2048), "ecc": ec.generate_private_key(ec.SECP256R1())}
ROOT = Authority("maker root")
ISSUER = Authority("maker issuer", ROOT)
STRANGER = Authority("maker root")  # of the same name, with another key
ANCHORS = EkAnchors(roots=(ROOT.certificate,), intermediates=(ISSUER.certificate,))
AK = Public(
    "ecc", "sha256", 0x00050072, scheme=Scheme("ecdsa", "sha256"), curve="nist_p256", x=b"x" * 32, y=b"y" * 32
)


def identity(certificate=None, key=KEYS["rsa"], chain=(), ek=None, trailing=b""):
    data = None if certificate is None else der(certificate) + trailing
    return Identity(data, ek or endorsement_key(key), AK, "", tuple(map(der, chain)))


def decide(certificate=None, anchors=ANCHORS, allowed=(CERTIFICATE,), now=NOW, **fields):
    return check_ek(identity(certificate, **fields), anchors, frozenset(allowed), now)


def refusal(certificate=None, **fields):
    with pytest.raises(EnrolmentError) as caught:
        decide(certificate, **fields)
    assert caught.value.hint
    return caught.value


def openssl_accepts(folder, certificate, chain=(), roots=(ROOT,), now=NOW):
    """The opinion of another implementation on the path alone."""
    files = {"root": [one.certificate for one in roots], "chain": chain, "leaf": [certificate]}
    for name, certificates in files.items():
        (folder / name).write_bytes(pem(*certificates))
    command = ["openssl", "verify", "-x509_strict", "-attime", str(int(now)), "-CAfile", "root"]
    command += ["-untrusted", "chain", "leaf"] if chain else ["leaf"]
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0


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


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
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


TOLERATED = {
    "unknown, not critical": ({"more": [(UNKNOWN, False)]}, 0),
    "more usages": ({"extended": [EK_USAGE, x509.ExtendedKeyUsageOID.CLIENT_AUTH]}, 0),
    "no constraints": ({"basic_constraints": ABSENT}, 0),
    "no usage": ({"usage": ABSENT}, 1),
    "signs, too": ({"usage": key_usage("key_encipherment", "digital_signature")}, 1),
    "no key identifier": ({"no_key_identifier": True}, 0),
}


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


# The path to the root.


def issued_by(**parts):
    return Authority("odd issuer", parts.pop("issuer", ROOT), **parts)


def constrained(*permitted, excluded=()):
    return x509.NameConstraints(permitted or None, excluded or None)


A_NAME, ANOTHER = (x509.DirectoryName(common_name(text)) for text in ("a name", "another"))
CONSTRAINTS = {
    "of directories": constrained(A_NAME),
    "but for a directory": constrained(excluded=(ANOTHER,)),
    "of servers": constrained(x509.DNSName("a.example")),
    "of mailboxes": constrained(x509.RFC822Name("a.example")),
}
BREACHES = {  # subjects without alternative names
    "of directories": common_name("another"),
    "but for a directory": common_name("another"),
    "of servers": common_name("b.example"),
    "of mailboxes": x509.Name([x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "me@b.example")]),
}


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize("above", [True, False], ids=["above", "issuer"])
@pytest.mark.parametrize("what", CONSTRAINTS)
def test_an_authority_for_some_names_only(what, above, critical, tmp_path):
    """OpenSSL refuses the subject; the library that builds the path does not look at it."""
    issuer = last = issued_by(more=[(CONSTRAINTS[what], critical)])
    if above:
        last = Authority("a name", issuer)
    certificate = last.endorse(KEYS["rsa"].public_key(), names=ABSENT, subject=BREACHES[what])
    chain = [one.certificate for one in (issuer, last)]
    assert not openssl_accepts(tmp_path, certificate, chain)
    assert refusal(certificate, chain=chain).code == "XENTPM_EK_UNTRUSTED"
    other = Authority("odd issuer", ROOT, key=issuer.key)  # another path to the same key
    assert decide(certificate, chain=[*chain, other.certificate]).trust is CERTIFICATE


@pytest.mark.parametrize("critical", [True, False])
def test_a_root_for_some_names_only(critical, tmp_path):
    root = Authority("narrow", more=[(CONSTRAINTS["of directories"], critical)])
    subject = BREACHES["of directories"]
    certificate = root.endorse(KEYS["rsa"].public_key(), names=ABSENT, subject=subject)
    assert not openssl_accepts(tmp_path, certificate, roots=[root])
    anchors = EkAnchors(roots=(root.certificate,))
    assert refusal(certificate, anchors=anchors).code == "XENTPM_EK_UNTRUSTED"


def long_chain(length):
    issuers = [ROOT]
    for number in range(length):
        issuers.append(Authority("issuer {}".format(number), issuers[-1]))
    return issuers[1:]


BROKEN_ISSUERS = {
    "expired": {"end": datetime.datetime(2025, 1, 1)},
    "not yet": {"start": datetime.datetime(2030, 1, 1)},
    "no authority": {"basic_constraints": x509.BasicConstraints(ca=False, path_length=None)},
    "no constraints": {"basic_constraints": ABSENT},
    "signs no certificates": {"usage": key_usage("digital_signature")},
    "for servers": {"extended": [x509.ExtendedKeyUsageOID.SERVER_AUTH]},
    "unknown critical": {"more": [(UNKNOWN, True)]},
    "by a stranger": {"issuer": STRANGER},
    "weak key": {"key": rsa.generate_private_key(65537, 1024)},
    "weak hash": {"hash": hashes.SHA224()},
}


@pytest.mark.parametrize("parts", BROKEN_ISSUERS.values(), ids=BROKEN_ISSUERS)
def test_issuers_that_may_not_issue(parts):
    issuer = issued_by(**parts)
    certificate = issuer.endorse(KEYS["rsa"].public_key())
    error = refusal(certificate, chain=[issuer.certificate])
    assert error.code == "XENTPM_EK_UNTRUSTED"
    assert "--ek-ca" in error.hint
    assert "no path leads" in error.message and "candidates" not in error.message
    given = EkAnchors(ANCHORS.roots, (issuer.certificate,))
    assert refusal(certificate, anchors=given).code == "XENTPM_EK_UNTRUSTED"


def test_an_ek_that_issues_certificates():
    """Whoever has one TPM of the maker could otherwise certify any key as a TPM's."""
    tpm = ec.generate_private_key(ec.SECP256R1())
    mine = ISSUER.endorse(
        tpm.public_key(), subject=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ek")])
    )
    forger = Authority("ek", key=tpm)
    certificate = forger.endorse(KEYS["rsa"].public_key())
    assert refusal(certificate, chain=[mine, forger.certificate]).code == "XENTPM_EK_UNTRUSTED"


def test_length_of_the_path():
    short = Authority("short", ROOT, basic_constraints=x509.BasicConstraints(ca=True, path_length=0))
    below = Authority("below", short)
    assert decide(short.endorse(KEYS["rsa"].public_key()), chain=[short.certificate]).trust is CERTIFICATE
    chain = [short.certificate, below.certificate]
    assert refusal(below.endorse(KEYS["rsa"].public_key()), chain=chain).code == "XENTPM_EK_UNTRUSTED"


@pytest.mark.parametrize("length, good", [(1, True), (4, True), (8, True), (9, False), (14, False)])
def test_depth(length, good):
    issuers = long_chain(length)
    chain = [one.certificate for one in issuers]
    certificate = issuers[-1].endorse(KEYS["rsa"].public_key())
    if good:
        assert decide(certificate, chain=chain).trust is CERTIFICATE
    else:
        assert refusal(certificate, chain=chain).code == "XENTPM_EK_UNTRUSTED"


def test_self_signed():
    lonely = Authority("maker root")
    certificate = lonely.endorse(KEYS["rsa"].public_key())
    assert refusal(certificate, chain=[lonely.certificate]).code == "XENTPM_EK_UNTRUSTED"


def test_a_root_that_the_host_sends_is_no_root():
    certificate = STRANGER.endorse(KEYS["rsa"].public_key())
    error = refusal(certificate, anchors=EkAnchors(), chain=[STRANGER.certificate])
    assert error.code == "XENTPM_EK_UNTRUSTED"
    assert "no certificates of TPM makers" in error.message


@pytest.mark.parametrize("years, now", [((2021, 2023), 1640995200), ((2030, 2035), 1956528000)])
def test_the_time_is_the_one_that_is_given(years, now, tmp_path):
    """Not that of this machine, on which these authorities are in force never, or not yet."""
    dates = {"start": datetime.datetime(years[0], 1, 1), "end": datetime.datetime(years[1], 1, 1)}
    issuer = Authority("short-lived", ROOT, **dates)
    certificate = issuer.endorse(KEYS["rsa"].public_key())
    assert decide(certificate, chain=[issuer.certificate], now=now).trust is CERTIFICATE
    assert openssl_accepts(tmp_path, certificate, [issuer.certificate], now=now)
    assert refusal(certificate, chain=[issuer.certificate]).code == "XENTPM_EK_UNTRUSTED"


def test_an_expired_root():
    root = Authority("old", end=datetime.datetime(2025, 1, 1))
    certificate = root.endorse(KEYS["rsa"].public_key())
    assert refusal(certificate, anchors=EkAnchors((root.certificate,))).code == "XENTPM_EK_UNTRUSTED"


def test_many_authorities_of_one_name_end_soon():
    """All alike, so that a search could try every order of them."""
    issuers = [Authority("same", STRANGER) for _ in range(15)]
    cross = [Authority("same", one, key=one.key) for one in issuers]
    certificate = issuers[0].endorse(KEYS["rsa"].public_key())
    chain = [one.certificate for one in [*issuers[:8], *cross[:8]]]
    assert refusal(certificate, chain=chain).code == "XENTPM_EK_UNTRUSTED"


@pytest.mark.parametrize("junk", [b"", b"junk", b"0\0"])
def test_junk_in_the_chain(junk):
    found = identity(ISSUER.endorse(KEYS["rsa"].public_key()))._replace(ek_certificate_chain=(junk,))
    assert check_ek(found, ANCHORS, {CERTIFICATE}, NOW).trust is CERTIFICATE


# OpenSSL has to accept whatever path is accepted here.


@pytest.mark.parametrize("issuer", ["none", *sorted(BROKEN_ISSUERS)])
@pytest.mark.parametrize("leaf", ["plain", "no usage", "no constraints", "more usages"])
def test_openssl_accepts_no_less(issuer, leaf, tmp_path):
    authority = Authority("issuer", ROOT) if issuer == "none" else issued_by(**BROKEN_ISSUERS[issuer])
    parts = {} if leaf == "plain" else TOLERATED[leaf][0]
    certificate = authority.endorse(KEYS["rsa"].public_key(), **parts)
    try:
        decide(certificate, chain=[authority.certificate])
    except EnrolmentError:
        assert issuer != "none"
    else:
        assert openssl_accepts(tmp_path, certificate, [authority.certificate])


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
