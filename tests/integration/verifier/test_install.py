"""``pip install xentpm[verifier]``: wheels alone, on a machine without compiler and TPM software."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COPIED = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "plugins", "xentpm_lib")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The programs of a new environment in which the wheel was installed, and nothing else by hand."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"  # a build leaves files beside setup.py
    source.mkdir()
    found = [str(ROOT / name) for name in COPIED if (ROOT / name).exists()]
    subprocess.run(["cp", "-r", *found, str(source)], check=True)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "dist",
        ".",
    ]
    subprocess.run(build, check=True, cwd=source)
    (wheel,) = (source / "dist").glob("xentpm-*.whl")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv/bin"
    install = [
        programs / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--only-binary",
        ":all:",
        f"{wheel}[verifier]",
    ]
    subprocess.run(install, check=True, cwd=folder)
    return programs


def run(program, *arguments, home):
    """Without a compiler: nothing but the environment's programs is in PATH."""
    environment = {
        "PATH": str(Path(program).parent),
        "HOME": str(home),
        "XENTPM_ATTEST_HOME": str(home / "s"),
    }
    return subprocess.run(
        [program, *arguments], cwd=home, env=environment, capture_output=True, text=True, timeout=200
    )


def test_the_command_works(installed, tmp_path):
    assert "enroll" in run(installed / "xentpm-attest", "--help", home=tmp_path).stdout
    made = run(installed / "xentpm-attest", "init", home=tmp_path)
    assert made.returncode == 0 and (tmp_path / "s/store.sqlite").stat().st_mode & 0o777 == 0o600, made
    listed = run(installed / "xentpm-attest", "policy", "list", home=tmp_path)
    assert listed.returncode == 0 and "uefi-grub" in listed.stdout, listed


def test_no_tpm_software_is_there(installed, tmp_path):
    code = "import importlib.util as u; print([m for m in ('tpm2_pytss', 'setuptools') if u.find_spec(m)])"
    found = run(installed / "python", "-I", "-c", code, home=tmp_path)
    assert "tpm2_pytss" not in found.stdout and found.returncode == 0
