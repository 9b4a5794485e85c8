"""The command line of ``xentpm-sim``: hosts that behave like XenServer hosts, on one machine.

Exit status: 0 good, 1 error (one line and a hint on stderr), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xentpm_lib import __version__
from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.simulator import host_commands, host_shell, registry, xe
from xentpm_lib.simulator.client import Client, text_fault
from xentpm_lib.simulator.fleet import MAX_HOSTS
from xentpm_lib.simulator.os_errors import hint_for, reason_of
from xentpm_lib.simulator.xapi.errors import XapiError

__all__ = ["parser", "run"]

_MAX_PORT = 65535


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit status."""
    arguments, unknown = parser().parse_known_args(argv)
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        return int(arguments.run(arguments))
    except XapiError as error:
        return _fail(host_commands.as_error(error))
    except XenTpmError as error:
        return _fail(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        return _fail(UsageError(reason_of(error), hint_for(error)))


def _fail(error: XenTpmError) -> int:
    print(f"xentpm-sim: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="xentpm-sim", description="Simulated XenServer hosts with a TPM 2.0.")
    top.add_argument("--version", action="version", version=f"xentpm-sim {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_up(commands.add_parser("up", help="start a pool of hosts; Ctrl-C ends it"))
    _add_host(commands.add_parser("host", help="list, edit, reboot hosts of a running pool, or be in dom0"))
    _add_xe(commands.add_parser("xe", help="a stand-in for xe", **_AS_WRITTEN))
    return top


_AS_WRITTEN: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}


def _add_xe(command: argparse.ArgumentParser) -> None:
    command.usage = argparse.SUPPRESS  # the first line of the description
    command.description = "\n".join(xe.usage())
    _add_directory(command)
    command.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND", help="and its parameters")
    command.set_defaults(run=_xe, parser=command)


def _add_directory(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dir",
        type=_directory,
        metavar="D",
        help="the simulator's directory (default: the only one that runs)",
    )


def _add_up(command: argparse.ArgumentParser) -> None:
    command.add_argument("--hosts", type=_host_count, metavar="N", help=f"1 to {MAX_HOSTS} hosts (default 1)")
    command.add_argument("--txt", action="store_true", help="hosts that boot with a dynamic launch")
    command.add_argument("--port", type=_port, default=0, metavar="P", help="the URL's (default: a free one)")
    command.add_argument("--http", action="store_true", help="plain HTTP too, on loopback")
    command.add_argument(
        "--dir",
        type=_directory,
        metavar="D",
        help="keep the hosts here (default: a private directory, removed)",
    )
    command.add_argument("--json", action="store_true", help="one JSON line on stdout when ready")
    command.add_argument("--no-event-log", action="store_true", help="hosts without a firmware event log")
    command.add_argument("--until-eof", action="store_true", help="end when standard input ends, too")
    command.set_defaults(run=_up, parser=command)


def _add_host(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the hosts and their state")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=_list)
    edit = actions.add_parser("edit", help="change what stands for a component, such as initrd")
    edit.add_argument("host", metavar="NAME", help="name or uuid")
    edit.add_argument("component", nargs="?", metavar="COMPONENT", help="leave out to see which there are")
    change = edit.add_mutually_exclusive_group()
    change.add_argument("--append", type=_text, default="", metavar="TEXT", help="add this (default: a mark)")
    change.add_argument("--content", type=_text, default="", metavar="TEXT", help="replace it by this")
    edit.set_defaults(run=_edit)
    shell = actions.add_parser("run", help="run a command as in the host's dom0: xentpm, tpm2_…")
    shell.usage = "xentpm-sim host run [--dir D] NAME COMMAND ..."
    shell.add_argument("host", metavar="NAME", help="name or uuid")
    shell.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="and its arguments")
    shell.set_defaults(run=_run)
    for name, button_command in host_commands.POWER_COMMANDS.items():
        button = actions.add_parser(name, help=button_command.help)
        button.add_argument("host", metavar="NAME", help="name or uuid")
        button.set_defaults(run=_power, command=name)
    for action in actions.choices.values():
        _add_directory(action)
        action.set_defaults(parser=action)


def _host_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_HOSTS):
        raise argparse.ArgumentTypeError(f"wanted 1 to {MAX_HOSTS}, got {text}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_PORT):
        raise argparse.ArgumentTypeError(f"wanted 1 to {_MAX_PORT}, got {text}")
    return int(text)


def _directory(text: str) -> Path:
    if not text or text_fault(text) is not None or "\n" in text:
        raise argparse.ArgumentTypeError(f"{text!a} cannot be a directory")
    return Path(text)


def _text(text: str) -> str:
    fault = text_fault(text)
    if fault is not None:
        raise argparse.ArgumentTypeError(f"{text[:40]!a}: {fault}")
    return text


def _up(arguments: argparse.Namespace) -> int:
    try:
        from xentpm_lib.simulator.machine import Machine
        from xentpm_lib.simulator.up import Options, up
    except ImportError as error:
        raise UsageError(f"cannot be used: {error}", "install the extra: pip install xentpm[dev]") from error
    options = Options(
        hosts=arguments.hosts,
        txt=arguments.txt,
        event_log=not arguments.no_event_log,
        plain_http=arguments.http,
        port=arguments.port,
        directory=arguments.dir,
        json=arguments.json,
        until_eof=arguments.until_eof,
    )
    return up(options, Machine)


def _client(arguments: argparse.Namespace) -> Client:
    said = ["--dir", str(arguments.dir)] if arguments.dir else []
    return Client(registry.find(arguments.dir).load_access(), said)


def _list(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        print(host_commands.list_hosts(client, arguments.json))
    return 0


def _edit(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        given = arguments.host, arguments.component, arguments.append, arguments.content
        print(host_commands.edit(client, *given))
    return 0


def _power(arguments: argparse.Namespace) -> int:
    with _client(arguments) as client:
        print(host_commands.power(client, arguments.command, arguments.host))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    while arguments.words[:1] in (["--dir"], ["--"]):  # after NAME argparse leaves everything as it is
        if arguments.words.pop(0) == "--":
            break
        arguments.dir = _taken_directory(arguments, arguments.words)
    if not arguments.words:
        arguments.parser.error("the following arguments are required: COMMAND")
    with _client(arguments) as client:
        host = host_commands.running_host(client, arguments.host)
    return host_shell.execute(arguments.words, host_shell.environment(Path(host["dir"]), host["tcti"]))


def _xe(arguments: argparse.Namespace) -> int:
    words: list[str] = []
    rest = list(arguments.arguments)
    while rest:  # what stands after the command, argparse leaves as it is
        word = rest.pop(0)
        if word == "--dir":
            arguments.dir = _taken_directory(arguments, rest)
        elif word.startswith("--dir="):
            arguments.dir = _taken_directory(arguments, [word[len("--dir=") :]])
        else:
            words.append(word)
    if xe.asks_for_help(words):
        return xe.tell_usage(words)
    with _client(arguments) as client:
        return xe.run(words, client)


def _taken_directory(arguments: argparse.Namespace, words: list[str]) -> Path:
    try:
        return _directory(words.pop(0) if words else "")
    except argparse.ArgumentTypeError as error:
        raise SystemExit(arguments.parser.error(f"argument --dir: {error}")) from error
