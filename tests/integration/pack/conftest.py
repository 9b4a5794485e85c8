"""Packs that are built once, and empty dom0s to install them in."""

import shutil

import pytest

from support.pack_builds import Packs
from support.pack_root import CONFIG, PackRoot
from xentpm_lib.simulator.swtpm import Swtpm


@pytest.fixture(scope="session")
def packs(tmp_path_factory):
    return Packs(str(tmp_path_factory.mktemp("packs")))


@pytest.fixture
def root(tmp_path):
    """A dom0 without a TPM, in which nothing is installed."""
    folder = tmp_path / "root"
    folder.mkdir()
    with PackRoot(folder) as made:
        yield made


@pytest.fixture
def root_with_tpm(root, packs, manufactured_tpm, tmp_path):
    """A dom0 with a TPM that nobody owns, in which the pack is installed."""
    state = str(tmp_path / "tpm")
    shutil.copytree(manufactured_tpm, state)
    with Swtpm(state) as tpm:
        root.mount(tpm.socket_dir, "/run/swtpm")
        finished = root.install(packs.plain)
        assert finished.status == 0, finished
        root.sh("echo tcti=swtpm:path=/run/swtpm/tpm.sock >>" + CONFIG)
        yield root
