"""XAPI's front door for one dom0 that is real: its own root, its own TPM, its own plugin.

    python3 -m xentpm_lib.simulator.real_dom0 --certificate /etc/xensource/xapi-ssl.pem --password-file FILE

For a machine that boots Xen but has no XAPI, such as the lab's (docs/lab.md). Everything that a simulated
pool answers is answered here too; only the plugin, and what it finds on the machine, is real. Whoever wants
the machine rebooted, or its files changed, does that as root in dom0.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.simulator.ending import Ending
from xentpm_lib.simulator.server import Endpoint
from xentpm_lib.simulator.xapi.hosts import Host
from xentpm_lib.simulator.xapi.service import Xapi
from xentpm_lib.simulator.xapi.store import Store

__all__ = ["RealDom0", "host_uuid", "main"]

_INVENTORY = "etc/xensource-inventory"
_TCTI = "device:/dev/tpmrm0"
_NOT_HERE = "this host is a real one: do that as root in its dom0"


class RealDom0:
    """The dom0 that this process runs in, as the endpoint needs to see it."""

    boot_report = None

    def __init__(self, root: Path, uuid: str) -> None:
        self.root = root
        self.uuid = uuid
        self.name = socket.gethostname()
        self.tcti = _TCTI
        self.directory = root
        self.powered = True

    def power_on(self) -> None:
        """It runs, or nothing would be asked of it."""

    def power_off(self) -> None:
        """Raises: UsageError."""
        raise UsageError(_NOT_HERE)

    def reboot(self) -> None:
        """Raises: UsageError."""
        raise UsageError(_NOT_HERE)

    def replace_tpm(self) -> None:
        """Raises: UsageError."""
        raise UsageError(_NOT_HERE)

    def edit(self, component: str, *, content: str | None = None, append: str | None = None) -> None:
        """Raises: UsageError."""
        raise UsageError(_NOT_HERE)

    def components(self) -> Sequence[str]:
        """Nothing can be edited from here."""
        return ()


def host_uuid(root: Path) -> str:
    """The uuid in a dom0's inventory. Raises: UsageError when it has none."""
    path = root / _INVENTORY
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    for line in lines:
        if line.startswith("INSTALLATION_UUID="):
            return line.partition("=")[2].strip("'\"")
    raise UsageError(f"{path} has no line INSTALLATION_UUID=")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP; returns the exit status."""
    ending = Ending()
    ending.install()
    try:
        endpoint = _start(_parser().parse_args(argv))
        print(f"answering at {endpoint.urls[0]}", flush=True)
        ending.wait()
        endpoint.stop()
        return 0
    except XenTpmError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    finally:
        ending.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="real_dom0", description="XAPI's front door for this dom0.")
    parser.add_argument("--certificate", type=Path, required=True, help="PEM file: certificate and key")
    parser.add_argument("--password-file", type=Path, required=True, help="root's password for the API")
    parser.add_argument("--database", type=Path, default=Path("/var/lib/xcp/state.json"))
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--root", type=Path, default=Path("/"), help="dom0's file system, / unless given")
    return parser


def _start(options: argparse.Namespace) -> Endpoint:
    """Answer calls. Raises: UsageError."""
    try:
        password = options.password_file.read_text(encoding="utf-8").strip()
        certificate = options.certificate.read_text(encoding="ascii")
        context = _server_context(options.certificate)
        options.database.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot start: {error}") from error
    machine = RealDom0(options.root, host_uuid(options.root))
    store = Store(options.database)
    public = certificate[certificate.find("-----BEGIN CERTIFICATE-----") :]
    host = Host(machine, options.address, public, store.host(machine.uuid))
    endpoint = Endpoint(context, port=options.port, address=options.address)
    endpoint.start(Xapi([host], store, "root", password, pool_name="Lab"))
    return endpoint


def _server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate)
    return context


if __name__ == "__main__":
    sys.exit(main())
