"""How this program was called, so that the commands it suggests can be typed as they are."""

from __future__ import annotations

import os
import shlex
import shutil
import sys

__all__ = ["command"]

_NAME = "xentpm-sim"


def command(*words: str) -> str:
    """A command line of this program with these words, as somebody would type it here."""
    return " ".join([_program(), *map(shlex.quote, words)])


def _program() -> str:
    called = sys.argv[0] if sys.argv else ""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name.startswith("xentpm_lib."):
        return f"{shlex.quote(_python())} -m {spec.name}"
    if not os.path.isfile(called) or _same(shutil.which(_NAME), called):
        return _NAME
    if os.access(called, os.X_OK):
        return shlex.quote(called)
    return f"{shlex.quote(_python())} {shlex.quote(called)}"


def _python() -> str:
    """Python as it was called; where that was by a name in PATH, by that name."""
    return sys.orig_argv[0] if sys.orig_argv and shutil.which(sys.orig_argv[0]) else sys.executable


def _same(found: str | None, called: str) -> bool:
    return found is not None and os.path.samefile(found, called)
