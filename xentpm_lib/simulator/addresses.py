"""Where a pool answers: each host at an address of its own, all at the same ports, and one for control.

Host number N has the address 127.0.0.N and a certificate of its own. Control answers whatever happens to
the hosts: it is for ``xentpm-sim`` itself and for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xentpm_lib.simulator.certificates import make_certificate, server_context
from xentpm_lib.simulator.directory import SimulatorDirectory
from xentpm_lib.simulator.server import Endpoint
from xentpm_lib.simulator.xapi.hosts import Host
from xentpm_lib.simulator.xapi.machine import Machine
from xentpm_lib.simulator.xapi.member import Member
from xentpm_lib.simulator.xapi.service import Xapi
from xentpm_lib.simulator.xapi.store import write_private

__all__ = ["Addresses", "address_of"]


def address_of(number: int) -> str:
    """The address of a host. number: from 1."""
    return f"127.0.0.{number}"


class Addresses:
    """All addresses of a pool. The first host's ports and the one for control are taken at once.

    port: of the URLs, 0 for a free one. plain: HTTP too, whose URLs are the ones to give out then.
    Raises: UsageError when a port cannot be had.
    """

    def __init__(self, directory: SimulatorDirectory, plain: bool, port: int) -> None:
        self._directory = directory
        self._plain = plain
        make_certificate(directory.certificate, directory.key, "xentpm-sim")
        tls = server_context(directory.certificate, directory.key)
        self._first = Endpoint(tls, plain, port)
        self._members: list[Endpoint] = []
        self._hosts: list[Host] = []
        try:
            self._control = Endpoint(tls)
        except BaseException:
            self._first.stop()
            raise

    @property
    def control(self) -> str:
        """The URL of control."""
        return self._control.urls[0]

    def url(self, host: Host) -> str:
        """The URL of a host."""
        return [self._first, *self._members][self._hosts.index(host)].urls[0]

    def certificate(self, machine: Machine, number: int) -> str:
        """The PEM certificate of a host, made when there is none yet. number: from 1."""
        certificate, key = self._files(machine, number)
        if number > 1:
            certificate.parent.mkdir(mode=0o700, exist_ok=True)
        return make_certificate(certificate, key, machine.name, address_of(number))

    def start(self, xapi: Xapi, hosts: Sequence[Host]) -> None:
        """Answer. Raises: UsageError when a port of one of the addresses is in use."""
        self._hosts = list(hosts)
        ports = [*self._first.ports, 0]
        for number, host in enumerate(hosts[1:], 2):
            tls = server_context(*self._files(host.machine, number))
            address = address_of(number)
            member = Endpoint(tls, self._plain, ports[0], address=address, tls_port=ports[1])
            self._members.append(member)
            member.start(Member(xapi, host))
        self._first.start(Member(xapi, hosts[0]))
        self._control.start(xapi)
        write_private(self._directory.certificates, "".join(host.certificate for host in hosts))

    def stop(self) -> None:
        """Take no more connections. May be called twice."""
        for endpoint in (*self._members, self._control, self._first):  # whose ports are free last
            endpoint.stop()

    def _files(self, machine: Machine, number: int) -> tuple[Path, Path]:
        """Certificate and key; the first host's are those of control."""
        if number == 1:
            return self._directory.certificate, self._directory.key
        stem = self._directory.path / "certificates" / machine.uuid
        return stem.with_suffix(".pem"), stem.with_suffix(".key")
