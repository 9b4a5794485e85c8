"""Where a dom0 keeps what the project reads and writes, below one root."""

import os
from typing import NamedTuple

__all__ = ["CONFIG", "Paths"]

CONFIG = "opt/xensource/tpm/config"
_PLUGIN = "etc/xapi.d/plugins/tpm"


class Paths(NamedTuple):
    """The files of the dom0 whose ``/`` is ``root``, with its configuration at ``config``."""

    root: str
    config: str

    @classmethod
    def of_plugin(cls, plugin: str) -> "Paths":
        """Of the dom0 whose ``etc/xapi.d/plugins/tpm`` is ``plugin``; for another path that is ``/``."""
        root = _without(os.path.abspath(plugin), _PLUGIN)
        return cls(root, os.path.join(root, CONFIG))

    @classmethod
    def of_config(cls, config: str) -> "Paths":
        """Of the dom0 whose ``opt/xensource/tpm/config`` is ``config``; for another path that is ``/``."""
        path = os.path.abspath(config)
        return cls(_without(path, CONFIG), path)

    def at(self, relative: str) -> str:
        """The path of ``relative`` below the root."""
        return os.path.join(self.root, relative)

    @property
    def lock(self) -> str:
        """One lock for all processes that use this dom0's TPM, where only root can write."""
        return self.at("run/xentpm.lock")

    @property
    def state(self) -> str:
        """The folder of what has to survive a restart."""
        return self.at("var/lib/xentpm")


def _without(path: str, ending: str) -> str:
    return path[: -len(ending)] if path.endswith("/" + ending) else "/"
