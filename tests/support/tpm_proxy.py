"""A socket between a TSS and a swtpm that counts the commands and can answer in the TPM's place.

Faults are made here, on the wire, so that all of the code under test is the real one.
"""

import os
import socket
import threading
from typing import Callable, List, NamedTuple, Optional

HEADER_BYTES = 10
CODES = {
    "ActivateCredential": 0x147,
    "ClockRateAdjust": 0x130,
    "CreatePrimary": 0x131,
    "EvictControl": 0x120,
    "GetCapability": 0x17A,
    "HierarchyChangeAuth": 0x129,
    "NV_Certify": 0x184,
    "NV_DefineSpace": 0x12A,
    "NV_Read": 0x14E,
    "NV_ReadPublic": 0x169,
    "NV_UndefineSpace": 0x122,
    "NV_Write": 0x137,
    "PCR_Extend": 0x182,
    "PCR_Read": 0x17E,
    "PolicySecret": 0x151,
    "Quote": 0x158,
    "ReadPublic": 0x173,
    "StartAuthSession": 0x176,
    "FlushContext": 0x165,
}
NAMES = {code: name for name, code in CODES.items()}


class Command(NamedTuple):
    """``number`` counts from 0; ``name`` is without ``TPM2_``; ``ask`` sends any command to the TPM."""

    number: int
    name: str
    data: bytes
    ask: Callable[[bytes], bytes]


Rule = Callable[[Command], Optional[bytes]]


def response(rc: int) -> bytes:
    """A response without parameters."""
    return (0x8001).to_bytes(2, "big") + HEADER_BYTES.to_bytes(4, "big") + rc.to_bytes(4, "big")


class TpmProxy:
    """Serves ``path`` and ``path.ctrl`` in front of the swtpm at ``target``, until `close`.

    ``rule`` sees every command before the TPM does: None lets it pass, bytes are the answer, and an OSError
    that it raises ends the connection.
    ``commands`` holds the names of all commands, also of those that ``rule`` answered.
    """

    def __init__(self, path: str, target: str) -> None:
        self.path, self.target = path, target
        self.commands: List[str] = []
        self.rule: Rule = lambda command: None
        self._listeners = [self._listen("", self._serve_commands), self._listen(".ctrl", self._serve_control)]

    @property
    def tcti(self) -> str:
        """For the configuration."""
        return "swtpm:path=" + self.path

    def close(self) -> None:
        """Stop listening; a connection that is open ends with its client."""
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _listen(self, ending: str, serve: Callable[[socket.socket, socket.socket], None]) -> socket.socket:
        if os.path.exists(self.path + ending):
            os.unlink(self.path + ending)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path + ending)
        listener.listen(64)
        threading.Thread(target=self._accept, args=(listener, ending, serve), daemon=True).start()
        return listener

    def _accept(
        self, listener: socket.socket, ending: str, serve: Callable[[socket.socket, socket.socket], None]
    ) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                with client, socket.socket(socket.AF_UNIX) as tpm:
                    tpm.connect(self.target + ending)
                    serve(client, tpm)
            except OSError:
                continue  # the TPM or the client went away: so does the connection

    def _serve_commands(self, client: socket.socket, tpm: socket.socket) -> None:
        while True:
            data = _message(client)
            if data is None:
                return
            code = int.from_bytes(data[6:10], "big")
            command = Command(
                len(self.commands), NAMES.get(code, hex(code)), data, lambda other: _ask(tpm, other)
            )
            self.commands.append(command.name)
            answer = self.rule(command)
            if answer is None:
                tpm.sendall(data)
                answer = _message(tpm)
            if answer is None:
                return
            client.sendall(answer)

    @staticmethod
    def _serve_control(client: socket.socket, tpm: socket.socket) -> None:
        while True:
            data = client.recv(4096)
            if not data:
                return
            tpm.sendall(data)
            client.sendall(tpm.recv(4096))


def _ask(tpm: socket.socket, data: bytes) -> bytes:
    tpm.sendall(data)
    answer = _message(tpm)
    if answer is None:
        raise ConnectionError("the TPM is gone")
    return answer


def _message(peer: socket.socket) -> Optional[bytes]:
    head = _exactly(peer, HEADER_BYTES)
    if head is None:
        return None
    rest = _exactly(peer, int.from_bytes(head[2:6], "big") - HEADER_BYTES)
    return None if rest is None else head + rest


def _exactly(peer: socket.socket, size: int) -> Optional[bytes]:
    data = b""
    while len(data) < size:
        piece = peer.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return data
