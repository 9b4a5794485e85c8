"""``xentpm-sim``: where it begins. Exit status: 0 good, 1 error, 2 wrong usage, 130 after Ctrl-C.

All else is imported within ``main``: a Ctrl-C while that goes on must not end in a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a terminal may not know every character
        from xentpm_lib.simulator import command_line

        return command_line.run(argv)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
