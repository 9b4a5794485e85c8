"""XAPI's calling convention for plugins: one call in ``argv``, one XML-RPC response on stdout, exit status 0.

In a dom0 its own ``XenAPIPlugin`` module does the transport; where that cannot be imported ours does, by
the same contract (docs/plugin-api.md). Every call is one syslog line: function, outcome, milliseconds.
"""

import os
import sys
import syslog
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.functions import Arguments
from xentpm_lib.host.host import Host
from xentpm_lib.host.paths import Paths
from xentpm_lib.host.xmlrpc_call import failure, parse_call, success

__all__ = ["REPORT_IT", "UNKNOWN_FUNCTION", "error_description", "run_plugin"]

UNKNOWN_FUNCTION = "UNKNOWN_XENAPI_PLUGIN_FUNCTION"
REPORT_IT = "If it stays, report it with what `xentpm --status` says."
"""The hint of an error that has no better one."""

_MAXIMUM_MESSAGE = 2000

Function = Callable[[Host, Arguments], str]


class _Failed(Exception):
    def __init__(self, description: List[str]) -> None:
        super().__init__(description[0])
        self.description = description


def run_plugin(functions: Dict[str, Function], plugin: str) -> None:
    """Serve the one call in ``sys.argv``; ``plugin`` is the plugin's path, which tells whose dom0 it is."""
    syslog.openlog("xentpm", syslog.LOG_PID, syslog.LOG_USER)
    table = {name: _logged(name, function, Paths.of_plugin(plugin)) for name, function in functions.items()}
    dom0_module = _dom0_module()
    if dom0_module is not None and len(sys.argv) == 2:
        return _run_by_dom0(dom0_module, table)
    sys.stdout.buffer.write(_respond(table, sys.argv[1:]))
    sys.stdout.flush()


def error_description(error: BaseException) -> List[str]:
    """XAPI's ``ErrorDescription``: code, message, hint and the mark that finds this process in the log."""
    mark = "xentpm[{}]".format(os.getpid())
    if isinstance(error, XenTpmError):
        return [error.code, _ascii(error.message), _ascii(error.hint or REPORT_IT), mark]
    message = "an unexpected {}: {}".format(type(error).__name__, error)
    return [
        "XENTPM_INTERNAL",
        _ascii(message),
        "This is a defect of xentpm: please report it with this text.",
        mark,
    ]


def _respond(table: Dict[str, Callable[[Any, Arguments], str]], arguments: List[str]) -> bytes:
    try:
        if len(arguments) != 1:
            raise XenTpmError(
                "the plugin takes one argument, got {}".format(len(arguments)),
                "XAPI starts it: xe host-call-plugin host-uuid=<uuid> plugin=tpm fn=tpm_get_status",
                "XENTPM_BAD_ARGUMENT",
            )
        call = parse_call(arguments[0])
    except Exception as error:
        description = error_description(error)
        _log(syslog.LOG_ERR, "-", description[0], time.monotonic())
        return failure(description)
    if call.function not in table:
        _log(syslog.LOG_ERR, _ascii(call.function[:64]), UNKNOWN_FUNCTION, time.monotonic())
        return failure([UNKNOWN_FUNCTION, _ascii(call.function)])
    try:
        return success(table[call.function](call.session_ref, call.arguments))
    except _Failed as failed:
        return failure(failed.description)


def _run_by_dom0(module: Any, table: Dict[str, Callable[[Any, Arguments], str]]) -> None:
    def translated(function: Callable[[Any, Arguments], str]) -> Callable[[Any, Arguments], str]:
        def call(session: Any, arguments: Arguments) -> str:
            try:
                return function(session, arguments)
            except _Failed as failed:
                raise module.Failure(failed.description[0], failed.description[1:]) from None

        return call

    module.dispatch({name: translated(function) for name, function in table.items()})


def _dom0_module() -> Any:
    try:
        import XenAPIPlugin
    except Exception:  # absent, or of a release whose module is for Python 2
        return None
    return XenAPIPlugin


def _logged(name: str, function: Function, paths: Paths) -> Callable[[Any, Arguments], str]:
    """``function`` as XAPI's ``f(session, args)``, that logs its outcome and fails with `_Failed` only."""

    def call(_session: Any, arguments: Arguments) -> str:
        start = time.monotonic()
        host = Host(paths)
        try:
            with _stdout_kept_clean():
                value = function(host, _as_text(arguments))
        except Exception as error:
            description = error_description(error)
            _log(syslog.LOG_ERR, name, description[0], start)
            raise _Failed(description) from error
        for warning in host.warnings:
            syslog.syslog(syslog.LOG_WARNING, warning)
        _log(syslog.LOG_INFO, name, "ok", start)
        return value

    return call


def _log(priority: int, name: str, outcome: str, start: float) -> None:
    syslog.syslog(priority, "{} {} {:.0f} ms".format(name, outcome, 1000 * (time.monotonic() - start)))


@contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """What a library prints goes to stderr: stdout belongs to the response."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _as_text(arguments: Dict[Any, Any]) -> Arguments:
    """Arguments as text; XAPI sends strings only, anything else is kept out by name."""
    for name, value in arguments.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise XenTpmError(
                "an argument is not a string", "Send every argument as a string.", "XENTPM_BAD_ARGUMENT"
            )
    return dict(arguments)


def _ascii(text: str) -> str:
    """``text`` for an error description: printable ASCII on one line, at most 2,000 characters."""
    plain = text.encode("ascii", "backslashreplace").decode("ascii")[:_MAXIMUM_MESSAGE]
    return "".join(char if " " <= char <= "~" else " " for char in plain)
