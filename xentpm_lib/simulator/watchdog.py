"""A small process that cleans up after a simulator, also after one that was SIGKILLed.

It reads a pipe whose other end only the simulator holds. When the pipe ends, the simulator is gone:
plugin processes that still run are killed, and what the simulator wanted removed is removed.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

__all__ = ["Watchdog"]

_LOG = logging.getLogger(__name__)

_PROGRAM = """
import os, shutil, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups, paths = set(), []
for line in sys.stdin:
    kind, text = line[0], line[1:-1]
    if kind == "+":
        groups.add(int(text))
    elif kind == "-":
        groups.discard(int(text))
    else:
        paths.append(text)
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
for path in paths:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.unlink(path)
"""


class Watchdog:
    """Implements plugin_process.ProcessWatch; ``remove`` names files and directories to delete at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )

    def started(self, pid: int) -> None:
        """Kill this process group at the end."""
        self._tell(f"+{pid}")

    def ended(self, pid: int) -> None:
        """Forget this process group."""
        self._tell(f"-{pid}")

    def remove(self, path: Path) -> None:
        """Remove this file or directory tree at the end."""
        self._tell(f"={path}")

    def close(self) -> None:
        """The end: wait until everything is killed and removed."""
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(line.encode() + b"\n")
            except (OSError, ValueError):
                _LOG.debug("the watchdog is gone")
