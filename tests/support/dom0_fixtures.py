"""Fixtures: dom0s with software TPMs, manufactured once for the whole run and copied for each test."""

import os
import shutil
from contextlib import contextmanager

import pytest

from support.dom0 import Dom0
from xentpm_lib.simulator.swtpm import Swtpm


@pytest.fixture(scope="session")
def manufactured_tpm(tmp_path_factory):
    """The folder of a new TPM's state: SHA-1 and SHA-256 banks, a certified RSA endorsement key, no owner."""
    return manufacture(tmp_path_factory, "tpm")


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


@contextmanager
def running_dom0(template, folder):
    """A dom0 in ``folder`` that runs on a copy of the TPM state in ``template``."""
    state = os.path.join(str(folder), "tpm")
    shutil.copytree(template, state)
    dom0 = Dom0(os.path.join(str(folder), "root"), state)
    dom0.tpm.start()
    try:
        yield dom0
    finally:
        dom0.tpm.kill()


def manufacture(tmp_path_factory, name, **options):
    """Make a TPM with ``options`` of `Swtpm.manufacture`; returns the folder of its state."""
    folder = tmp_path_factory.mktemp(name)
    Swtpm.manufacture(str(folder / "state"), str(folder / "ca"), **options)
    return str(folder / "state")


@pytest.fixture
def new_dom0(manufactured_tpm, tmp_path):
    """A dom0 that runs for the first time: nobody owns its TPM."""
    with running_dom0(manufactured_tpm, tmp_path) as dom0:
        yield dom0


@pytest.fixture
def dom0(used_tpm, tmp_path):
    """A dom0 whose TPM is owned by it and holds its keys."""
    with running_dom0(used_tpm, tmp_path) as dom0:
        yield dom0


@pytest.fixture
def bare_dom0(tmp_path):
    """A dom0 without a TPM."""
    return Dom0(str(tmp_path / "root"), None)
