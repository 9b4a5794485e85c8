"""The management station of the demo: ``xentpm-attest`` in a directory of its own, as a program."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.errors import EvidenceError

__all__ = ["DemoStation", "Said"]

_PROGRAM = (sys.executable, "-m", "xentpm_lib.verifier.cli")
_LIMIT_S = 300
_SHOWN_COLUMNS = 75  # of a terminal's 80


@dataclass(frozen=True)
class Said:
    """What a command said. command: as it is shown; out: its standard output."""

    command: str
    out: str
    status: int

    @property
    def lines(self) -> list[str]:
        """The command and its output, for people."""
        return [f"$ {self.command}", *map(_cut, self.out.rstrip("\n").split("\n"))]


def _cut(line: str) -> str:
    return line if len(line) <= _SHOWN_COLUMNS else line[: _SHOWN_COLUMNS - 3] + "..."


class DemoStation:
    """home: the station's directory. desk: where its administrator types, with the files that he has.

    password: of the pool; it goes by the environment.
    """

    def __init__(self, home: Path, password: str) -> None:
        self.home = home
        self.desk = home.with_name(home.name + "-desk")
        self._environment = {**os.environ, "XENTPM_ATTEST_HOME": str(home), "XENTPM_PASSWORD": password}

    def attest(self, *words: str, status: int = 0) -> Said:
        """Run ``xentpm-attest`` as it is shown, at the desk.

        Raises:
            EvidenceError: it ends with another exit status than ``status``.
        """
        ended = subprocess.run(
            [*_PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.desk,
            env=self._environment,
            timeout=_LIMIT_S,
            check=False,
        )
        command = shlex.join(("xentpm-attest", *words))
        if ended.returncode != status:
            said = (ended.stdout + ended.stderr).strip()
            raise EvidenceError(
                f"The demo went wrong: `{command}` ended with {ended.returncode}, not {status}:\n{said}",
                "This is a defect of xentpm: please report it.",
            )
        return Said(command, ended.stdout, ended.returncode)

    def receive(self, pool: Path, makers: tuple[Path, ...]) -> None:
        """Put the certificates of the pool's servers and of its TPMs' makers onto the desk."""
        (self.desk / "tpm-makers").mkdir(parents=True)
        shutil.copy(pool, self.desk / "pool.pem")
        for path in makers:
            shutil.copy(path, self.desk / "tpm-makers" / path.name)

    def configure(self, webhook: str, secret: str) -> None:
        """Tell of changes by messages and marks on the hosts, and by a webhook."""
        (self.home / "webhook.secret").touch(mode=0o600)
        (self.home / "webhook.secret").write_text(secret + "\n", "ascii")
        with (self.home / "station.toml").open("a", encoding="utf-8") as file:
            file.write(
                f'\n[[notify]]\nname = "orchestrator"\ntype = "webhook"\nurl = "{webhook}"\n'
                f'secret_file = "{self.home / "webhook.secret"}"\n'
            )
