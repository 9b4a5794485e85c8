"""GRUB's menu: what an entry is, and which one boots by itself."""

from typing import TYPE_CHECKING, List, Optional, Sequence

from xentpm_lib.host.boot.grub_state import MenuEntry
from xentpm_lib.host.boot.grub_syntax import Command
from xentpm_lib.host.boot.grub_terminal import show_theme
from xentpm_lib.host.boot.grub_words import option_values, to_number

if TYPE_CHECKING:
    from xentpm_lib.host.boot.grub_run import Interpreter

__all__ = ["chosen", "path_of", "read_entry", "rest_of_default", "show_menu"]

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


def show_menu(grub: "Interpreter") -> None:
    """Boot what the menu boots by itself, with its fallbacks; returns where nothing boots."""
    menu, env = grub.state.menus[-1], grub.state.env
    if not menu:
        return
    _wait(grub)
    _execute(grub, menu[chosen(menu, env.get("default"))])
    while True:
        number = to_number(env.get("fallback") or "")
        if number is None:
            return
        env.set("fallback", number[1].lstrip())
        if number[0] >= len(menu):
            raise grub.error("there is no menu entry {} to fall back to".format(number[0]))
        grub.state.note(
            "The default entry does not boot: the fallback entry {} is assumed.".format(number[0])
        )
        _execute(grub, menu[number[0]])


def _wait(grub: "Interpreter") -> None:
    """Let the time pass until the menu boots. It is drawn for that, unless it is hidden or has no time."""
    env = grub.state.env
    timeout = to_number(env.get("timeout") or "")
    if timeout is None:
        grub.state.note("The menu has no timeout: someone has to choose. Its default entry is assumed.")
        env.unset("timeout_style")
    if env.get("timeout_style") in ("countdown", "hidden"):
        env.unset("timeout")
        env.unset("timeout_style")
    elif timeout is None or timeout[0]:
        show_theme(grub)
        env.unset("timeout")


def _execute(grub: "Interpreter", entry: MenuEntry) -> None:
    env = grub.state.env
    if entry.is_restricted and env.get("superusers"):
        raise grub.error(
            "the menu entry {} asks for a password".format(ascii(entry.arguments[0][:60])), entry.line
        )
    old = env.get("chosen"), env.get("default")
    if entry.is_submenu:
        env.open()
        grub.state.menus.append([])
        env.set("timeout", "0")
    else:
        grub.entry = entry.arguments[0]
    env.set("chosen", path_of(old[0], entry.id))
    env.export("chosen")
    env.restore("default", rest_of_default(old[1]))
    grub.execute_entry(entry)
    if entry.is_submenu:
        with grub.deeper():
            show_menu(grub)
        grub.state.menus.pop()
        env.close()
    env.restore("chosen", old[0])
    env.restore("default", old[1])
    env.unset("timeout")
