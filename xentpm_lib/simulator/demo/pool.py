"""A pool of simulated hosts, and the real XenAPI client that talks to it."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import SafeTransport

import XenAPI

from xentpm_lib.errors import UsageError

__all__ = ["DemoHost", "DemoPool"]

_END_LIMIT_S = 20


@dataclass(frozen=True)
class DemoHost:
    """A host as XAPI knows it, and its directory for those who stand beside it."""

    ref: str
    name: str
    directory: Path


@dataclass(frozen=True)
class DemoPool:
    """A running pool. ``api`` is a logged-in ``XenAPI.Session``."""

    api: Any
    url: str
    directory: Path
    hosts: list[DemoHost]

    @classmethod
    @contextmanager
    def started(cls, hosts: int) -> Iterator[DemoPool]:
        """A new pool in a process of its own, ended afterwards. Raises: UsageError when it does not start."""
        command = [sys.executable, "-m", "xentpm_lib.simulator.cli", "up", "--json", "--hosts", str(hosts)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield from cls._connected(process)
            finally:
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_END_LIMIT_S)
                process.kill()

    @classmethod
    def _connected(cls, process: subprocess.Popen[str]) -> Iterator[DemoPool]:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise UsageError(
                "the simulated hosts did not start", "The lines above say why; make setup mends most."
            )
        access = json.loads(line)
        hosts = [DemoHost(host["ref"], host["name"], Path(host["dir"])) for host in access["hosts"]]
        api = XenAPI.Session(access["url"], transport=_trusting(access["certificate"]))
        api.xenapi.login_with_password(access["username"], access["password"], "1.0", "xentpm demo")
        try:
            yield cls(api, access["url"], hosts[0].directory.parent, hosts)
        finally:
            api.xenapi.session.logout()

    def call(self, host: DemoHost, function: str, **arguments: str) -> str:
        """Call a function of the host's plugin ``tpm``."""
        return str(self.api.xenapi.host.call_plugin(host.ref, "tpm", function, arguments))

    def reboot(self, host: DemoHost) -> None:
        """Reboot a host the way an administrator does: disable, reboot; it is enabled when it is up."""
        self.api.xenapi.host.disable(host.ref)
        self.api.xenapi.host.reboot(host.ref)

    def edit(self, host: DemoHost, component: str, text: str) -> None:
        """Change one of the host's files, as somebody in its dom0 could."""
        command = [sys.executable, "-m", "xentpm_lib.simulator.cli", "host", "edit", host.name, component]
        directory = os.fspath(self.directory.parent)
        subprocess.run(
            [*command, "--append", text, "--dir", directory], check=True, stdout=subprocess.DEVNULL
        )


def _trusting(certificate: str) -> SafeTransport:
    """A transport that accepts the pool's own certificate and no other."""
    return SafeTransport(context=ssl.create_default_context(cafile=certificate))
