"""Packaging of xentpm: one distribution for dom0 (Python 3.6 and up) and for the verifier (3.10 and up).

Neither half forces the other's dependencies on a machine: dom0's needs a compiler and the TPM2 software
stack (extra ``host``), the verifier's needs neither (extra ``verifier``).
"""

import os
import re

from setuptools import find_packages, setup

HERE = os.path.dirname(os.path.abspath(__file__))

HOST = ["tpm2-pytss>=1.1"]
#: All are wheels, so no compiler is needed; MIT, BSD or Apache. pg8000 speaks PostgreSQL in pure Python.
VERIFIER = [
    package + "; python_version >= '3.10'"
    for package in (
        "XenAPI>=2.14",
        "cryptography>=49",  # extension policies, critical certificate policies among them
        "SQLAlchemy>=2.0",
        "alembic>=1.13",
        "pg8000>=1.30",
        "PyJWT>=2.8",
        "requests>=2.31",
        "apprise>=1.7",
        "rich>=13",
    )
] + ["tomli>=2; python_version == '3.10'"]
DEV = ["coverage>=7.4", "hypothesis>=6.31", "mypy>=1.8", "pytest>=7.0", "pytest-timeout>=2.1", "ruff>=0.11"]


def read(name):
    """The text of a file beside this one; empty where a source archive lacks it."""
    path = os.path.join(HERE, name)
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def version():
    """``__version__`` read as text, so that building never imports the package."""
    found = re.search(r'^__version__ = "([^"]+)"$', read("xentpm_lib/__init__.py"), re.MULTILINE)
    if found is None:
        raise SystemExit('setup.py: xentpm_lib/__init__.py has no line __version__ = "…"')
    return found.group(1)


setup(
    name="xentpm",
    version=version(),
    description="Measured boot and remote attestation for XenServer, Citrix Hypervisor and XCP-ng hosts",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    author="xentpm contributors",
    license="BSD-2-Clause",
    python_requires=">=3.6",
    package_dir={"": "."},  # said aloud, an editable install is a path and no import hook: quicker to start
    packages=find_packages(include=["xentpm_lib", "xentpm_lib.*"]),
    package_data={"xentpm_lib": ["py.typed"], "xentpm_lib.verifier.policy": ["shipped/*.toml"]},
    data_files=[
        ("share/xentpm/plugins", ["plugins/tpm"]),
        ("share/xentpm", ["packaging/station/xentpm-attest.service", "packaging/station/Containerfile"]),
    ],
    zip_safe=False,
    install_requires=[],
    extras_require={"host": HOST, "verifier": VERIFIER, "dev": HOST + VERIFIER + DEV},
    entry_points={
        "console_scripts": [
            "xentpm = xentpm_lib.host.cli:main",
            "xentpm-boot = xentpm_lib.host.boot.cli:main",
            "xentpm-sim = xentpm_lib.simulator.cli:main",
            "xentpm-attest = xentpm_lib.verifier.cli:main",
        ]
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.6",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.13",
        "Topic :: Security",
        "Topic :: System :: Boot",
        "Typing :: Typed",
    ],
)
