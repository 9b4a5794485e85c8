"""``xentpm-sim host run``: a command as in a shell of a simulated host's dom0."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.dom0_tree import CONFIG, LIBRARY, replace_program, with_interpreter
from xentpm_lib.simulator.os_errors import hint_for, reason_of

__all__ = ["environment", "execute"]

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell ends
_PROGRAM = """#!
import sys
sys.path.insert(0, {library!r})
from {module} import main
sys.exit(main(["--config", {config!r}, *sys.argv[1:]]))
"""
_PROGRAMS = {"xentpm": "xentpm_lib.host.cli", "xentpm-boot": "xentpm_lib.host.boot.cli"}


def environment(directory: Path, tcti: str) -> dict[str, str]:
    """The environment of a host's dom0: ``xentpm`` and ``xentpm-boot``, and the host's TPM for tpm2-tools.

    Raises: UsageError when the commands cannot be written to the host's directory.
    """
    root, programs = directory / "root", directory / "bin"
    try:
        programs.mkdir(mode=0o700, exist_ok=True)
        for name, module in _PROGRAMS.items():
            text = _PROGRAM.format(library=str(root / LIBRARY), config=str(root / CONFIG), module=module)
            replace_program(programs / name, with_interpreter(text.encode(), sys.executable))
    except OSError as error:
        raise UsageError(reason_of(error, programs), hint_for(error)) from error
    path = f"{programs}:{os.environ.get('PATH') or os.defpath}"
    return {**os.environ, "PATH": path, "TPM2TOOLS_TCTI": tcti}


def execute(words: Sequence[str], variables: dict[str, str]) -> int:
    """Become this command; returns, with a shell's exit status, only where that cannot be done."""
    sys.stdout.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the command would, too
    try:
        os.execvpe(words[0], list(words), variables)
    except FileNotFoundError:
        print(f"xentpm-sim: {words[0]}: command not found", file=sys.stderr)
        return _NOT_FOUND
    except (OSError, ValueError) as error:
        print(f"xentpm-sim: {words[0]} cannot be run: {error}", file=sys.stderr)
        return _NOT_EXECUTABLE
