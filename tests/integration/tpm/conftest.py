"""TPMs of other kinds than the usual one; each is manufactured once for the whole run."""

import shutil

import pytest

from support.dom0 import Dom0
from xentpm_lib.simulator.swtpm import Swtpm


def _manufactured(tmp_path_factory, name, **options):
    folder = tmp_path_factory.mktemp(name)
    Swtpm.manufacture(str(folder / "state"), str(folder / "ca"), **options)
    return str(folder / "state")


def _started(state, tmp_path):
    folder = tmp_path / "another"  # beside the usual dom0, which a test may want too
    shutil.copytree(state, str(folder / "tpm"))
    dom0 = Dom0(str(folder / "root"), str(folder / "tpm"))
    dom0.tpm.start()
    return dom0


@pytest.fixture(scope="session")
def ecc_tpm(tmp_path_factory):
    return _manufactured(tmp_path_factory, "ecc", ecc_ek=True)


@pytest.fixture(scope="session")
def sha1_tpm(tmp_path_factory):
    return _manufactured(tmp_path_factory, "sha1", banks=("sha1",))


@pytest.fixture(scope="session")
def sha384_tpm(tmp_path_factory):
    return _manufactured(tmp_path_factory, "sha384", banks=("sha1", "sha256", "sha384"))


@pytest.fixture
def ecc_dom0(ecc_tpm, tmp_path):
    """A new dom0 whose TPM has a certificate for a P-256 endorsement key and none for an RSA one."""
    dom0 = _started(ecc_tpm, tmp_path)
    yield dom0
    dom0.tpm.kill()


@pytest.fixture
def sha1_dom0(sha1_tpm, tmp_path):
    """A new dom0 with the SHA-1 bank alone."""
    dom0 = _started(sha1_tpm, tmp_path)
    yield dom0
    dom0.tpm.kill()


@pytest.fixture
def sha384_dom0(sha384_tpm, tmp_path):
    """A new dom0 with SHA-1, SHA-256 and SHA-384 banks."""
    dom0 = _started(sha384_tpm, tmp_path)
    yield dom0
    dom0.tpm.kill()
