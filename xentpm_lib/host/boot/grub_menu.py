"""GRUB's menu: what an entry is, and which one boots by itself."""

from typing import List, Optional, Sequence

from xentpm_lib.host.boot.grub_state import MenuEntry
from xentpm_lib.host.boot.grub_syntax import Command
from xentpm_lib.host.boot.grub_words import option_values, to_number

__all__ = ["chosen", "path_of", "read_entry", "rest_of_default"]

_OPTIONS = (
    ("class", "", "value"),
    ("users", "", "value"),
    ("hotkey", "", "value"),
    ("source", "", "value"),
    ("id", "", "value"),
    ("unrestricted", "", "none"),
)


def read_entry(words: List[str], command: Optional[Command]) -> Optional[MenuEntry]:
    """The entry that a ``menuentry`` or ``submenu`` command makes; None where GRUB refuses it."""
    parsed = option_values(words[1:], _OPTIONS, keep_unknown=True)
    if parsed is None or command is None or command.block is None:
        return None
    options, rest = dict(parsed[0]), parsed[1]
    arguments = tuple(rest[:-1])  # the last one is the block
    if not arguments or "source" in options:
        return None
    restricted = "users" in options or "unrestricted" not in options
    return MenuEntry(
        command.line,
        arguments,
        options.get("id") or arguments[0],
        command.block.body,
        words[0] == "submenu",
        restricted,
    )


def chosen(menu: Sequence[MenuEntry], default: Optional[str]) -> int:
    """The index of the default entry: by number, title or id; the first where there is no such entry."""
    if default is None:
        return 0
    number = to_number(default)
    if number is not None:
        return number[0] if number[0] < len(menu) else 0
    name = _first_name(default)
    names = [index for index, entry in enumerate(menu) if name in (entry.arguments[0], entry.id)]
    return names[0] if names else 0


def _first_name(default: str) -> str:
    end = _end_of_first(default)
    return (default if end is None else default[:end]).replace(">>", ">")


def _end_of_first(default: str) -> Optional[int]:
    """Where the first ``>`` is that is not doubled."""
    at = 0
    while at < len(default):
        if default.startswith(">>", at):
            at += 2
        elif default[at] == ">":
            return at
        else:
            at += 1
    return None


def rest_of_default(default: Optional[str]) -> Optional[str]:
    """What is left of ``default`` for the menu inside; None for nothing."""
    end = _end_of_first(default or "")
    return None if end is None else (default or "")[end + 1 :] or None


def path_of(outer: Optional[str], name: str) -> str:
    """The value of ``chosen``."""
    own = name.replace(">", ">>")
    return own if outer is None else "{}>{}".format(outer, own)
