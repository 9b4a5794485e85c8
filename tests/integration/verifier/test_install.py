"""``pip install xentpm[verifier]``: wheels alone, on a machine without compiler and TPM software."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COPIED = (
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "MANIFEST.in",
    "packaging",
    "plugins",
    "xentpm_lib",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def source_archive(tmp_path_factory):
    """The source distribution, made of the files that are in a checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"  # a build leaves files beside setup.py
    source.mkdir()
    found = [str(ROOT / name) for name in COPIED if (ROOT / name).exists()]
    subprocess.run(["cp", "-r", *found, str(source)], check=True)
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], check=True, cwd=source, capture_output=True)
    (archive,) = (source / "dist").glob("xentpm-*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def installed(source_archive, tmp_path_factory):
    """The programs of a new environment: the source archive's wheel was installed, nothing else by hand."""
    folder = tmp_path_factory.mktemp("install")
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", str(source_archive)]
    subprocess.run(build, check=True, cwd=folder)
    (wheel,) = (folder / "dist").glob("xentpm-*.whl")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv/bin"
    install = [programs / "python", "-m", "pip", "install", "-q", "--only-binary", ":all:"]
    subprocess.run([*install, f"{wheel}[verifier]"], check=True, cwd=folder)
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


def test_the_unit_and_the_plugin_come_with_it(installed):
    shared = installed.parent / "share/xentpm"
    assert "xentpm-attest watch" in (shared / "xentpm-attest.service").read_text("utf-8")
    assert {"Containerfile", "plugins", "xentpm-attest.service"} == {path.name for path in shared.iterdir()}


def test_the_source_archive_has_what_builds_and_tests_it(source_archive):
    with tarfile.open(source_archive) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"packaging/station/Containerfile", "plugins/tpm", "setup.py", "xentpm_lib/host/cli.py"} <= names
    assert not [name for name in names if name.endswith(".pyc")]
