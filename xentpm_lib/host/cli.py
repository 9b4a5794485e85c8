"""The command line ``xentpm``: the options of the closed pack's tool, and ours.

stdout is the result, stderr everything else. Exit status: 0 good, 1 error, 2 usage; the one exception is
``--is_tpm_owned``, which is 1 when the TPM is owned and 0 when it is not, as it always was.
"""

import argparse
import sys
from typing import Any, Callable, Dict, List, NamedTuple, NoReturn, Optional, Sequence

from xentpm_lib import __version__
from xentpm_lib.errors import XenTpmError
from xentpm_lib.host import actions
from xentpm_lib.host.dispatch import REPORT_IT, error_description
from xentpm_lib.host.host import Host
from xentpm_lib.host.output import print_result, tell
from xentpm_lib.host.paths import CONFIG, Paths

__all__ = ["main"]


class _Option(NamedTuple):
    """``value``: the name of the option's value in the help, None where it takes none."""

    name: str
    action: Callable[[Host, str], actions.Outcome]
    help: str
    value: Optional[str] = None


_OPTIONS = (
    _Option(
        "status", actions.status, "show whether this host is ready to be attested, and what to do if not"
    ),
    _Option(
        "is_tpm_owned",
        actions.is_tpm_owned,
        "exit with 1 if the TPM is owned by this host, with 0 if it is not",
    ),
    _Option("take_ownership", actions.take_ownership, "set the owner and lockout password of a free TPM"),
    _Option("get_ekey", actions.get_ekey, "print the endorsement key (PEM)"),
    _Option(
        "get_ekcert",
        actions.get_ekcert,
        "print the endorsement certificate (base64 DER; nothing if there is none)",
    ),
    _Option(
        "gen_aik",
        actions.gen_aik,
        "make the attestation key if there is none; print its Name",
        "[CERTIFICATE]",
    ),
    _Option("get_aik_pem", actions.get_aik_pem, "print the attestation key (PEM)"),
    _Option("get_aik_tcpa", actions.get_aik_tcpa, "print the attestation key (base64 TPM2B_PUBLIC)"),
    _Option(
        "tpm_challenge",
        actions.tpm_challenge,
        "answer a challenge (base64); print the secret (base64)",
        "CHALLENGE",
    ),
    _Option(
        "tpm_quote",
        actions.tpm_quote,
        "print quote evidence (JSON) for a nonce (base64, 16 to 64 bytes)",
        "NONCE",
    ),
    _Option(
        "tpm_set_asset_tag",
        actions.set_asset_tag,
        "set the asset tag (hex or base64 of 20, 32 or 48 bytes)",
        "TAG",
    ),
    _Option("tpm_clear_asset_tag", actions.clear_asset_tag, "remove the asset tag"),
    _Option("tpm_get_asset_tag", actions.get_asset_tag, "print the asset tag (hex)"),
    _Option(
        "rotate_ak",
        actions.rotate_ak,
        "use another attestation key from now on; every verifier has to enrol this host again",
    ),
    _Option(
        "boot",
        actions.boot,
        "what the boot-time unit runs: take a free TPM, make the keys, extend the asset tag",
    ),
)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command line (default: this process's) and return its exit status."""
    try:
        return _main([_underscored(word) for word in (sys.argv[1:] if argv is None else argv)])
    except XenTpmError as error:
        tell("xentpm: {}\nhint: {}".format(error.message, error.hint or REPORT_IT))
        return 1
    except KeyboardInterrupt:
        tell("xentpm: interrupted; the next call finishes what was begun")
        return 130
    except Exception as error:
        tell("xentpm: {}\nhint: {}".format(*error_description(error)[1:3]))
        return 1


def _main(words: List[str]) -> int:
    parser = _parser()
    options, unknown = parser.parse_known_args(words)
    chosen = [option for option in _OPTIONS if getattr(options, option.name) is not None]
    if unknown:
        parser.error("there is no option {}".format(ascii(unknown[0])))
    if options.version:
        print_result("xentpm {}".format(__version__))
        return 0
    if len(chosen) != 1:
        parser.error("one option that says what to do is needed, got {}".format(len(chosen)))
    return _run(chosen[0], options)


class _Parser(argparse.ArgumentParser):
    """Usage errors in the same two lines as all others."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and end with 2."""
        tell("xentpm: {}\nhint: xentpm --help lists the options".format(message))
        sys.exit(2)

    def print_help(self, file: Any = None) -> None:
        """Write the help as every other result is written."""
        print_result(self.format_help().rstrip("\n"))


def _run(option: _Option, options: argparse.Namespace) -> int:
    host = Host(Paths.of_config(options.config))
    try:
        outcome = option.action(host, getattr(options, option.name))
    finally:
        for warning in host.warnings:
            tell("xentpm: warning: {}".format(warning))
    print_result(outcome.to_json() if options.json else outcome.text)
    return outcome.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="xentpm",
        usage="xentpm [--config PATH] [--json] OPTION",
        description="The TPM of this host: keys, evidence and asset tag.",
        epilog="Options may be written with - or _. An error is one line on stderr, its remedy the next.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument(
        "--config", metavar="PATH", default="/" + CONFIG, help="configuration file (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    group = parser.add_argument_group("what to do, one of")
    for option in _OPTIONS:
        group.add_argument("--" + option.name, help=option.help, **_style(option.value))
    return parser


def _style(value: Optional[str]) -> Dict[str, Any]:
    if value is None:
        return {"action": "store_const", "const": ""}
    if value.startswith("["):
        return {"nargs": "?", "const": "", "metavar": value.strip("[]")}
    return {"metavar": value}


def _underscored(word: str) -> str:
    """``--get-aik-pem`` as ``--get_aik_pem``; only the option's name, never its value."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return "--" + name.replace("-", "_") + equals + value


if __name__ == "__main__":
    sys.exit(main())
