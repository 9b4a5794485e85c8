"""Where a command's words go: the result to stdout, all else to stderr.

Names and texts come from hosts that may lie: nothing of them reaches a terminal as a control character.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.cli.columns import GAP, MIN_LAST, fitting, shortened, widths
from xentpm_lib.verifier.plain import one_line

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "Progress", "clean", "clean_lines", "discard_stdout", "tell"]

_MAX_CELL = 100_000  # characters of a line; longer than any that is meant
_TERMINAL_COLUMNS = 80
_PIPE_COLUMNS = 240  # at least
_STYLES = {
    "trusted": "green",
    "unreachable": "yellow",
    "stale": "yellow",
    "pending-approval": "yellow",
    "not-enrolled": "yellow",
}


class Progress(Protocol):
    """What a command tells of its progress."""

    def expect(self, total: int) -> None:
        """So many there will be."""

    def advance(self, what: str) -> None:
        """One more is done; ``what`` was the last."""


def clean(text: str) -> str:
    """Text without control, direction and other invisible characters: they are shown as escapes."""
    return one_line(text, limit=_MAX_CELL)


def clean_lines(text: str) -> str:
    """The same for several lines."""
    return "\n".join(map(clean, text.split("\n")))


def tell(text: str) -> None:
    """Write lines to stderr, if there is one."""
    with suppress(OSError, AttributeError, ValueError):
        _put(sys.stderr, clean_lines(text) + "\n")


def _put(stream: TextIO, text: str) -> None:
    stream.write(
        text.encode(stream.encoding or "ascii", "backslashreplace").decode(stream.encoding or "ascii")
    )
    stream.flush()


class Output:
    """The result of one command. ``as_json``: for a program."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json

    def text(self, text: str) -> None:
        """Lines of the result. Raises: UsageError ``XENTPM_IO`` when stdout does not take them."""
        self._write(clean_lines(text) + "\n")

    def document(self, value: Any) -> None:
        """The result as JSON, ASCII only. Raises: as ``text``."""
        self._write(json.dumps(value, indent=2, allow_nan=False) + "\n")

    def line(self, value: Any) -> None:
        """One JSON line of a result that has many. Raises: as ``text``."""
        self._write(json.dumps(value, allow_nan=False) + "\n")

    def columns(self, at_most: int) -> int:
        """How wide text for people is to be: ``at_most``, or what the terminal has if that is less."""
        return min(at_most, _terminal_columns()) if _is_terminal(sys.stdout) else at_most

    def note(self, text: str) -> None:
        """What is not the result: to stderr."""
        tell(text)

    def note_effect(self) -> None:
        """That what was changed counts from the next attestation on; a watch that runs makes it at once."""
        if not self.as_json:
            tell("It counts from the next attestation on. Now, unless a watch runs: xentpm-attest attest")

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        drop: Sequence[str] = (),
        cut: bool = False,
    ) -> None:
        """A table; states are coloured on a terminal. Only the last column is ever wrapped.

        drop: columns that go where a terminal is narrow, the first one first. cut: there the last column is
        cut, not wrapped. Raises: as ``text``.
        """
        from rich.table import Table
        from rich.text import Text

        cells = [[clean(cell) for cell in row] for row in rows]
        needed = widths(columns, cells)
        rendered = io.StringIO()
        console = _console(sys.stdout, rendered)
        shown = fitting(columns, needed, console.width, drop) if console.is_terminal else range(len(columns))
        last = shown[-1]
        console.width = max(console.width, sum(needed[at] + GAP for at in shown[:-1]) + MIN_LAST)
        if not console.is_terminal:  # a table in a pipe is for grep: its lines are not wrapped
            console.width = max(console.width, sum(needed) + GAP * len(needed))
        room = console.width - sum(needed[at] + GAP for at in shown[:-1])
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
        for at in shown:
            if at == last:
                table.add_column(Text(columns[at]), max_width=room, overflow="fold", no_wrap=cut)
            else:
                table.add_column(Text(columns[at]), min_width=needed[at], no_wrap=True)
        for row in cells:
            row[last] = shortened(row[last], room) if cut else row[last]
            table.add_row(*(Text(row[at], style=_style(row[at])) for at in shown))
        console.print(table)
        lines = [line.rstrip() for line in rendered.getvalue().rstrip("\n").split("\n")]
        self._write("\n".join(lines) + "\n")

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Progress]:
        """A bar on a terminal's stderr; nothing elsewhere. total: None until ``expect`` tells it."""
        if sys.stderr is None or not sys.stderr.isatty():
            yield _Silent()
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        with Bar(*columns, TimeElapsedColumn(), console=_console(sys.stderr), transient=True) as bar:
            yield _Shown(bar, bar.add_task(what, total=total))

    def _write(self, text: str) -> None:
        try:
            if sys.stdout is None:
                raise OSError(errno.EBADF, "stdout is closed")
            _put(sys.stdout, text)
        except BrokenPipeError:
            discard_stdout()
            raise
        except OSError as error:
            discard_stdout()
            raise UsageError(
                f"the result cannot be written: {error.strerror}",
                "What was asked for was done; ask again with room for the result.",
                "XENTPM_IO",
            ) from error


class _Silent:
    def expect(self, total: int) -> None:
        """Nobody looks."""

    def advance(self, what: str) -> None:
        """Nobody looks."""


class _Shown:
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def expect(self, total: int) -> None:
        self._bar.update(self._task, total=total)

    def advance(self, what: str) -> None:
        self._bar.update(self._task, advance=1, description=clean(what))


def _style(cell: str) -> str:
    return _STYLES.get(cell, "red" if cell.startswith("untrusted") else "")


def _console(stream: TextIO | None, into: TextIO | None = None) -> Console:
    """What renders for ``stream``; it writes to ``into`` where that is given."""
    from rich.console import Console

    terminal = _is_terminal(stream)
    return Console(
        file=into or stream,
        width=_terminal_columns() if terminal else _PIPE_COLUMNS,
        force_terminal=terminal,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _terminal_columns() -> int:
    """A serial console does not know its width, which Python 3.10 passes on as 0."""
    return shutil.get_terminal_size().columns or _TERMINAL_COLUMNS


def discard_stdout() -> None:
    """Send the rest of stdout nowhere: what is still buffered must not fail once more at the end."""
    with suppress(OSError, AttributeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
