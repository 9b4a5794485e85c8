"""A pool of simulated hosts, and the real XenAPI client that talks to it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import SafeTransport

import XenAPI

from xentpm_lib.errors import EvidenceError, UsageError

__all__ = ["DemoHost", "DemoPool"]

_END_LIMIT_S = 60
_SIMULATOR = (sys.executable, "-m", "xentpm_lib.simulator.cli")


@dataclass(frozen=True)
class DemoHost:
    """A host as XAPI knows it, and its directory for those who stand beside it."""

    ref: str
    uuid: str
    name: str
    directory: Path


@dataclass(frozen=True)
class DemoPool:
    """A running pool. ``api`` is a logged-in ``XenAPI.Session``.

    certificates: of its servers. ek_ca: of who made its TPMs.
    """

    api: Any
    url: str
    password: str
    certificates: Path
    ek_ca: tuple[Path, ...]
    directory: Path
    hosts: list[DemoHost]

    @classmethod
    @contextmanager
    def started(cls, hosts: int) -> Iterator[DemoPool]:
        """A new pool in a process of its own, ended afterwards. Raises: UsageError when it does not start.

        The process ends with this one however that ends: it waits for the end of its standard input. It is
        out of reach of the terminal's Ctrl-C, so that it is always this process that ends it.
        """
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(
                [*_SIMULATOR, "up", "--json", "--until-eof", "--hosts", str(hosts)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
            ) as process,
        ):
            try:
                line = process.stdout.readline() if process.stdout else ""
                if not line:
                    process.wait(_END_LIMIT_S)
                    said.seek(0)
                    raise UsageError(f"the simulated hosts did not start: {said.read().strip()}")
                yield from cls._connected(json.loads(line))
            finally:
                _end(process)

    @classmethod
    def _connected(cls, access: dict[str, Any]) -> Iterator[DemoPool]:
        hosts = [
            DemoHost(host["ref"], host["uuid"], host["name"], Path(host["dir"])) for host in access["hosts"]
        ]
        api = XenAPI.Session(access["url"], transport=_trusting(access["certificate"]))
        api.xenapi.login_with_password(access["username"], access["password"], "1.0", "xentpm demo")
        directory = hosts[0].directory.parent
        ek_ca = tuple(directory.parent / "ca" / name for name in ("root.pem", "issuer.pem"))
        certificates = Path(access["certificates"])
        yield cls(api, access["url"], access["password"], certificates, ek_ca, directory, hosts)
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
        self._simulator("host", "edit", host.name, component, "--append", text)

    def press(self, button: str, host: DemoHost) -> None:
        """``power-off``, ``replace-tpm`` …: what somebody does who stands before the machine."""
        self._simulator("host", button, host.name)

    def newest_message(self, host: DemoHost) -> dict[str, Any]:
        """The newest XAPI message on a host. Raises: EvidenceError when there is none."""
        records = self.api.xenapi.message.get_all_records()
        found = [one for one in records.values() if one["obj_uuid"] == host.uuid]
        if not found:
            raise EvidenceError(
                f"{host.name} has no message", "This is a defect of xentpm: please report it."
            )
        by_age = sorted(found, key=lambda one: str(one["timestamp"]))
        newest: dict[str, Any] = by_age[-1]  # of those of one second the one that was made last
        return newest

    def _simulator(self, *words: str) -> None:
        command = [*_SIMULATOR, *words, "--dir", os.fspath(self.directory.parent)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_LIMIT_S)
    process.kill()


class _Transport(SafeTransport):
    """A connection for each call: one that is kept open is closed by the server, some time between two."""

    def single_request(self, *request: Any, **options: Any) -> Any:
        """Send one call. Raises: OSError, Fault."""
        self.close()
        return super().single_request(*request, **options)


def _trusting(certificate: str) -> SafeTransport:
    """A transport that accepts the pool's own certificate and no other."""
    return _Transport(context=ssl.create_default_context(cafile=certificate))
