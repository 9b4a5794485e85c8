"""Shared libraries: what a file needs, what of it the platform has, how the rest finds itself."""

import os
import re
import shutil
from typing import Dict, Iterable, List, Set

from pack.tools import PackError, run

__all__ = ["PLATFORM_LIBRARIES", "copy_libraries", "glibc_needed", "needed", "relocate"]

PLATFORM_LIBRARIES = re.compile(
    r"^(ld-linux.*|lib(c|m|dl|rt|util|pthread|resolv|gcc_s|crypto|ssl|z)\.so.*|linux-vdso.*)$"
)
"""What every dom0 has. libcrypto counts only where it is the system's, not one built beside it."""

_SYSTEM_FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")


def needed(path: str) -> List[str]:
    """The sonames that the file at ``path`` names itself."""
    return re.findall(r"\(NEEDED\).*\[(.+)\]", run(["readelf", "-dW", path]))


def copy_libraries(starts: Iterable[str], folder: str) -> Set[str]:
    """Copy into ``folder`` what the files ``starts`` need and no platform has; returns what it has to have.

    Raises:
        PackError: a library is not on this machine.
    """
    of_platform: Set[str] = set()
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        found = _resolved(path)
        for soname in needed(path):
            where = found.get(soname)
            if soname.startswith("libpython"):  # the interpreter itself, which loads this
                continue
            if where is None:
                raise PackError("{} needs {}, which is not on this machine".format(path, soname))
            if PLATFORM_LIBRARIES.match(soname) and os.path.realpath(where).startswith(_SYSTEM_FOLDERS):
                of_platform.add(soname)
            elif not os.path.exists(os.path.join(folder, soname)):
                shutil.copyfile(os.path.realpath(where), os.path.join(folder, soname))
                waiting.append(where)
    return of_platform


def _resolved(path: str) -> Dict[str, str]:
    """Where this machine's loader finds what ``path`` needs, directly or not."""
    lines = run(["ldd", path])
    found = dict(re.findall(r"^\s*(\S+) => (/\S+) \(0x", lines, re.MULTILINE))
    found.update(
        {os.path.basename(name): name for name in re.findall(r"^\s*(/\S+) \(0x", lines, re.MULTILINE)}
    )
    return found


def relocate(path: str, rpath: str) -> None:
    """Strip ``path`` and make it look for libraries in ``rpath`` first, whatever the caller's environment."""
    os.chmod(path, 0o755)
    run(["strip", "--strip-unneeded", "--remove-section=.note.gnu.build-id", path])
    run(["patchelf", "--remove-rpath", path])
    run(["patchelf", "--force-rpath", "--set-rpath", rpath, path])


def glibc_needed(paths: Iterable[str]) -> str:
    """The newest version of the C library that any of the files names: ``2.34``."""
    versions: Set[str] = set()
    for path in paths:
        versions.update(re.findall(r"Name: GLIBC_([0-9.]+)", run(["readelf", "-VW", path])))
    return max(versions or {"2.17"}, key=lambda text: [int(part) for part in text.split(".")])
