"""Which columns of a table fit into a terminal: words and identifiers stay whole, or the column goes."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["GAP", "MIN_LAST", "fitting", "shortened", "widths"]

_MORE = "..."  # every terminal has it
GAP = 2  # characters between columns
MIN_LAST = 16  # characters of the last column, which alone may be wrapped or cut


def widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """What each column needs, in characters of a terminal."""
    from rich.cells import cell_len

    return [max(cell_len(row[at]) for row in (columns, *rows)) for at in range(len(columns))]


def fitting(columns: Sequence[str], needed: Sequence[int], room: int, drop: Sequence[str]) -> list[int]:
    """The places of the columns to show. drop: names of those that may go, the first one first."""
    shown = list(range(len(columns)))
    for name in drop:
        if _least(shown, needed) <= room:
            break
        shown = [at for at in shown if columns[at] != name]
    return shown


def shortened(text: str, room: int) -> str:
    """The text, or its beginning and dots, in ``room`` characters of a terminal."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= room else set_cell_size(text, room - len(_MORE)) + _MORE


def _least(shown: Sequence[int], needed: Sequence[int]) -> int:
    whole = sum(needed[at] + GAP for at in shown[:-1])
    return whole + min(needed[shown[-1]], MIN_LAST)
