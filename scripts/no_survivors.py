"""Run a command and fail when it leaves a process behind: ``no_survivors.py COMMAND ARGUMENT…``.

This process makes itself the parent of every orphan below it (PR_SET_CHILD_SUBREAPER), so what is left after
the command ended is found by descent, whatever it is called and whichever session it moved to. Survivors are
named and then ended. Exit status: the command's, or 1 when it was 0 and something survived.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Dict, List

_PR_SET_CHILD_SUBREAPER = 36
#: seconds that a process may take to end after the command did
GRACE_S = 30.0


def _reap() -> None:
    """Collect the orphans that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _parents() -> Dict[int, int]:
    """Process id: parent's process id, of every process that is not a zombie."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/{}/stat".format(name), errors="replace") as file:
                state, parent = file.read().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            found[int(name)] = int(parent)
    return found


def survivors() -> List[int]:
    """Every living process that descends from this one."""
    parents, found = _parents(), {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found - {os.getpid()})
        found |= more


def _name(pid: int) -> str:
    try:
        with open("/proc/{}/cmdline".format(pid), errors="replace") as file:
            return "{} {}".format(pid, file.read().replace("\0", " ").strip()[:200])
    except OSError:
        return str(pid)


def _wait_for_end() -> List[int]:
    """What is left when the time of grace is over."""
    end = time.monotonic() + GRACE_S
    while True:
        _reap()
        left = survivors()
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)


def _end(pids: List[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    time.sleep(0.2)
    _reap()


def main() -> int:
    """Run the command line that follows this program's name."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        print("no_survivors: the kernel has no PR_SET_CHILD_SUBREAPER", file=sys.stderr)
        return 1
    status = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL)
    status = 128 - status if status < 0 else status
    left = _wait_for_end()
    for pid in left:
        print("left running by `{}`: {}".format(" ".join(sys.argv[1:]), _name(pid)), file=sys.stderr)
    _end(left)
    return status or (1 if left else 0)


if __name__ == "__main__":
    sys.exit(main())
