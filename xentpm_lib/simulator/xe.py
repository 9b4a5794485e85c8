"""A stand-in for ``xe``: the commands an administrator needs around the ``tpm`` plugin, with xe's output.

Spec: xapi-project/xen-api, ocaml/xapi-cli-server (cli_printer.ml, cli_util.ml, xapi_cli.ml, records.ml).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from xentpm_lib.simulator.client import Client
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xe_output import (
    HOST_FIELDS,
    MESSAGE_FIELDS,
    POOL_FIELDS,
    Field,
    describe_error,
    escape_commas,
    format_record,
    select_fields,
)

__all__ = ["asks_for_help", "run", "tell_usage", "usage"]

_HELP_LINE = "For usage run: 'xe help'"
_SHORT = 60  # characters
_NAMES_OF_A_HOST = ("host-uuid", "uuid", "host")
_OF_CALL_PLUGIN = {*_NAMES_OF_A_HOST, "plugin", "fn", "minimal"}
Params = Mapping[str, str]


class _Complaint(Exception):
    """What xe says on stderr, one line each, before it ends with exit status 1."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


@dataclass(frozen=True)
class _Command:
    required: tuple[str, ...]
    work: Callable[[Client, Params], str | None]


def run(arguments: list[str], client: Client) -> int:
    """Carry out one xe command line; returns the exit status."""
    if asks_for_help(arguments):
        return tell_usage(arguments)
    try:
        name, params = _parse(arguments)
        output = _find(name, params).work(client, params)
    except _Complaint as complaint:
        _print_error(*complaint.lines)
        return 1
    except XapiError as error:
        _print_error(*describe_error(error, _names(client)))
        return 1
    if output is not None:
        sys.stdout.write(output + "\n")
    return 0


def _print_error(*lines: str) -> None:
    for line in lines:
        sys.stderr.write(line + "\n")


def _parse(arguments: list[str]) -> tuple[str, dict[str, str]]:
    """``command key=value --flag`` as xe reads it: a flag is a key with the value true."""
    params = {}
    for argument in arguments[1:]:
        if argument.startswith("--"):
            argument = argument[2:] if "=" in argument else f"{argument[2:]}=true"
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise _Complaint(f"Syntax error: {argument}", _HELP_LINE)
        params[key] = value
    return arguments[0], params


def asks_for_help(arguments: list[str]) -> bool:
    """Whether a command line needs no pool to be answered."""
    return arguments[:1] in ([], ["help"], ["--help"])


def tell_usage(arguments: list[str]) -> int:
    """Print how to use it: the result where it was asked for, else an error; returns the exit status."""
    (_print_error if not arguments else print)("\n".join(usage()))
    return 0 if arguments else 1


def usage() -> list[str]:
    """How to use it, in lines."""
    listed = ", ".join(sorted(_COMMANDS))
    return ["Usage: xentpm-sim xe [--dir D] <command> [key=value ...] [--minimal]", f"Commands: {listed}"]


def _find(name: str, params: Params) -> _Command:
    if name not in _COMMANDS:
        raise _Complaint(f"Unknown command: {name}", _HELP_LINE)
    command = _COMMANDS[name]
    for key in command.required:
        if key not in params and not (key == "host-uuid" and "uuid" in params):
            raise _Complaint(f"Required parameter not found: {key}", _HELP_LINE)
    for key in _NAMES_OF_A_HOST:
        if params.get(key) == "":
            raise _Complaint(f"Error: {key}= is empty", _HELP_LINE)
    return command


def _names(client: Client) -> dict[str, str]:
    """``uuid (name-label)`` by reference, as xe shows references in errors."""
    try:
        records: dict[str, Any] = client.call("host.get_all_records")
    except XapiError:
        return {}
    return {ref: f"{record['uuid']} ({record['name_label']})" for ref, record in records.items()}


def _host_list(client: Client, params: Params) -> str | None:
    return _list(client, "host", HOST_FIELDS, params)


def _pool_list(client: Client, params: Params) -> str | None:
    return _list(client, "pool", POOL_FIELDS, params)


def _message_list(client: Client, params: Params) -> str | None:
    return _list(client, "message", MESSAGE_FIELDS, params)


def _list(client: Client, cls: str, fields: tuple[Field, ...], params: Params) -> str | None:
    """All objects that match the ``field=value`` parameters, each followed by two empty lines."""
    shown = select_fields(fields, params.get("params"))
    by_name = {field.name: field for field in fields}
    filters = {key: value for key, value in params.items() if key not in ("params", "minimal")}
    for key in filters:
        if key not in by_name:
            _fail_field(key)
    records: list[dict[str, Any]] = list(client.call(f"{cls}.get_all_records").values())
    kept = [
        record
        for record in records
        if all(by_name[key].text(record) == value for key, value in filters.items())
    ]
    if params.get("minimal") == "true":
        return ",".join(escape_commas(shown[0].text(record)) for record in kept)
    return "\n".join(format_record(shown, record) + "\n" for record in kept) if kept else None


def _fail_field(name: str) -> NoReturn:
    raise _Complaint(f"Error: No matching field: {name}")


def _host_param_get(client: Client, params: Params) -> str:
    record = client.call("host.get_record", _host_ref(client, params))
    name = params["param-name"]
    field = next((field for field in HOST_FIELDS if field.name == name), None)
    if field is None:
        _fail_field(name)
    key = params.get("param-key")
    if key is None:
        return field.text(record)
    value = field.value(record)
    if not isinstance(value, dict) or key not in value:
        raise _Complaint(f"Error: Key {key} not found in map")
    return str(value[key])


def _host_param_list(client: Client, params: Params) -> str:
    record = client.call("host.get_record", _host_ref(client, params))
    return format_record(HOST_FIELDS, record) + "\n"


def _host_ref(client: Client, params: Params) -> str:
    """The host of ``uuid=``, ``host-uuid=``, or ``host=`` (uuid or name-label)."""
    named = params.get("host")
    if named is not None:
        found: list[str] = client.call("host.get_by_name_label", named)
        if len(found) == 1:
            return found[0]
    uuid = params.get("host-uuid") or params.get("uuid") or named
    if uuid is None:
        raise _Complaint("Required parameter not found: uuid", _HELP_LINE)
    return str(client.call("host.get_by_uuid", uuid))


def _host_call_plugin(client: Client, params: Params) -> str:
    ref = _host_ref(client, params)
    result = client.call("host.call_plugin", ref, params["plugin"], params["fn"], _plugin_args(params))
    return escape_commas(str(result)) if params.get("minimal") == "true" else str(result)


def _plugin_args(params: Params) -> dict[str, str]:
    """``args:key=value``, and ``args:key:file=path`` for a file's content."""
    args = {}
    for name, value in params.items():
        if name in _OF_CALL_PLUGIN:
            continue
        if not name.startswith("args:"):
            what = f"write args:{name}={value}" if len(value) <= _SHORT else f"write args:{name}=..."
            raise _Complaint(f"Error: host-call-plugin has no parameter {name}", f"Hint: {what}")
        key, _colon, kind = name[len("args:") :].partition(":")
        args[key] = _file_content(value) if kind == "file" else value
    return args


def _file_content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise _Complaint(f"Error: cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        hint = "Hint: encode it first, as with base64 -w0"
        raise _Complaint(f"Error: {path} is not UTF-8 text, and XAPI takes nothing else", hint) from error


def _host_operation(method: str) -> Callable[[Client, Params], None]:
    def work(client: Client, params: Params) -> None:
        client.call(method, _host_ref(client, params))

    return work


_COMMANDS = {
    "host-list": _Command((), _host_list),
    "host-call-plugin": _Command(("host-uuid", "plugin", "fn"), _host_call_plugin),
    "host-param-get": _Command(("uuid", "param-name"), _host_param_get),
    "host-param-list": _Command(("uuid",), _host_param_list),
    "host-disable": _Command((), _host_operation("host.disable")),
    "host-enable": _Command((), _host_operation("host.enable")),
    "host-reboot": _Command((), _host_operation("host.reboot")),
    "pool-list": _Command((), _pool_list),
    "message-list": _Command((), _message_list),
}
