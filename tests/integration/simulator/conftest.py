"""Software TPMs and simulated hosts: made once a run, as making one takes a second."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from xentpm_lib.simulator.machine import Machine
from xentpm_lib.simulator.swtpm import Swtpm

# Stands for the project's plugin, and for dom0's boot-time unit that runs with the same interpreter.
PLUGIN = "#!/usr/bin/python3 -I\nimport sys\nprint(sys.argv, sys.flags.isolated)\n"


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the plugin: tells how it was called."""
    path = tmp_path_factory.mktemp("plugin") / "tpm"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="session")
def new_tpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a TPM as it left the factory, and beside it its CA. Not to be run: copy it."""
    place = tmp_path_factory.mktemp("factory")
    Swtpm.manufacture(str(place / "tpm"), str(place / "ca"))
    return place


@pytest.fixture
def tpm(new_tpm: Path, tmp_path: Path):
    """A TPM that runs."""
    state = tmp_path / "tpm"
    shutil.copytree(new_tpm / "tpm", state)
    with Swtpm(str(state)) as running:
        yield running


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Path:
    """Two hosts that were never switched on, ``uefi`` and ``txt``. Not to be run: copy them."""
    place = tmp_path_factory.mktemp("made")
    for name in ("uefi", "txt"):
        Machine.create(place / name, name, txt=name == "txt", ca_dir=place / "ca", plugin_source=plugin)
    return place


@pytest.fixture
def host(made: Path, tmp_path: Path):
    """Returns a host of the kind ``uefi`` or ``txt``, switched on; switched off at the end."""
    running: list[Machine] = []

    def start(kind: str = "uefi") -> Machine:
        directory = tmp_path / "hosts" / kind
        shutil.copytree(made / kind, directory, symlinks=True)
        machine = Machine.load(directory)
        running.append(machine)
        machine.power_on()
        return machine

    yield start
    for machine in running:
        machine.power_off()


@pytest.fixture
def short_dir():
    """A directory with a short path."""
    with tempfile.TemporaryDirectory(prefix="x") as path:
        yield Path(path)
