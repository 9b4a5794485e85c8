"""Runs a plugin the way XAPI and its forkexecd do, and turns the outcome into XAPI's answer.

What the plugin finds: ``argv = [path, xml]``; only PATH in the environment; stdin is /dev/null opened
for writing, so reading it fails; a session of its own; SIGPIPE ignored; ``/`` as working directory;
stdout and stderr are files that are read after it ended; no time limit.

Spec: xapi-project/xen-api, ocaml/xapi/xapi_plugins.ml, ocaml/forkexecd, ocaml/libs/xml-light2.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xml_values import Fault, NotXmlRpcError, Value, XmlError, parse_response

__all__ = [
    "MAX_OUTPUT_BYTES",
    "NO_WATCH",
    "Outcome",
    "PLUGIN_ENVIRONMENT",
    "ProcessWatch",
    "answer",
    "call_plugin",
    "find_plugin",
    "method_call",
    "run",
]

PLUGIN_ENVIRONMENT = {"PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}
MAX_OUTPUT_BYTES = 32 * 1024 * 1024
"""Output beyond this is cut off: it is then no XML any more."""

_NOT_EXECUTABLE = 126
_NOT_FOUND = 127
_DROPPED = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class ProcessWatch(Protocol):
    """Learns which plugin processes run, to end them when the simulator ends."""

    def started(self, pid: int) -> None:
        """A process was started; it leads the process group ``pid``."""

    def ended(self, pid: int) -> None:
        """The process has ended but ``pid`` is not yet free for another one."""


class _NoWatch:
    def started(self, pid: int) -> None:
        pass

    def ended(self, pid: int) -> None:
        pass


NO_WATCH: ProcessWatch = _NoWatch()


@dataclass(frozen=True)
class Outcome:
    """How a plugin process ended. ``status``: the exit status, or minus the signal's number."""

    status: int
    stdout: bytes
    stderr: bytes


def call_plugin(
    directory: Path,
    plugin: str,
    function: str,
    session: str,
    args: Mapping[str, str],
    watch: ProcessWatch = NO_WATCH,
) -> str:
    """What ``host.call_plugin`` answers. Raises: XapiError."""
    path = find_plugin(directory, plugin)
    return answer(run(path, method_call(function, session, args), watch))


def find_plugin(directory: Path, name: str) -> Path:
    """The file of exactly this name in the plugins folder. Raises: XapiError when there is none."""
    try:
        names = os.listdir(directory)
    except OSError:
        names = []
    if name not in names:
        raise XapiError("XENAPI_MISSING_PLUGIN", name)
    return directory.absolute() / name


def method_call(function: str, session: str, args: Mapping[str, str]) -> bytes:
    """The plugin's only argument. No XML declaration, no ``string`` elements, no control characters."""
    members = b"".join(
        b"<member>%s%s</member>" % (_element(b"name", key), _element(b"value", value))
        for key, value in args.items()
    )
    struct = b"<struct>%s</struct>" % members if members else b"<struct/>"
    params = b"<param>%s</param><param><value>%s</value></param>" % (_element(b"value", session), struct)
    return b"<methodCall>%s<params>%s</params></methodCall>" % (_element(b"methodName", function), params)


def _element(tag: bytes, text: str) -> bytes:
    """XAPI writes no element of text for an empty string."""
    data = _DROPPED.sub(b"", text.encode("utf-8"))
    for raw, escaped in ((b"&", b"&amp;"), (b"<", b"&lt;"), (b">", b"&gt;"), (b'"', b"&quot;")):
        data = data.replace(raw, escaped)
    return b"<%s>%s</%s>" % (tag, data, tag) if text else b"<%s/>" % tag


def run(path: Path, argument: bytes, watch: ProcessWatch = NO_WATCH) -> Outcome:
    """Start the plugin and wait for its end. What cannot be executed ends like a shell's: 126 or 127."""
    with tempfile.TemporaryFile(buffering=0) as stdout, tempfile.TemporaryFile(buffering=0) as stderr:
        try:
            process = _start(path, argument, stdout, stderr)
        except OSError as error:
            return Outcome(_NOT_FOUND if error.errno == errno.ENOENT else _NOT_EXECUTABLE, b"", b"")
        watch.started(process.pid)
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        finally:
            watch.ended(process.pid)
        return Outcome(process.wait(), _content(stdout), _content(stderr))


def _start(path: Path, argument: bytes, stdout: IO[bytes], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the process; Python ignores SIGPIPE, and without restore_signals its child does too."""
    unreadable = os.open(os.devnull, os.O_WRONLY)
    try:
        return subprocess.Popen(
            [os.fsencode(path), argument],
            stdin=unreadable,
            stdout=stdout,
            stderr=stderr,
            env=PLUGIN_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            restore_signals=False,
        )
    finally:
        os.close(unreadable)


def _content(file: IO[bytes]) -> bytes:
    """The plugin shares the file's offset: read from the start, whatever it did with it."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), min(size, MAX_OUTPUT_BYTES), 0)


def answer(outcome: Outcome) -> str:
    """Map a plugin's outcome by the table of XAPI. Raises: XapiError unless it is a success."""
    stdout = outcome.stdout.decode("utf-8", "replace")
    stderr = outcome.stderr.decode("utf-8", "replace")
    if outcome.status < 0:
        raise _plugin_failure(f"signal: {_signal_name(-outcome.status)}", stdout, stderr)
    if outcome.status > 0:
        raise _plugin_failure("non-zero exit", stdout, stderr)
    try:
        response = parse_response(outcome.stdout)
    except NotXmlRpcError as error:
        raise XapiError("INTERNAL_ERROR", f"plugin output: {error}") from error
    except XmlError as error:
        raise _plugin_failure("failed to parse plugin output", stdout, str(error)) from error
    if isinstance(response, Fault):
        raise _plugin_failure("fault", str(response.code), response.reason)
    if len(response) != 1:
        raise _plugin_failure("unexpected XMLRPC result", stdout)
    return _result(response[0])


def _result(value: Value) -> str:
    """The string of a Success, or the error of a Failure; everything else is an internal error."""
    if isinstance(value, dict):
        if value.get("Status") == "Success" and "Value" in value:
            return _string(value["Value"])
        description = value.get("ErrorDescription")
        if value.get("Status") == "Failure" and isinstance(description, list) and description:
            raise XapiError(*map(_string, description))
    raise XapiError("INTERNAL_ERROR", "plugin output: wanted Status and Value, or ErrorDescription")


def _string(value: Value) -> str:
    if not isinstance(value, str):
        raise XapiError("INTERNAL_ERROR", f"plugin output: wanted string, got {type(value).__name__}")
    return value


def _plugin_failure(*params: str) -> XapiError:
    return XapiError("XENAPI_PLUGIN_FAILURE", *params)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"unknown signal ({number})"
