"""A small process that cleans up after a simulator, also after one that was SIGKILLed.

It reads a pipe whose other end only the simulator holds. When the pipe ends, the simulator is gone:
plugin processes that still run are killed, and what the simulator wanted removed is removed.
"""

import logging
import os
import secrets
import shutil
import subprocess
import sys
import threading
from typing import List, Union

__all__ = ["Watchdog"]

_LOG = logging.getLogger(__name__)

# A program that outlives its parent for a moment can still write: so removing is tried again, and after
# a kill the program looks for two more seconds whether something has come back.
_PROGRAM = """
import os, shutil, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups, paths, killed = set(), [], True
for line in sys.stdin:
    kind, text = line[0], line[1:-1]
    if kind == "+":
        groups.add(int(text))
    elif kind == "-":
        groups.discard(int(text))
    elif kind == ".":
        killed = False
    else:
        paths.append(bytes.fromhex(text))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
def remove():
    for path in filter(os.path.lexists, paths):
        try:
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        except OSError:
            pass
for _ in range(50):
    remove()
    if not any(map(os.path.lexists, paths)):
        break
    time.sleep(0.1)
for _ in range(20 if killed and paths else 0):
    time.sleep(0.1)
    remove()
"""


class Watchdog:
    """Implements plugin_process.ProcessWatch; ``remove`` names files and directories to delete at the end.

    Raises: OSError when its process cannot be started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: List[str] = []
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
        self._tell("+{}".format(pid))

    def ended(self, pid: int) -> None:
        """Forget this process group."""
        self._tell("-{}".format(pid))

    def remove(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Remove this file or directory tree at the end."""
        self._paths.append(os.fspath(path))
        self._tell("=" + os.fsencode(path).hex())

    def make_directory(self, prefix: str, base: str) -> str:
        """Make a private directory with a new name in ``base``, to be removed at the end. Raises: OSError."""
        path = os.path.join(base, prefix + secrets.token_hex(6))
        self.remove(path)  # first: a SIGKILL comes when it likes
        os.mkdir(path, 0o700)
        return path

    def close(self) -> None:
        """The end: wait until everything is killed and removed."""
        assert self._process.stdin is not None
        self._tell(".")
        with self._lock:
            self._process.stdin.close()
        self._process.wait()
        for path in filter(os.path.isdir, self._paths):  # somebody has killed the process
            shutil.rmtree(path, ignore_errors=True)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(line.encode() + b"\n")
            except (OSError, ValueError):
                _LOG.debug("the watchdog is gone")
