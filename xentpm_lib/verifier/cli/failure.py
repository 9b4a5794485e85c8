"""How a command that failed says so: to people on stderr, with ``--json`` to programs on stdout as well."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.verifier.cli.grammar import PROGRAM, WrongUsage
from xentpm_lib.verifier.cli.output import Output, tell
from xentpm_lib.verifier.cli.words import advice

__all__ = ["fail", "failed", "wrong_usage"]

_ERROR = 1


def failed(error: XenTpmError, words: Sequence[str]) -> int:
    """Tell an error of the project, with its code; the exit status. words: the command line."""
    return fail(words, error.code, error.message, error.hint or advice(error))


def fail(words: Sequence[str], code: str, message: str, hint: str) -> int:
    """Tell what failed; the exit status. code: one of docs/verifier.md."""
    _to_program(words, code, message, hint)
    tell(f"{PROGRAM}: {message} ({code})" + (f"\nhint: {hint}" if hint else ""))
    return _ERROR


def wrong_usage(wrong: WrongUsage, words: Sequence[str]) -> None:
    """Tell a program that its command line is wrong; people were told by the parser."""
    _to_program(words, UsageError.default_code, wrong.message, wrong.hint)


def _to_program(words: Sequence[str], code: str, message: str, hint: str) -> None:
    """One line, also behind lines that were written before: ``watch`` and ``audit export`` write lines."""
    if "--json" in words:
        with suppress(OSError, UsageError):  # where stdout does not take it the exit status has to do
            Output(True).line({"error": {"code": code, "message": message, "hint": hint}})
