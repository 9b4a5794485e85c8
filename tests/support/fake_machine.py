"""A machine without a TPM, for the tests of the XAPI endpoint: its plugins are real programs.

Started as a program it runs ``xentpm-sim`` with such machines, or with real ones where ``REAL_MACHINES`` is
set. Simulators are then known in ``TMPDIR`` only, apart from those that somebody runs on this machine.
"""

import json
import os
import sys
import uuid
from pathlib import Path

__all__ = ["FakeMachine", "add_plugin", "answering"]

SUCCESS = (
    "<methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value></member>"
    "<member><name>Value</name><value>%s</value></member></struct></value></param></params></methodResponse>"
)


def answering(value: str) -> str:
    """A plugin that succeeds with this value, which must be XML."""
    return f"#!/bin/sh\ncat <<'END'\n{SUCCESS % value}\nEND\n"


def add_plugin(root: Path, name: str, program: str) -> Path:
    """Install a plugin below a host's root."""
    path = root / "etc/xapi.d/plugins" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(program)
    path.chmod(0o755)
    return path


class FakeMachine:
    """What simulator.xapi.machine.Machine wants, with a file for its memory."""

    def __init__(self, directory: Path, name: str, uuid: str) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.name = name
        self.uuid = uuid
        self.tcti = f"swtpm:path={directory}/tpm.sock"
        self.powered = False
        self.boot_report = None
        self.done: list[str] = []

    @classmethod
    def create(
        cls, directory: Path, name: str, *, txt: bool = False, event_log: bool = True, ca_dir: object = None
    ) -> "FakeMachine":
        directory.mkdir(parents=True)
        machine = cls(directory, name, str(uuid.uuid4()))
        record = {"name": name, "uuid": machine.uuid, "txt": txt, "event_log": event_log}
        (directory / "machine.json").write_text(json.dumps(record))
        add_plugin(machine.root, "tpm", answering(f"I am {name}"))
        return machine

    @classmethod
    def load(cls, directory: Path) -> "FakeMachine":
        record = json.loads((directory / "machine.json").read_text())
        return cls(directory, record["name"], record["uuid"])

    def power_on(self) -> None:
        self.powered = True
        self.done.append("power_on")

    def power_off(self) -> None:
        self.powered = False
        self.boot_report = None
        self.done.append("power_off")

    def reboot(self) -> None:
        self.done.append("reboot")

    def replace_tpm(self) -> None:
        self.done.append("replace_tpm")

    def edit(self, component: str, *, content: object = None, append: object = None) -> None:
        self.done.append(f"edit {component}")

    def components(self) -> list[str]:
        return ["initrd", "kernel"]


if __name__ == "__main__":
    from xentpm_lib.simulator import machine, registry

    registry.BASE = Path(os.environ["TMPDIR"])
    if "REAL_MACHINES" not in os.environ:
        machine.Machine = FakeMachine  # type: ignore[assignment,misc]
    from xentpm_lib.simulator.cli import main

    sys.exit(main())
