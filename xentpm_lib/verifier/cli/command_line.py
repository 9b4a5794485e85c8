"""The command line's grammar as a whole, how a command is run, and what becomes of its errors.

Only the module of the command that was typed is imported: ``--help`` has not to wait for a database library.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from xentpm_lib import __version__
from xentpm_lib.errors import XenTpmError
from xentpm_lib.verifier.cli.failure import fail, failed, wrong_usage
from xentpm_lib.verifier.cli.grammar import PROGRAM, Commands, Parser, WrongUsage, common_options, formatter
from xentpm_lib.verifier.cli.output import Output, discard_stdout

__all__ = ["COMMANDS", "parser", "run"]

_ERROR = 1
_DEBUG = "XENTPM_DEBUG"
_DESCRIPTION = "Decides for every host of your pools whether it is trusted, says why not, and tells people."
_EPILOG = """\
begin with:
  xentpm-attest init
  xentpm-attest enroll https://pool.example.com --ek-ca /etc/xentpm-attest/ek-ca
  xentpm-attest baseline capture --all --label installed
  xentpm-attest attest

Exit status: 0 good, 1 error, 2 wrong usage, 3 a host that was asked about is not trusted.
With --json an error is one line on standard output: {"error": {"code": …, "message": …, "hint": …}}.
"""


def _enrolment(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import enrolment

    enrolment.add(commands)


def _hosts(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import hosts

    hosts.add(commands)


def _explaining(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import explaining

    explaining.add(commands)


def _settings(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import settings

    settings.add(commands)


def _signing(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import signing

    signing.add(commands)


def _attest(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import attest

    attest.add(commands)


def _baseline(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import baseline

    baseline.add(commands)


def _policy(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import policy

    policy.add(commands)


def _pool(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import pool

    pool.add(commands)


def _channels(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import channels

    channels.add(commands)


def _upkeep(commands: Commands) -> None:
    from xentpm_lib.verifier.cli import upkeep

    upkeep.add(commands)


#: command: what adds it (a module's ``add`` may add several), and its line in the list of all commands
COMMANDS: dict[str, tuple[Callable[[Commands], None], str]] = {
    "init": (_enrolment, "make this station's directory, keys and store"),
    "enroll": (_enrolment, "take a pool's hosts under watch, or a host anew"),
    "forget": (_enrolment, "stop watching a host"),
    "baseline": (_baseline, "known-good values: capture, approve, compare, retire, move"),
    "attest": (_attest, "ask hosts for evidence now and judge it"),
    "watch": (_attest, "attest all hosts again and again, until stopped"),
    "hosts": (_hosts, "list the hosts and their state"),
    "show": (_hosts, "show all that is known of a host"),
    "explain": (_explaining, "say in plain words why a host is not trusted"),
    "history": (_explaining, "list what happened to a host"),
    "group": (_settings, "put hosts into a group of alike ones"),
    "asset-tag": (_settings, "tell which asset tag a host should have"),
    "token": (_signing, "print a host's state as a signed token"),
    "policy": (_policy, "what a host has to show to be trusted"),
    "pool": (_pool, "pools, their certificates and passwords"),
    "channels": (_channels, "who is told of changes: state, test"),
    "audit": (_upkeep, "export everything that decided trust"),
    "keys": (_signing, "the public key that checks tokens and exported files"),
    "store": (_upkeep, "check the store, remove old results"),
}


def parser(words: Sequence[str]) -> Parser:
    """The grammar, complete for the commands among ``words``."""
    top = Parser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=formatter,
        parents=[common_options()],
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    top.set_defaults(run=None, parser=top)
    commands = top.add_subparsers(metavar="COMMAND")
    chosen = {COMMANDS[word][0] for word in words if word in COMMANDS}
    for name, (add, help_text) in COMMANDS.items():
        if add not in chosen:
            commands.add_parser(name, help=help_text)
        elif add not in (COMMANDS[known][0] for known in commands.choices if known in COMMANDS):
            add(commands)
    return top


def run(words: Sequence[str]) -> int:
    """Run a command line; returns the exit status."""
    try:
        return _run(words)
    except WrongUsage as wrong:
        wrong_usage(wrong, words)
        raise
    except XenTpmError as error:
        return failed(error, words)
    except BrokenPipeError:
        discard_stdout()
        return _ERROR
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        hint = "Look at the path, its owner and its rights."
        return fail(words, "XENTPM_IO", f"{what}{error.strerror or error}", hint)
    except Exception as error:
        return _defect(error, words)


def _set_up_logging() -> None:
    """What libraries log is for those who ask for it: errors are told by the command itself."""
    if os.environ.get(_DEBUG):
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    else:
        logging.getLogger().addHandler(logging.NullHandler())


def _run(words: Sequence[str]) -> int:
    _set_up_logging()
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    try:
        arguments, unknown = parser(words).parse_known_args(words)
    except ImportError as error:
        raise XenTpmError(
            f"a library is missing: {error}", "Install the verifier with: pip install 'xentpm[verifier]'"
        ) from error
    if unknown:
        arguments.parser.error(f"there is no option or argument {unknown[0]!a} here")
    if arguments.run is None:
        arguments.parser.missing_command()
    return int(arguments.run(arguments, Output(getattr(arguments, "json", False))))


def _defect(error: Exception, words: Sequence[str]) -> int:
    logging.getLogger(__name__).debug("a defect", exc_info=error)
    message = f"this is a defect of xentpm: {type(error).__name__}: {error}"
    hint = f"Report it with this text. {_DEBUG}=1 before the command shows where it happened."
    return fail(words, "XENTPM_INTERNAL", message, hint)
