"""``xentpm-attest``: where it begins. Exit status: 0 good, 1 error, 2 wrong usage, 3 a host is not trusted.

All else is imported within ``main``: a Ctrl-C while that goes on must not end in a traceback.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's); returns the exit status. 130 after Ctrl-C."""
    _leave_no_core()
    try:
        from xentpm_lib.verifier.cli import command_line

        return command_line.run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print("xentpm-attest: interrupted", file=sys.stderr)
        return 130


def _leave_no_core() -> None:
    """A dump of the memory would hold the station's keys and the pools' passwords."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
