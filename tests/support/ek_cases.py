"""A maker of TPMs with its authorities, and what is decided of the keys that it certifies."""

import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.credential_opener import endorsement_key
from support.ek_authority import (
    ABSENT,
    EK_USAGE,
    NOW,
    Authority,
    der,
    key_usage,
    pem,
)
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.key_parameters import Scheme
from xentpm_lib.evidence.public import Public
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.enrolment.ek_trust import check_ek
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
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
TOLERATED = {
    "unknown, not critical": ({"more": [(UNKNOWN, False)]}, 0),
    "more usages": ({"extended": [EK_USAGE, x509.ExtendedKeyUsageOID.CLIENT_AUTH]}, 0),
    "no constraints": ({"basic_constraints": ABSENT}, 0),
    "no usage": ({"usage": ABSENT}, 1),
    "signs, too": ({"usage": key_usage("key_encipherment", "digital_signature")}, 1),
    "no key identifier": ({"no_key_identifier": True}, 0),
}


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
