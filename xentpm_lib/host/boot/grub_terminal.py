"""GRUB's commands for terminals, fonts and pictures; and what a menu with a theme reads."""

import re
from typing import TYPE_CHECKING, Callable, Dict, Sequence

from xentpm_lib.host.boot.grub_font import is_font
from xentpm_lib.host.boot.grub_syntax import boot_error
from xentpm_lib.host.boot.grub_words import option_values, to_number

if TYPE_CHECKING:
    from xentpm_lib.host.boot.grub_run import Interpreter

__all__ = ["TERMINAL_COMMANDS", "show_theme"]

_BAD_FILE_TYPE, _FILE_NOT_FOUND, _BAD_DEVICE, _BAD_NUMBER, _BAD_ARGUMENT, _BAD_FONT = 4, 5, 6, 10, 18, 23
_GRAPHICS = "gfxterm"
_MODULES = {
    "i": {"serial": "serial", "at_keyboard": "at_keyboard"},
    "o": {"serial": "serial", _GRAPHICS: _GRAPHICS},
}
_NOT_INTERPRETED = re.compile(
    r"(audio|spkmodem|morse|cbmemc|vga_text|mda_text|usb_keyboard.*|serial_usb.*)\Z"
)
_SERIAL_OPTIONS = (
    ("unit", "u", "value"),
    ("port", "p", "value"),
    ("speed", "s", "value"),
    ("word", "w", "value"),
    ("parity", "r", "value"),
    ("stop", "t", "value"),
    ("rtscts", "f", "value"),
)
_CHOICES = {"parity": ("no", "odd", "even"), "stop": ("1", "1.5", "2"), "rtscts": ("on", "off")}
_UNITS = 4  # serial ports that GRUB looks for
_PICTURES = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "tga": "tga"}
#: lines of a theme that name no file
_PLAIN_THEME = re.compile(
    r"\s*(#.*|(title-(text|font|color)|message-(font|color|bg-color)|desktop-color|terminal-font)"
    r'\s*:\s*("[^"\\]*"|[^"\s#]+)\s*(#.*)?)?\Z'
)


def _terminal(direction: str) -> "Callable[[Interpreter, Sequence[str]], int]":
    """``terminal_input`` and ``terminal_output``: the module of a terminal that is not there is loaded."""

    def command(grub: "Interpreter", words: Sequence[str]) -> int:
        changes = words[:1] in (["--append"], ["--remove"])
        names = words[1:] if changes else words
        if not names:
            return _BAD_ARGUMENT if changes else 0
        for name in names:
            if not _has_terminal(grub, direction, name):
                return _BAD_ARGUMENT
        if direction == "o":
            outputs = grub.state.outputs
            grub.state.outputs = (
                set(names)
                if not changes
                else outputs | set(names)
                if words[0] == "--append"
                else outputs - set(names)
            )
        return 0

    return command


def _has_terminal(grub: "Interpreter", direction: str, name: str) -> bool:
    if name in ("console", "ofconsole"):
        return True
    if _NOT_INTERPRETED.match(name):
        raise grub.error("the terminal {} is not interpreted".format(ascii(name[:40])))
    module = _MODULES[direction].get("serial" if name.startswith("serial_") else name)
    loaded = grub.state.modules
    if module is None or not (loaded is None or module in loaded):
        listed = grub.terminals.get(direction + name) or grub.terminals.get(direction + name[:7] + "*")
        if listed is None or not grub.state.load_module(listed):
            return False
    grub.assume("the terminal {} is assumed to be there".format(ascii(name[:40])))
    return True


def _serial(grub: "Interpreter", words: Sequence[str]) -> int:
    parsed = option_values(words, _SERIAL_OPTIONS, keep_unknown=False)
    if parsed is None:
        return _BAD_ARGUMENT
    options = dict(parsed[0])
    for name in ("unit", "port", "speed", "word"):
        if name in options and to_number(options[name] or "") is None:
            return _BAD_NUMBER
    unit = to_number(options.get("unit") or "0")
    if unit is not None and unit[0] >= _UNITS and "port" not in options:
        return _BAD_ARGUMENT
    if any(options[name] not in choices for name, choices in _CHOICES.items() if name in options):
        return _BAD_ARGUMENT
    grub.assume("the serial port is assumed to be there")
    return 0


def _sleep(grub: "Interpreter", words: Sequence[str]) -> int:
    parsed = option_values(words, (("verbose", "v", "none"), ("interruptible", "i", "none")), False)
    return 0 if parsed is not None and len(parsed[1]) == 1 else _BAD_ARGUMENT


def _loadfont(grub: "Interpreter", words: Sequence[str]) -> int:
    for word in words:
        prefix = grub.state.env.get("prefix")
        file = grub.state.open(word if word[:1] in ("(", "/") else "{}/fonts/{}.pf2".format(prefix, word))
        if file is None:
            return _FILE_NOT_FOUND
        if not is_font(file):
            return _BAD_FONT
    return 0 if words else _BAD_ARGUMENT


def _background_image(grub: "Interpreter", words: Sequence[str]) -> int:
    """A picture is read where GRUB's screen shows pictures, and a module for its kind is there."""
    parsed = option_values(words, (("mode", "m", "value"),), keep_unknown=False)
    if parsed is None:
        return _BAD_ARGUMENT
    if _GRAPHICS not in grub.state.outputs:
        return _BAD_DEVICE
    if not parsed[1]:
        return 0
    name = parsed[1][0]
    module = _PICTURES.get(name.rpartition(".")[2].lower())
    loaded = grub.state.modules
    if module is None or not (loaded is None or module in loaded):
        return _BAD_FILE_TYPE
    grub.state.note(
        "{} line {}: GRUB is assumed to show the picture {}.".format(
            grub.state.file, grub.line, ascii(name[:100])
        )
    )
    return 0 if grub.state.open(name) is not None else _FILE_NOT_FOUND


def show_theme(grub: "Interpreter") -> None:
    """What GRUB reads when it draws a menu, before an entry of it boots.

    Raises:
        XenTpmError: the theme has pictures, which are read and measured.
    """
    state, theme = grub.state, grub.state.env.get("theme")
    if theme is None or _GRAPHICS not in state.outputs or not state.load_module("gfxmenu"):
        return
    full = theme if theme[:1] in ("(", "/") else "{}/themes/{}".format(state.env.get("prefix"), theme)
    if full == state.theme:
        return
    file = state.open(full)
    if file is None:
        state.note("There is no theme {}: GRUB shows a menu of text.".format(ascii(full[:100])))
        return
    state.theme = full
    for line in state.read(file).decode("latin-1").split("\n"):
        if not _PLAIN_THEME.match(line.rstrip("\r")):
            raise boot_error(
                "{}: the menu has the theme {}: GRUB reads and measures its pictures, which is not"
                " interpreted".format(state.file, ascii(full[:100])),
                "Take `set theme` out of GRUB's configuration, or let it boot with timeout=0.",
            )


def _nothing(grub: "Interpreter", words: Sequence[str]) -> int:
    return 0


TERMINAL_COMMANDS: "Dict[str, Callable[[Interpreter, Sequence[str]], int]]" = {
    "background_image": _background_image,
    "clear": _nothing,
    "loadfont": _loadfont,
    "play": _nothing,
    "serial": _serial,
    "sleep": _sleep,
    "terminal_input": _terminal("i"),
    "terminal_output": _terminal("o"),
}
