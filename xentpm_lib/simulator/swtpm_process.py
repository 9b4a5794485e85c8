"""Starting programs of the swtpm project, and ending them with the process that started them.

A swtpm must not outlive its simulator, not even one that is SIGKILLed. The kernel can see to that
(PR_SET_PDEATHSIG), but its signal follows the *thread* that forked: so one thread, which lives as long
as the process, does all the starting. ``setpriv`` asks for the signal before swtpm is executed, which
spares code between fork and exec; the shell between them looks whether the parent died before that.
"""

import os
import queue
import shutil
import subprocess
import threading
from typing import IO, Any, Dict, List, Optional, Sequence, Union

from xentpm_lib.errors import UsageError

__all__ = ["find_program", "start_bound"]

_PACKAGES = {
    "swtpm": "swtpm",
    "swtpm_setup": "swtpm-tools",
    "swtpm_localca": "swtpm-tools",
    "swtpm_cert": "swtpm-tools",
    "certtool": "gnutls-bin",
    "setpriv": "util-linux",
}
_MORE_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

# $0 is the process that must be alive; a parent that died before setpriv ran has been replaced by another.
_BOUND = 'test "$PPID" = "$0" || exit 1; exec "$@"'


def find_program(name: str) -> str:
    """Return the path of a program of the system.

    Raises: UsageError, naming the package to install, when it is not there.
    """
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":" + _MORE_PATH)
    if path is None:
        package = _PACKAGES.get(name, name)
        raise UsageError(
            "{} is not installed".format(name),
            "install the package {0} (Debian: apt-get install {0})".format(package),
            code="XENTPM_CONFIG",
        )
    return path


class _Request:
    """One process to start, and the place for its outcome."""

    def __init__(self, arguments: List[str], options: Dict[str, Any]) -> None:
        self.arguments = arguments
        self.options = options
        self.done = threading.Event()
        self.process = None  # type: Optional[subprocess.Popen[bytes]]
        self.error = None  # type: Optional[OSError]

    def carry_out(self) -> None:
        """Start the process; keep what went wrong."""
        try:
            self.process = subprocess.Popen(self.arguments, **self.options)
        except OSError as error:
            self.error = error
        self.done.set()


class _Starter:
    """The thread that starts processes: one in a process, and another one after a fork."""

    def __init__(self) -> None:
        self._requests = queue.Queue()  # type: queue.Queue[_Request]
        self.pid = os.getpid()
        threading.Thread(target=self._run, name="swtpm starter", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._requests.get().carry_out()

    def start(self, request: _Request) -> "subprocess.Popen[bytes]":
        """Have the thread start a process and wait until it did."""
        self._requests.put(request)
        request.done.wait()
        if request.process is None:
            raise UsageError("cannot start {}: {}".format(request.arguments[0], request.error))
        return request.process


_starter = None  # type: Optional[_Starter]
_starter_lock = threading.Lock()


def _the_starter() -> _Starter:
    """Return this process's starter; one inherited through a fork has no thread any more."""
    global _starter
    with _starter_lock:
        if _starter is None or _starter.pid != os.getpid():
            _starter = _Starter()
        return _starter


def start_bound(
    arguments: Sequence[str],
    cwd: str,
    output: Union[int, IO[bytes]],
    errors: Union[int, IO[bytes]] = subprocess.STDOUT,
    keep_open: Sequence[int] = (),
    environment: Optional[Dict[str, str]] = None,
) -> "subprocess.Popen[bytes]":
    """Start a program that dies with this process; it has no input, and no terminal's signals.

    output, errors: take its stdout and stderr. keep_open: descriptors that it inherits.
    environment: this process's unless given.
    Raises: UsageError when it cannot be started.
    """
    bound = [find_program("setpriv"), "--pdeathsig", "KILL", "/bin/sh", "-c", _BOUND, str(os.getpid())]
    options = {
        "cwd": cwd,
        "stdin": subprocess.DEVNULL,
        "stdout": output,
        "stderr": errors,
        "pass_fds": tuple(keep_open),
        "start_new_session": True,
        "env": environment,
    }  # type: Dict[str, Any]
    return _the_starter().start(_Request(bound + list(arguments), options))
