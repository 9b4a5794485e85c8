"""``xentpm-attest`` as a program, for tests: with and without a terminal.

station = AttestCli(directory, pool)
station.run("attest").status
station.json("hosts")
station.typed(["enroll", url], {"Is it the same": "yes", "Password": pool.password})
"""

import codecs
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from support.pool import SimPool

__all__ = ["PROGRAM", "AttestCli", "Ended"]

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "xentpm_lib.verifier.cli"]
LIMIT_S = 300
_OF_A_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Ended(NamedTuple):
    """How a command ended. On a terminal ``out`` is all that was shown."""

    status: int
    out: str
    err: str = ""


class AttestCli:
    """A station in ``home``. Without a password in the environment unless ``secret`` says so."""

    def __init__(self, home: Path, pool: Optional[SimPool] = None, secret: bool = True) -> None:
        self.home = home
        self.pool = pool
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("XENTPM_") and name not in _OF_A_TERMINAL
        }
        self.env: Dict[str, str] = dict(kept, PYTHONPATH=str(ROOT), XENTPM_ATTEST_HOME=str(home))
        if pool is not None and secret:
            self.env["XENTPM_PASSWORD"] = pool.password

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command."""
        settings: Dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "universal_newlines": True,
            "env": self.env,
        }
        settings.update(options)
        return subprocess.Popen([*PROGRAM, *words], **settings)

    def run(self, *words: str, **env: str) -> Ended:
        """Run a command to its end; never a traceback, never the password."""
        with self.start(*words, env=dict(self.env, **env)) as process:
            try:
                out, err = process.communicate(timeout=LIMIT_S)
            finally:
                process.kill()
        self._check(out + err)
        return Ended(process.returncode, out, err)

    def good(self, *words: str) -> str:
        """Run a command that has to succeed; its output."""
        ended = self.run(*words)
        assert ended.status == 0, ended
        return ended.out

    def json(self, *words: str, status: int = 0) -> Any:
        """What a command says to a program."""
        ended = self.run(*words, "--json")
        assert ended.status == status, ended
        return json.loads(ended.out)

    def ready(self, label: str = "installed") -> "AttestCli":
        """A station whose hosts are enrolled and have baselines."""
        assert self.pool is not None
        self.good("init")
        self.good("enroll", self.pool.url, *self.trust())
        if label:
            self.good("baseline", "capture", "--all", "--label", label)
        return self

    def trust(self) -> List[str]:
        """How to recognise the pool's servers and TPMs."""
        assert self.pool is not None
        ca = str(self.pool.ready["certificates"])
        return ["--ca", ca, *self.ek_ca()]

    def ek_ca(self) -> List[str]:
        """Whom to believe that a TPM is one."""
        assert self.pool is not None
        return [word for path in self.pool.ek_ca for word in ("--ek-ca", str(path))]

    def typed(self, words: List[str], answers: Dict[str, str], term: str = "xterm") -> Ended:
        """Run a command on a terminal and answer each question that contains a key, once.

        term: what the terminal says it can do, whatever terminal the tests themselves have.
        """
        pid, terminal = pty.fork()
        if pid == 0:  # pragma: no cover
            os.execve(sys.executable, [*PROGRAM, *words], dict(self.env, TERM=term))
        shown, waiting = "", dict(answers)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end within a character
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    data = os.read(terminal, 4096)
                except OSError:  # Linux says so when the other side has closed
                    break
                if not data:
                    break
                shown += decoder.decode(data)
            for question in [one for one in waiting if one in shown]:
                os.write(terminal, waiting.pop(question).encode() + b"\n")
        os.close(terminal)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        text = _ESCAPES.sub("", shown).replace("\r\n", "\n")
        self._check(text)
        return Ended(status, text)

    def _check(self, said: str) -> None:
        assert "Traceback" not in said and "defect" not in said, said
        if self.pool is not None:
            assert self.pool.password not in said
