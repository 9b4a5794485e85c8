"""Fixtures: dom0s with software TPMs, manufactured once for the whole run and copied for each test."""

import os
import shutil

import pytest

from support.dom0 import Dom0
from xentpm_lib.simulator.swtpm import Swtpm


@pytest.fixture(scope="session")
def manufactured_tpm(tmp_path_factory):
    """The folder of a new TPM's state: SHA-1 and SHA-256 banks, a certified RSA endorsement key, no owner."""
    folder = tmp_path_factory.mktemp("tpm")
    Swtpm.manufacture(str(folder / "state"), str(folder / "ca"))
    return str(folder / "state")


@pytest.fixture(scope="session")
def used_tpm(manufactured_tpm, tmp_path_factory):
    """The same with an owner and both keys made, which takes a second or two."""
    folder = tmp_path_factory.mktemp("used")
    state = str(folder / "state")
    shutil.copytree(manufactured_tpm, state)
    dom0 = Dom0(str(folder / "root"), state)
    with dom0.tpm:
        dom0.call("tpm_get_attestation_identity")
    return state


def _dom0(template, folder):
    state = os.path.join(str(folder), "tpm")
    shutil.copytree(template, state)
    dom0 = Dom0(os.path.join(str(folder), "root"), state)
    dom0.tpm.start()
    return dom0


@pytest.fixture
def new_dom0(manufactured_tpm, tmp_path):
    """A dom0 that runs for the first time: nobody owns its TPM."""
    dom0 = _dom0(manufactured_tpm, tmp_path)
    yield dom0
    dom0.tpm.kill()


@pytest.fixture
def dom0(used_tpm, tmp_path):
    """A dom0 whose TPM is owned by it and holds its keys."""
    dom0 = _dom0(used_tpm, tmp_path)
    yield dom0
    dom0.tpm.kill()


@pytest.fixture
def bare_dom0(tmp_path):
    """A dom0 without a TPM."""
    return Dom0(str(tmp_path / "root"), None)
