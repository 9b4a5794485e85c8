"""What the endpoint needs to know of a simulated machine, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["PLUGINS_FOLDER", "BootReport", "Machine"]

PLUGINS_FOLDER = Path("etc/xapi.d/plugins")
"""Where a host's plugins are, below its root."""


class BootReport(Protocol):
    """How a boot went."""

    @property
    def exit_status(self) -> int:
        """The exit status of the boot-time unit."""

    @property
    def stderr(self) -> str:
        """What the unit wrote on stderr."""


class Machine(Protocol):
    """A host's hardware and file system."""

    @property
    def name(self) -> str:
        """The host's name-label and host name."""

    @property
    def uuid(self) -> str:
        """The host's XAPI uuid."""

    @property
    def root(self) -> Path:
        """The directory that stands for ``/`` of the host's dom0."""

    @property
    def tcti(self) -> str:
        """The configuration string that reaches the host's TPM."""

    @property
    def powered(self) -> bool:
        """Whether the host runs."""

    def power_on(self) -> None:
        """Boot: start the TPM, measure, run the boot-time unit."""

    def power_off(self) -> None:
        """Switch off, the TPM with it."""

    def reboot(self) -> None:
        """Power cycle and measure again."""

    def replace_tpm(self) -> None:
        """Put another TPM in, as after a change of the main board."""

    @property
    def directory(self) -> Path:
        """The directory that holds everything of the host."""

    @property
    def boot_report(self) -> BootReport | None:
        """How the last boot went; None before the first."""

    def edit(self, component: str, *, content: str | None = None, append: str | None = None) -> None:
        """Replace, or extend, what stands for a component; without either, change it a little."""

    def components(self) -> Sequence[str]:
        """The names of what can be edited."""
