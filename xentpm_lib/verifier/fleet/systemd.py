"""Tells systemd how a service is. Nothing happens where it was not started by systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

__all__ = ["Systemd"]

_MICROSECONDS = 1_000_000


class Systemd:
    """The socket that systemd gave to a service of ``Type=notify``.

    environ: instead of the process's own.

    Spec: sd_notify(3).
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environ is None else environ
        self._address = variables.get("NOTIFY_SOCKET", "")
        limit = variables.get("WATCHDOG_USEC", "")
        self._watchdog = limit.isascii() and limit.isdigit()
        self.watchdog_s = int(limit) / _MICROSECONDS if self._watchdog else 0.0

    def ready(self, status: str) -> None:
        """The service works."""
        self._send("READY=1", f"STATUS={status}")

    def alive(self, status: str) -> None:
        """The service still works; to be told within ``watchdog_s``."""
        self._send(f"STATUS={status}", *(["WATCHDOG=1"] if self._watchdog else []))

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass  # nobody listens: no reason to stop working
