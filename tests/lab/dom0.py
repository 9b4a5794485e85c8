"""Commands in the machine's dom0, run by the agent that listens there."""

from __future__ import annotations

import base64
import json
import shlex
import socket
from typing import Any, NamedTuple

from lab.failures import LabError

__all__ = ["Agent", "Ended"]

_LIMIT_S = 400


class Ended(NamedTuple):
    """How a command ended."""

    command: str
    status: int
    out: str
    err: str

    def __str__(self) -> str:
        said = "\n".join(filter(None, (self.out.rstrip(), self.err.rstrip())))
        return f"`{self.command}` in dom0 ended with {self.status}:\n{said}"


class Agent:
    """dom0's agent behind a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    def answers(self) -> bool:
        """Whether dom0 is up. Never raises."""
        try:
            return bool(self._ask({"command": ["true"]}, 5)["status"] == 0)
        except (OSError, ValueError):
            return False

    def run(self, command: str, data: bytes = b"") -> Ended:
        """Run a shell command to its end. Raises: LabError when dom0 does not answer."""
        request = {"command": ["/bin/bash", "-c", command], "input": base64.b64encode(data).decode()}
        try:
            answer = self._ask(request, _LIMIT_S)
        except (OSError, ValueError) as error:
            raise LabError(f"dom0 did not answer to `{command}`: {error}") from error
        out, err = (base64.b64decode(answer[key]).decode("utf-8", "replace") for key in ("output", "errors"))
        return Ended(command, answer["status"], out, err)

    def good(self, command: str, data: bytes = b"") -> str:
        """Run a command that has to succeed; returns its output. Raises: LabError."""
        ended = self.run(command, data)
        if ended.status != 0:
            raise LabError(str(ended))
        return ended.out

    def start(self, command: str) -> None:
        """Start a shell command and do not wait for it."""
        self.good(f"setsid bash -c {shlex.quote(command)} </dev/null >/dev/null 2>&1 &")

    def write(self, path: str, data: bytes) -> None:
        """Write a file, in folders that are made where they are not there."""
        quoted = shlex.quote(path)
        self.good(f"mkdir -p $(dirname {quoted}) && cat >{quoted} && sync {quoted}", data)

    def _ask(self, request: dict[str, Any], limit_s: float) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self._port), limit_s) as connection:
            connection.settimeout(limit_s)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer: dict[str, Any] = json.loads(file.readline())
        return answer
