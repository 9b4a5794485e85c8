"""What command lines are made of: a parser that speaks in two lines, and how a command is added."""

from __future__ import annotations

import argparse
import difflib
import textwrap
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from xentpm_lib.verifier.cli.output import tell

if TYPE_CHECKING:
    from xentpm_lib.verifier.cli.output import Output

__all__ = [
    "PROGRAM",
    "Commands",
    "Parser",
    "Run",
    "WrongUsage",
    "add_command",
    "add_group",
    "common_options",
    "formatter",
]

PROGRAM = "xentpm-attest"
_WIDTH = 79
_USAGE_ERROR = 2
_HELP_COLUMN = 28
formatter = partial(argparse.RawDescriptionHelpFormatter, max_help_position=_HELP_COLUMN)

Run = Callable[[argparse.Namespace, "Output"], int]


class WrongUsage(SystemExit):
    """A command line that is none ends the program with 2. People were told."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(_USAGE_ERROR)
        self.message = message
        self.hint = hint


class Parser(argparse.ArgumentParser):
    """Usage errors in the same two lines as all others; a wrong word names the nearest right one."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong. Raises: WrongUsage."""
        hint = f"{self.prog} --help has an example."
        tell(f"{PROGRAM}: {message}\nhint: {hint}")
        raise WrongUsage(message, hint)

    def missing_command(self) -> NoReturn:
        """Tell which commands there are. Raises: WrongUsage."""
        known = next(one.choices for one in self._actions if isinstance(one, argparse._SubParsersAction))
        self.error(f"a command is missing; there are: {', '.join(known)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value), known, 1)
        meant = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        what = action.metavar if isinstance(action.metavar, str) else "/".join(action.option_strings)
        self.error(f"there is no {(what or action.dest).lower()} {str(value)!a}; {meant}")


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]
else:
    Commands = argparse._SubParsersAction


def add_command(
    commands: Commands, name: str, run: Run, help_text: str, example: str, more: str = ""
) -> Parser:
    """A command that does something. example: one or more command lines; more: paragraphs below the first."""
    parser = commands.add_parser(
        name,
        help=help_text,
        description=_paragraphs(help_text[:1].upper() + help_text[1:] + ".", more),
        epilog="example:\n" + textwrap.indent(example, "  "),
        formatter_class=formatter,
        parents=[common_options()],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_group(
    commands: Commands, name: str, help_text: str, example: str, alone: Run | None = None
) -> Commands:
    """A command that has commands of its own. alone: what it does without one of them."""
    parser = commands.add_parser(
        name,
        help=help_text,
        description=_paragraphs(help_text[:1].upper() + help_text[1:] + "."),
        epilog="example:\n" + textwrap.indent(example, "  "),
        formatter_class=formatter,
        parents=[common_options()] if alone is not None else [],
        allow_abbrev=False,
    )
    parser.set_defaults(run=alone, parser=parser)
    return parser.add_subparsers(metavar="COMMAND")


def common_options() -> Parser:
    """``--json`` and ``--home``, which may stand before and after the command."""
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--home",
        type=_directory,
        metavar="DIR",
        help="the station's directory (default: XENTPM_ATTEST_HOME, else /var/lib/xentpm-attest for root,"
        " ~/.local/state/xentpm-attest for others)",
    )
    return parser


def _directory(text: str) -> str:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError("wanted a directory, got nothing")
    return text


def _paragraphs(*texts: str) -> str:
    paragraphs = [part for text in texts if text for part in text.split("\n\n")]
    return "\n\n".join(textwrap.fill(" ".join(part.split()), _WIDTH) for part in paragraphs)
