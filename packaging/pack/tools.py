"""Running programs, and the one error that ends a build."""

import os
import shutil
import subprocess
from typing import Dict, Optional, Sequence

__all__ = ["PackError", "Tool", "check_tools", "run"]

_SHOWN_LINES = 20


class PackError(Exception):
    """The pack cannot be built: what is wrong, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Tool:
    """A program that the build needs, with the package that has it on Red Hat's and Debian's family."""

    def __init__(self, command: str, red_hat: str, debian: str) -> None:
        self.command, self.red_hat, self.debian = command, red_hat, debian


_TOOLS = (
    Tool("rpmbuild", "rpm-build", "rpm"),
    Tool("createrepo_c", "createrepo_c", "createrepo-c"),
    Tool("xorriso", "xorriso", "xorriso"),
    Tool("patchelf", "patchelf", "patchelf"),
    Tool("readelf", "binutils", "binutils"),
    Tool("strip", "binutils", "binutils"),
    Tool("pkg-config", "pkgconfig", "pkg-config"),
    Tool("gcc", "gcc", "gcc"),
)
_SIGNING = (Tool("gpg", "gnupg2", "gnupg"), Tool("rpmsign", "rpm-sign", "rpm"))


def check_tools(signing: bool) -> None:
    """Raises: PackError: names the programs that the build needs and this machine lacks."""
    wanted = _TOOLS + (_SIGNING if signing else ())
    missing = [tool for tool in wanted if shutil.which(tool.command) is None]
    if missing:
        raise PackError(
            "these programs are missing: {}".format(", ".join(tool.command for tool in missing)),
            "yum install {}  or  apt-get install {}".format(
                " ".join(sorted({tool.red_hat for tool in missing})),
                " ".join(sorted({tool.debian for tool in missing})),
            ),
        )


def run(
    command: Sequence[str],
    cwd: Optional[str] = None,
    environment: Optional[Dict[str, str]] = None,
    stdin: bytes = b"",
) -> str:
    """Run ``command`` to its end and return its stdout; ``environment`` is added to this process's.

    Raises:
        PackError: it cannot be started or ends with another status than 0; with the end of what it wrote.
    """
    try:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(os.environ, LC_ALL="C.UTF-8", **(environment or {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise PackError("{} cannot be run: {}".format(command[0], error.strerror)) from error
    out, err = process.communicate(stdin)
    if process.returncode:
        lines = (out + err).decode("utf-8", "replace").rstrip().split("\n")
        said = "\n".join("  " + line for line in lines[-_SHOWN_LINES:])
        raise PackError("`{}` ended with {}:\n{}".format(" ".join(command), process.returncode, said))
    return out.decode("utf-8", "replace")
