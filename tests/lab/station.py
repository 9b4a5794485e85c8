"""The management station: ``xentpm-attest`` outside of the machine, which asks dom0 over TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from lab.failures import LabError

__all__ = ["GOOD", "UNTRUSTED", "Said", "Station"]

ROOT = Path(__file__).resolve().parents[2]
GOOD, UNTRUSTED = 0, 3  # exit status
_LIMIT_S = 900
_POLICY = "uefi-grub"
# A command of the emulated dom0 takes as many seconds as it takes milliseconds on a host.
_SLOW = (
    ("[timing]", '[timing]\ncall_timeout = "5m"\nevidence_age = "10m"'),
    (f'"{_POLICY}"', '"lab"'),
)


class Said(NamedTuple):
    """How a command ended."""

    command: str
    status: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"`{self.command}` ended with {self.status}:\n{self.out}{self.err}"


class Station:
    """A station in ``home``, whose administrator has the password of the pool."""

    def __init__(self, home: Path, password: str) -> None:
        self.home = home
        self._environment = dict(
            os.environ, XENTPM_ATTEST_HOME=str(home), XENTPM_PASSWORD=password, PYTHONPATH=str(ROOT)
        )

    def attest(self, *words: str, status: int = GOOD) -> Said:
        """Run ``xentpm-attest``. Raises: LabError when it ends with another status."""
        ended = subprocess.run(
            [sys.executable, "-m", "xentpm_lib.verifier.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            timeout=_LIMIT_S,
        )
        said = Said(" ".join(("xentpm-attest", *words)), ended.returncode, ended.stdout, ended.stderr)
        if said.status != status:
            raise LabError(f"wanted exit status {status}; {said}")
        return said

    def json(self, *words: str, status: int = GOOD) -> Any:
        """What a command says to a program. Raises: LabError."""
        return json.loads(self.attest(*words, "--json", status=status).out)

    def begin(self, folder: Path) -> None:
        """Set it up, with a policy that has patience."""
        self.attest("init")
        policy = self.attest("policy", "show", _POLICY).out
        (folder / "lab.toml").write_text(_patient(policy), "utf-8")
        self.attest("policy", "assign", str(folder / "lab.toml"))

    def enrol(self, url: str, ca: Path, ek_ca: list[Path]) -> Said:
        """Bind the host's keys to it. Raises: LabError."""
        makers = [word for path in ek_ca for word in ("--ek-ca", str(path))]
        return self.attest("enroll", url, "--ca", str(ca), *makers)


def _patient(policy: str) -> str:
    for old, new in _SLOW:
        policy = policy.replace(old, new, 1)
    return policy
