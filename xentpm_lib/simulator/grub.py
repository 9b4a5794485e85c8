"""A boot loader that runs a host's grub.cfg and says what GRUB 2.06 with its ``tpm`` module measures.

PCR 9 has the files as they are read, PCR 8 the commands as they are executed: their words joined by
single spaces, without quotes, variables expanded. The log entry of a command begins with a word on its kind
that is not part of what is measured, and ends with a NUL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xentpm_lib.errors import FormatError
from xentpm_lib.simulator.grub_syntax import Assignment, Command, MenuEntry, Statement, parse
from xentpm_lib.simulator.measurement import Measurement, measure

__all__ = ["BootModule", "GrubRun", "default_entry", "run"]

EV_IPL = 0x0000000D
COMMANDS_PCR = 8
FILES_PCR = 9
PREFIX = "(hd0,gpt4)/EFI/xenserver"

_WITHOUT_EFFECT = frozenset({"boot", "echo", "export", "serial", "terminal_input", "terminal_output"})
_IMAGES = frozenset({"initrd", "linux", "module2", "multiboot2"})

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class BootModule:
    """A file that was loaded, with the arguments that it gets."""

    command: str
    path: str
    arguments: str
    content: bytes


@dataclass
class GrubRun:
    """What happened: measurements in their order, and what was loaded."""

    measurements: list[Measurement] = field(default_factory=list)
    modules: list[BootModule] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=lambda: {"prefix": PREFIX, "root": "hd0,gpt4"})


def run(config_path: str, read: Read) -> GrubRun:
    """Run the grub.cfg at ``config_path`` as far as its default entry is booted.

    read: returns the content of a file, by the path that the configuration has.
    Raises: FormatError for what GRUB, or this imitation, would not boot.
    """
    result = GrubRun()
    text = _decode(_read_measured(result, read, config_path))
    statements = parse(text)
    for statement in statements:
        _execute(result, read, statement)
    entry = default_entry(statements, result.variables.get("default", "0"))
    title = entry.words[1].expand(result.variables)
    _measure_text(result, "grub_cmd: ", f"setparams {title}")
    for command in entry.body:
        _execute(result, read, command)
    if not result.modules:
        raise FormatError(f"the menu entry {title!r} loads no kernel", where="grub.cfg")
    return result


def default_entry(statements: Sequence[Statement], default: str) -> MenuEntry:
    """Return the entry that boots: by number, or by title. Raises: FormatError when it is not there."""
    entries = [statement for statement in statements if isinstance(statement, MenuEntry)]
    for number, entry in enumerate(entries):
        if default in (str(number), entry.words[1].expand({})):
            return entry
    raise FormatError(f"there is no menu entry {default!r}; there are {len(entries)}", where="grub.cfg")


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("it is not UTF-8 text", where="grub.cfg") from error


def _execute(result: GrubRun, read: Read, statement: Statement) -> None:
    words = [] if isinstance(statement, Assignment) else _expand(result, statement)
    if isinstance(statement, Assignment):
        text = statement.word.expand(result.variables)
        _measure_text(result, "grub_cmd: ", text)
        _assign(result, text)
    elif isinstance(statement, MenuEntry):
        _measure_text(result, "grub_cmd: ", f"{' '.join(words)} {{\n{statement.text}\n}}")
    else:
        _measure_text(result, "grub_cmd: ", " ".join(words))
        _carry_out(result, read, words, statement)


def _expand(result: GrubRun, statement: Command | MenuEntry) -> list[str]:
    return [word.expand(result.variables) for word in statement.words]


def _assign(result: GrubRun, text: str) -> None:
    name, _, value = text.partition("=")
    result.variables[name] = value


def _carry_out(result: GrubRun, read: Read, words: list[str], command: Command) -> None:
    name, arguments = words[0], words[1:]
    where = f"grub.cfg line {command.line + 1}"
    if name in _IMAGES:
        _load(result, read, name, arguments, where)
    elif name == "set":
        for argument in arguments:
            _assign(result, argument)
    elif name == "search":
        _search(result, read, arguments, where)
    elif name not in _WITHOUT_EFFECT:
        raise FormatError(f"the simulated boot loader has no command {name!r}", where=where)


def _search(result: GrubRun, read: Read, arguments: list[str], where: str) -> None:
    """Find a file system; only a search for a file reads something."""
    if not arguments or arguments[-1].startswith("-"):
        raise FormatError("search for what?", where=where)
    if "--file" in arguments or "-f" in arguments:
        _read_measured(result, read, arguments[-1])


def _load(result: GrubRun, read: Read, name: str, arguments: list[str], where: str) -> None:
    if not arguments or arguments[0].startswith("-"):
        raise FormatError(f"{name} needs a file name first", where=where)
    path, text = arguments[0], _command_line(arguments[1:])
    result.modules.append(BootModule(name, path, text, _read_measured(result, read, path)))
    if name == "linux":
        _measure_text(result, "kernel_cmdline: ", _command_line(arguments))
    elif name == "multiboot2":
        _measure_text(result, "kernel_cmdline: ", text)
    elif name == "module2":
        _measure_text(result, "module_cmdline: ", text)


def _command_line(arguments: Sequence[str]) -> str:
    """Arguments as a kernel gets them: with a backslash before quotes, in quotes where there is a space."""
    escaped = (re.sub(r"([\\'\"])", r"\\\1", argument) for argument in arguments)
    return " ".join(f'"{text}"' if " " in text else text for text in escaped)


def _read_measured(result: GrubRun, read: Read, path: str) -> bytes:
    content = read(path)
    result.measurements.append(measure(FILES_PCR, EV_IPL, content, path.encode() + b"\0"))
    return content


def _measure_text(result: GrubRun, kind: str, text: str) -> None:
    content = text.encode("utf-8")
    result.measurements.append(measure(COMMANDS_PCR, EV_IPL, content, kind.encode() + content + b"\0"))
