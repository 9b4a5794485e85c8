"""Certificates that makers of TPMs have issued, and the rules of the path to their roots."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from support.credential_opener import endorsement_key
from xentpm_lib.errors import UsageError
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.verifier.enrolment.anchors import EkAnchors
from xentpm_lib.verifier.enrolment.ek_chain import _check_path
from xentpm_lib.verifier.enrolment.ek_trust import check_ek
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.records import EkTrust

VECTORS = Path(__file__).parents[3] / "vectors" / "ek_makers"
THEN = datetime(2026, 1, 1, tzinfo=timezone.utc)
UNREADABLE = "nuvoton-root-1110"


def certificate(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((VECTORS / f"{name}.pem").read_bytes())


def anchors(*names: str) -> EkAnchors:
    return EkAnchors.load(VECTORS / f"{name}.pem" for name in names)


def test_the_readme_tells_of_all() -> None:
    rows = re.findall(r"^\| `(.+)\.pem` \|.*\| ([0-9A-F]{8}) \|$", (VECTORS / "README.md").read_text(), re.M)
    assert sorted(name for name, _ in rows) == sorted(path.stem for path in VECTORS.glob("*.pem"))
    for name, digest in rows:
        if name != UNREADABLE:
            assert certificate(name).fingerprint(hashes.SHA256()).hex()[:8].upper() == digest


@pytest.mark.parametrize(
    "names",
    [
        ("infineon-rsa-007", "infineon-rsa-root"),
        ("infineon-ecc-010", "infineon-ecc-root"),
        ("stmicro-rsa-root", "globalsign-tpm-root"),
        ("stmicro-rsa-05", "stmicro-rsa-root", "globalsign-tpm-root"),
        ("intel-spth", "intel-root"),
    ],
    ids=lambda names: names[0],
)
def test_a_path_of_a_maker(names: tuple[str, ...]) -> None:
    """Critical policies, key usages without lists of revocations, no key identifiers: all of it occurs."""
    issuer = certificate(names[0])
    _check_path(issuer, (), anchors(*names[1:]), THEN)
    for late in (datetime(2005, 1, 1, tzinfo=timezone.utc), datetime(2060, 1, 1, tzinfo=timezone.utc)):
        with pytest.raises(EnrolmentError):
            _check_path(issuer, (), anchors(*names[1:]), late)
    with pytest.raises(EnrolmentError):
        _check_path(issuer, (), anchors("amd-rsa-root"), THEN)


@pytest.mark.parametrize("sent", [True, False])
def test_the_endorsement_key_of_a_real_tpm(sent: bool) -> None:
    issued = certificate("infineon-rsa-007-ek")
    key = issued.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    template = endorsement_key(rsa.generate_private_key(65537, key.key_size))
    ek = template._replace(modulus=key.public_numbers().n.to_bytes(key.key_size // 8, "big"))
    chain = (der("infineon-rsa-007"),) if sent else ()
    given = anchors("infineon-rsa-root", *(() if sent else ("infineon-rsa-007",)))
    shown = Identity(der("infineon-rsa-007-ek") + bytes(300), ek, ek, "", chain)
    decision = check_ek(shown, given, {EkTrust.CERTIFICATE}, THEN.timestamp())
    assert decision.trust is EkTrust.CERTIFICATE and decision.warnings == ()
    assert decision.detail.startswith(
        "id:49465800 SLB 9670 TPM2.0 id:0728, certified by CN=Infineon OPTIGA(TM)"
    )
    with pytest.raises(EnrolmentError) as caught:
        check_ek(shown, anchors("infineon-ecc-root"), {EkTrust.CERTIFICATE}, THEN.timestamp())
    assert caught.value.code == "XENTPM_EK_UNTRUSTED"


def der(name: str) -> bytes:
    return certificate(name).public_bytes(Encoding.DER)


def test_makers_whose_certificates_are_not_as_the_standard_says() -> None:
    """Refused, not misread: docs/adr/0006. Their keys can be pinned."""
    with pytest.raises(UsageError) as unreadable:
        anchors(UNREADABLE)
    assert "no certificate that can be read" in unreadable.value.message
    with pytest.raises(EnrolmentError) as refused:
        _check_path(certificate("amd-rsa-prg-rpl"), (), anchors("amd-rsa-root"), THEN)
    assert "--ek-pin" in refused.value.hint
    with pytest.raises(EnrolmentError):
        _check_path(certificate("amd-ecc-root"), (), anchors("amd-ecc-root"), THEN)


def test_a_directory_with_all_of_them() -> None:
    found = EkAnchors.load([VECTORS])
    assert len(found.roots) == 6 and len(found.skipped) == 1 and UNREADABLE in found.skipped[0]
