"""Seeing what a process really sends to syslog: it runs where ``/dev/log`` is a socket of the test."""

import os
import socket
import subprocess
from typing import Any, List

# A private mount namespace with a /dev of its own, whose log is a link to our socket.
_SCRIPT = """
mkdir -p "$0/dev"
mount --rbind /dev "$0/dev"
mount -t tmpfs tmpfs /dev
for name in null zero random urandom; do
    : >"/dev/$name"
    mount --bind "$0/dev/$name" "/dev/$name"
done
ln -s "$0/log" /dev/log
exec "$@"
"""
_MAXIMUM_BYTES = 65536


class SystemLog:
    """A syslog daemon that keeps what it is told, with its socket in ``folder``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            self._socket.bind("/proc/self/fd/{}/log".format(descriptor))  # whose path is never too long
        finally:
            os.close(descriptor)
        self._socket.setblocking(False)

    def run(self, command: List[str], **options: Any) -> "subprocess.CompletedProcess[bytes]":
        """Run ``command`` with this log as the system's, and no environment but PATH unless given."""
        user = [] if os.getuid() == 0 else ["--map-root-user", "--user"]
        options.setdefault("env", {"PATH": "/sbin:/usr/sbin:/bin:/usr/bin"})
        return subprocess.run(
            ["unshare", "--mount"] + user + ["/bin/sh", "-e", "-c", _SCRIPT, self.folder] + command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
            **options,
        )

    def lines(self) -> List[str]:
        """The datagrams since the last call."""
        found: List[str] = []
        while True:
            try:
                found.append(self._socket.recv(_MAXIMUM_BYTES).rstrip(b"\0").decode("utf-8"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
