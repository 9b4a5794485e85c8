"""A socket in front of a swtpm that sends its client a signal right before or right after a TPM command."""

import signal
import socket
import subprocess
import threading
from typing import Callable, NamedTuple, Optional

from support.tpm_proxy import Command, TpmProxy

VICTIM_LIMIT_S = 300


class KillPoint(NamedTuple):
    """Before the TPM sees command ``number`` (from 0), or after it was executed, before the client knows."""

    number: int
    after: bool


class KillProxy(TpmProxy):
    """``point`` is where the victim gets the signal; None lets it live."""

    def __init__(self, path: str, target: str) -> None:
        self.point: Optional[KillPoint] = None
        self._signal = signal.SIGKILL
        self._delay_s: Optional[float] = None
        self._victim: Optional[subprocess.Popen] = None
        self._known = threading.Event()
        super().__init__(path, target)
        self.rule = self._before

    def arm(
        self,
        point: Optional[KillPoint],
        number: signal.Signals = signal.SIGKILL,
        delay_s: Optional[float] = None,
    ) -> None:
        """Count commands from 0 again; the process that `aim` names next gets the signal at ``point``.

        With ``delay_s`` it goes on and gets the signal that much later, unless it has ended.
        """
        self._known.clear()
        self.commands.clear()
        self.point, self._signal, self._delay_s = point, number, delay_s

    def aim(self, process: subprocess.Popen) -> None:
        """Name the victim, which was just started."""
        self._victim = process
        self._known.set()

    def _before(self, command: Command) -> None:
        self._strike(KillPoint(command.number, False))

    def _serve_commands(self, client: socket.socket, tpm: socket.socket) -> None:
        watched = _WatchedClient(client, lambda: self._strike(KillPoint(len(self.commands) - 1, True)))
        super()._serve_commands(watched, tpm)  # type: ignore[arg-type]

    def _strike(self, here: KillPoint) -> None:
        if here != self.point:
            return
        assert self._known.wait(VICTIM_LIMIT_S)
        assert self._victim is not None
        self.point = None
        if self._delay_s is not None:
            threading.Timer(self._delay_s, self._victim.send_signal, [self._signal]).start()
            return
        self._victim.send_signal(self._signal)
        if self._signal == signal.SIGKILL:
            raise ConnectionAbortedError("the client was killed")


class _WatchedClient:
    """The client's socket, with a call before each answer is sent."""

    def __init__(self, client: socket.socket, before_answer: Callable[[], None]) -> None:
        self._client, self._before_answer = client, before_answer

    def recv(self, size: int) -> bytes:
        return self._client.recv(size)

    def sendall(self, data: bytes) -> None:
        self._before_answer()
        self._client.sendall(data)
