"""XAPI's calling convention for plugins: one call in ``argv``, one XML-RPC response on stdout, exit status 0.

In a dom0 its own ``XenAPIPlugin`` module does the transport; where that cannot be imported ours does, by
the same contract (docs/plugin-api.md). Every call is one syslog line: function, outcome, milliseconds.
"""

import os
import sys
import syslog
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, Union

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.dom0_module import Failed, PluginFunction, respond_by_dom0
from xentpm_lib.host.functions import Arguments
from xentpm_lib.host.host import Host
from xentpm_lib.host.paths import Paths
from xentpm_lib.host.xmlrpc_call import Call, failure, parse_call, success

__all__ = ["REPORT_IT", "UNKNOWN_FUNCTION", "error_description", "respond"]

UNKNOWN_FUNCTION = "UNKNOWN_XENAPI_PLUGIN_FUNCTION"
REPORT_IT = "If it stays, report it with what `xentpm --status` says."
"""The hint of an error that has no better one."""

_MAXIMUM_MESSAGE = 2000

Function = Callable[[Host, Arguments], str]


def respond(functions: Mapping[str, Function], plugin: str) -> bytes:
    """Serve the one call in ``sys.argv``; ``plugin`` is the plugin's path, which tells whose dom0 it is."""
    table = {name: _logged(name, function, Paths.of_plugin(plugin)) for name, function in functions.items()}
    return _respond(table, sys.argv[1:])


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


def _respond(table: Dict[str, PluginFunction], arguments: List[str]) -> bytes:
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
    function = _once(table[call.function])
    return respond_by_dom0({call.function: function}) or _own_response(function, call)


def _own_response(function: PluginFunction, call: Call) -> bytes:
    try:
        return success(function(call.session_ref, call.arguments))
    except Failed as failed:
        return failure(failed.description)


def _once(function: PluginFunction) -> PluginFunction:
    """``function``, run once at the most: asked again, it gives the outcome that it had."""
    outcomes: List[Union[str, Failed]] = []

    def call(session: Any, arguments: Arguments) -> str:
        if not outcomes:
            try:
                outcomes.append(function(session, arguments))
            except Failed as failed:
                outcomes.append(failed)
        if isinstance(outcomes[0], Failed):
            raise outcomes[0]
        return outcomes[0]

    return call


def _logged(name: str, function: Function, paths: Paths) -> PluginFunction:
    """``function`` as XAPI's ``f(session, args)``, that logs its outcome and fails with `Failed` only."""

    def call(_session: Any, arguments: Arguments) -> str:
        start = time.monotonic()
        host = Host(paths)
        try:
            with _stdout_kept_clean():
                value = function(host, _as_text(arguments))
        except Exception as error:
            description = error_description(error)
            _log(syslog.LOG_ERR, name, description[0], start)
            raise Failed(description) from error
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
