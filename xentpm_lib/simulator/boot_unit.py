"""Running what a host's dom0 runs once at boot: ``xentpm --boot``."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.simulator.dom0_tree import CONFIG, LIBRARY
from xentpm_lib.simulator.measurement import Measurement
from xentpm_lib.simulator.swtpm_process import start_bound

__all__ = ["BootReport", "run_boot_unit"]

LIMIT_S = 120.0
_MAX_ERROR_TEXT = 65536  # bytes
_PATH = "/sbin:/usr/sbin:/bin:/usr/bin"


@dataclass(frozen=True)
class BootReport:
    """How a boot went: what it measured, and the end of the boot-time unit."""

    measurements: tuple[Measurement, ...]
    exit_status: int
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether the boot-time unit did its work; a host boots without that, too."""
        return self.exit_status == 0


def run_boot_unit(root: Path, python: str) -> tuple[int, str]:
    """Run the unit and return its exit status (negative: killed, as after its time limit) and stderr.

    Raises: UsageError when it cannot be started, OSError.
    """
    command = [python, "-m", "xentpm_lib.host.cli", "--config", str(root / CONFIG), "--boot"]
    environment = {"PATH": _PATH, "PYTHONPATH": str(root / LIBRARY), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile() as errors:
        process = start_bound(command, os.sep, subprocess.DEVNULL, errors=errors, environment=environment)
        try:
            status = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        errors.seek(0)
        return status, errors.read(_MAX_ERROR_TEXT).decode("utf-8", "replace")
