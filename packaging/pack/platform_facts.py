"""What the pack is built on, and so is for: the system, its interpreter, its C library."""

import os
import platform
import re
import sys
import sysconfig
from typing import Dict, List, NamedTuple, Sequence, Tuple

from pack.tools import PackError

__all__ = ["Platform", "read_os_release"]


class Platform(NamedTuple):
    """``systems``: pairs of os-release's ID and VERSION_ID that the pack is for; the first one names it."""

    systems: Tuple[Tuple[str, str], ...]
    machine: str
    python: str
    python_version: str
    python_abi: str
    glibc: str

    @classmethod
    def of_this_machine(cls, systems: Sequence[str], os_release: str = "/etc/os-release") -> "Platform":
        """The platform of the running interpreter; ``systems``: words ``ID:VERSION``, else os-release's.

        Raises:
            PackError: the interpreter is not the platform's own, or the system does not say what it is.
        """
        if sys.prefix != sys.base_prefix:
            raise PackError(
                "{} belongs to a virtual environment".format(sys.executable),
                "Give the interpreter that the hosts have: make pack PYTHON=/usr/bin/python3",
            )
        return cls(
            systems=tuple(_system(word) for word in systems) or (read_os_release(os_release),),
            machine=platform.machine(),
            python=sys.executable,
            python_version="{}.{}".format(*sys.version_info[:2]),
            python_abi=str(sysconfig.get_config_var("SOABI")),
            glibc=(os.confstr("CS_GNU_LIBC_VERSION") or "glibc 0").split()[-1],
        )

    @property
    def label(self) -> str:
        """A word for file names and the RPM's release: ``debian12``."""
        return re.sub("[^a-z0-9]", "", "".join(self.systems[0]).lower())

    def facts(self) -> Dict[str, str]:
        """The lines of ``platform.json`` that `install.sh` compares with the host."""
        return {
            "systems": " ".join("{}:{}".format(*system) for system in self.systems),
            "machine": self.machine,
            "python": self.python,
            "python_version": self.python_version,
            "python_abi": self.python_abi,
            "glibc": self.glibc,
        }


def read_os_release(path: str) -> Tuple[str, str]:
    """ID and VERSION_ID of an os-release file. Raises: PackError."""
    found: Dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                key, equals, value = line.strip().partition("=")
                if equals:
                    found[key] = value.strip("\"'")
    except OSError as error:
        raise PackError("{} cannot be read: {}".format(path, error.strerror)) from error
    missing: List[str] = [key for key in ("ID", "VERSION_ID") if not found.get(key)]
    if missing:
        raise PackError(
            "{} has no {}".format(path, " and no ".join(missing)), "Name the hosts' system: FOR=ID:VERSION"
        )
    return found["ID"], found["VERSION_ID"]


def _system(word: str) -> Tuple[str, str]:
    name, colon, version = word.partition(":")
    if not re.match(r"^[a-z0-9._-]+:[0-9a-z._-]+\Z", word):
        raise PackError("{} is no ID:VERSION".format(ascii(word)), "For instance: FOR='xenenterprise:8.3'")
    return name, version
