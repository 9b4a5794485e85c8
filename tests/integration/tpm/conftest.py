"""TPMs of other kinds than the usual one; each is manufactured once for the whole run."""

import pytest

from support.dom0_fixtures import manufacture, running_dom0

OTHER = "other"  # beside the usual dom0, which a test may want too


@pytest.fixture(scope="session")
def ecc_tpm(tmp_path_factory):
    return manufacture(tmp_path_factory, "ecc", ecc_ek=True)


@pytest.fixture(scope="session")
def sha1_tpm(tmp_path_factory):
    return manufacture(tmp_path_factory, "sha1", banks=("sha1",))


@pytest.fixture(scope="session")
def sha384_tpm(tmp_path_factory):
    return manufacture(tmp_path_factory, "sha384", banks=("sha1", "sha256", "sha384"))


@pytest.fixture
def ecc_dom0(ecc_tpm, tmp_path):
    """A new dom0 whose TPM has a certificate for a P-256 endorsement key and none for an RSA one."""
    with running_dom0(ecc_tpm, tmp_path / OTHER) as dom0:
        yield dom0


@pytest.fixture
def sha1_dom0(sha1_tpm, tmp_path):
    """A new dom0 with the SHA-1 bank alone."""
    with running_dom0(sha1_tpm, tmp_path / OTHER) as dom0:
        yield dom0


@pytest.fixture
def sha384_dom0(sha384_tpm, tmp_path):
    """A new dom0 with SHA-1, SHA-256 and SHA-384 banks."""
    with running_dom0(sha384_tpm, tmp_path / OTHER) as dom0:
        yield dom0
