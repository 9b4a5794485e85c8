"""What the endpoint needs to know of a simulated machine, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["PLUGINS_FOLDER", "Machine"]

PLUGINS_FOLDER = Path("etc/xapi.d/plugins")
"""Where a host's plugins are, below its root."""


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

    def edit(self, component: str) -> None:
        """Change the file or setting that stands for a component."""

    def components(self) -> Sequence[str]:
        """The names of what can be edited."""
