"""What vouches for the keys of a real swtpm, whose certificates are made by swtpm's own tools."""

import time

import pytest

from support.dom0_fixtures import running_dom0
from support.in_process import call
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.host import functions
from xentpm_lib.simulator.swtpm import Swtpm
from xentpm_lib.verifier.enrolment.anchors import EkAnchors, fingerprint
from xentpm_lib.verifier.enrolment.ek_trust import check_ak, check_ek
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.records import EkTrust


@pytest.fixture(scope="module", params=["rsa", "p256"])
def made(request, tmp_path_factory):
    """The identity of a new TPM, and the directory of the authority that certified it."""
    folder = tmp_path_factory.mktemp("made-" + request.param)
    Swtpm.manufacture(str(folder / "state"), str(folder / "ca"), ecc_ek=request.param == "p256")
    with running_dom0(str(folder / "state"), folder / "dom0") as dom0:
        identity = Identity.from_xml(call(dom0, functions.get_identity))
    assert identity.ek.type == {"rsa": "rsa", "p256": "ecc"}[request.param]
    return identity, folder / "ca"


def test_certified(made):
    identity, folder = made
    for paths in ([folder / "root.pem", folder / "issuer.pem"], [folder]):
        decision = check_ek(identity, EkAnchors.load(paths), {EkTrust.CERTIFICATE}, time.time())
        assert decision.trust is EkTrust.CERTIFICATE
        assert decision.detail.startswith("id:00001014 swtpm")
        assert decision.warnings == ()
    check_ak(identity.ak)


def test_by_another_authority(made, tmp_path):
    identity, _ = made
    Swtpm.manufacture(str(tmp_path / "state"), str(tmp_path / "ca"))
    with pytest.raises(EnrolmentError) as caught:
        check_ek(identity, EkAnchors.load([tmp_path / "ca"]), {EkTrust.CERTIFICATE}, time.time())
    assert caught.value.code == "XENTPM_EK_UNTRUSTED"


def test_without_the_intermediate(made):
    identity, folder = made
    anchors = EkAnchors.load([folder / "root.pem"])
    with pytest.raises(EnrolmentError) as caught:
        check_ek(identity, anchors, {EkTrust.CERTIFICATE}, time.time())
    assert "intermediates" in caught.value.hint


def test_pinned(made, tmp_path):
    identity, _ = made
    (tmp_path / "ek.tpm2b").write_bytes(identity.ek.to_tpm2b())
    (tmp_path / "ek.pem").write_text(identity.ek.pem())
    for pin in (str(tmp_path / "ek.tpm2b"), str(tmp_path / "ek.pem"), fingerprint(identity.ek.spki_der())):
        decision = check_ek(identity, EkAnchors.load(pins=[pin]), {EkTrust.PINNED}, time.time())
        assert decision.trust is EkTrust.PINNED
