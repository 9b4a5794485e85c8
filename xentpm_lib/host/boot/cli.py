"""The command line ``xentpm-boot``: what is measured when this host boots, and having it measured.

stdout is the result, stderr everything else. Exit status: 0 good, 1 error (and ``verify``: undone), 2 usage.
"""

import argparse
import json
import os
import sys
from typing import Any, Callable, NoReturn, Optional, Sequence

from xentpm_lib import __version__
from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.boot_setup import METHODS
from xentpm_lib.host.boot import setup_commands
from xentpm_lib.host.boot.setup_commands import Outcome, Wishes
from xentpm_lib.host.dispatch import REPORT_IT, error_description
from xentpm_lib.host.output import print_result, tell
from xentpm_lib.host.paths import CONFIG, Paths

__all__ = ["main"]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command line (default: this process's) and return its exit status."""
    try:
        options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
        if options.version:
            print_result("xentpm-boot {}".format(__version__))
            return 0
        if options.command is None:
            _usage("a command is needed: probe, predict, enable, disable, status or verify")
        outcome = options.run(_paths(options.config), options)
        print_result(json.dumps(outcome.data) if options.json else outcome.text)
        return int(outcome.exit_status)
    except XenTpmError as error:
        tell("xentpm-boot: {}\nhint: {}".format(error.message, error.hint or REPORT_IT))
        return 1
    except KeyboardInterrupt:
        tell("xentpm-boot: interrupted; the host boots, and the next call finishes what was begun")
        return 130
    except Exception as error:
        tell("xentpm-boot: {}\nhint: {}".format(*error_description(error)[1:3]))
        return 1


def _paths(config: str) -> Paths:
    """Of the dom0 that the configuration belongs to: a mistyped one is not this machine."""
    paths, path = Paths.of_config(config), os.path.abspath(config)
    if path != paths.at(CONFIG):
        _usage("--config names the configuration of a dom0, ROOT/{}, got {}".format(CONFIG, ascii(config)))
    try:
        os.stat(paths.root)
    except (FileNotFoundError, NotADirectoryError):
        _usage("--config: there is no dom0 in {}".format(ascii(paths.root)))
    except OSError:  # that only root may look is told by the commands
        pass
    return paths


def _probe(paths: Paths, _options: argparse.Namespace) -> Outcome:
    from xentpm_lib.host.boot.probe import probe

    found = probe(paths)
    return Outcome(found.to_text(), json.loads(found.to_json()))


def _predict(paths: Paths, _options: argparse.Namespace) -> Any:
    from xentpm_lib.host.boot.prediction import predict_command

    return predict_command(paths)


def _enable(paths: Paths, options: argparse.Namespace) -> Outcome:
    wishes = Wishes(options.dry_run, options.method, options.default, options.sinit)
    return setup_commands.enable(paths, wishes)


def _disable(paths: Paths, options: argparse.Namespace) -> Outcome:
    return setup_commands.disable(paths, options.dry_run)


def _status(paths: Paths, _options: argparse.Namespace) -> Outcome:
    return setup_commands.status(paths)


def _verify(paths: Paths, _options: argparse.Namespace) -> Outcome:
    return setup_commands.verify(paths)


class _Parser(argparse.ArgumentParser):
    """Usage errors in the same two lines as all others."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and end with 2."""
        _usage(message)

    def print_help(self, file: Any = None) -> None:
        """Write the help as every other result is written."""
        print_result(self.format_help().rstrip("\n"))


def _usage(message: str) -> NoReturn:
    tell("xentpm-boot: {}\nhint: xentpm-boot --help lists the commands".format(message))
    sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False, allow_abbrev=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    common.add_argument("--config", metavar="PATH", default=argparse.SUPPRESS, help="configuration file")
    parser = _Parser(
        prog="xentpm-boot",
        description="What is measured when this host boots, and having it measured.",
        epilog="An error is one line on stderr, its remedy the next.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument(
        "--config",
        metavar="PATH",
        default="/" + CONFIG,
        help="configuration file (%(default)s); ROOT%(default)s stands for the dom0 below ROOT",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def add(name: str, run: Callable[[Paths, argparse.Namespace], Any], text: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)
        found.set_defaults(run=run)
        return found

    add("probe", _probe, "show what is measured when this host boots, and why the rest is not")
    add("predict", _predict, "show what GRUB will measure at the next boot")
    _add_enable(add("enable", _enable, "set measured boot up, or mend what an update undid"))
    off = add("disable", _disable, "put back, byte for byte, what was there before")
    off.add_argument("--dry-run", action="store_true", help="show what would be done")
    add("status", _status, "show whether measured boot is set up and stands")
    add("verify", _verify, "the same, with exit status 1 and a line in the log when it was undone")
    return parser


def _add_enable(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show what would be done")
    parser.add_argument("--method", choices=METHODS, help="the way; the default is the one that fits")
    parser.add_argument("--default", action="store_true", help="tboot: make its menu entry the default")
    sinit = "tboot: the SINIT module for this machine, or bios: the BIOS brings it"
    parser.add_argument("--sinit", metavar="FILE", help=sinit)


if __name__ == "__main__":
    sys.exit(main())
