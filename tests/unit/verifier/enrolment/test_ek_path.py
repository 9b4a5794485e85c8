"""The path from an endorsement key to a root, by authorities that can be wrong in every part."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.ek_authority import (
    ABSENT,
    NOW,
    Authority,
    common_name,
    key_usage,
)
from support.ek_cases import (
    ANCHORS,
    CERTIFICATE,
    ISSUER,
    KEYS,
    ROOT,
    STRANGER,
    TOLERATED,
    UNKNOWN,
    decide,
    identity,
    openssl_accepts,
    refusal,
)
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.enrolment.ek_trust import check_ek
from xentpm_lib.verifier.errors import EnrolmentError

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
