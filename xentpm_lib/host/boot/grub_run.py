"""Running GRUB's configuration as GRUB 2.06 does, as far as the entry that boots by itself.

Spec: what is measured and how a script is carried out is in docs/grub-measurements.md.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.grub_files import GrubFiles
from xentpm_lib.host.boot.grub_image import GrubImage
from xentpm_lib.host.boot.grub_modules import COMMAND_MODULES, OTHER_COMMANDS, read_terminals
from xentpm_lib.host.boot.grub_state import Measured, MenuEntry, State
from xentpm_lib.host.boot.grub_syntax import Command, For, Function, If, Loop, Word, boot_error
from xentpm_lib.host.boot.grub_words import expand
from xentpm_lib.host.boot.grub_work import Workload

__all__ = ["Booted", "GrubRun", "Interpreter", "run_grub"]

MAX_DEPTH = 40  # of functions, files and menus in each other
BAD_ARGUMENT, FILE_NOT_FOUND, BAD_NUMBER = 18, 5, 10
_LISTS = ("command", "fs", "crypto", "terminal")


class Booted(Exception):
    """GRUB handed over to a kernel."""


class GrubRun(NamedTuple):
    """What happened. entry: the title of what boots. names_disk: it depends on GRUB's name of the disk."""

    entry: str
    measured: Tuple[Measured, ...]
    notes: Tuple[str, ...]
    names_disk: bool


def run_grub(
    files: GrubFiles,
    image: Optional[GrubImage],
    prefix: str,
    folder: Optional[str] = None,
    notes: Sequence[str] = (),
    work: Optional[Workload] = None,
) -> GrubRun:
    """Run GRUB from its start.

    image: None where it could not be read. prefix: as the variable has it, ``(hd0,gpt4)/EFI/xenserver``.
    folder: the image's own on its device, ``/EFI/BOOT``; None where it is not known. notes: what is assumed
    already. work: what several runs share.

    Raises:
        XenTpmError: what is not interpreted, or nothing boots; with the notes.
    """
    state = State(files, image, prefix, work or Workload())
    state.notes.extend(notes)
    if folder is not None:
        state.env.set("cmdpath", "({}){}".format(files.boot_device, folder))
        state.env.export("cmdpath")
    interpreter = Interpreter(state)
    try:
        interpreter.start()
    except Booted:
        return GrubRun(interpreter.entry, tuple(state.measured), tuple(state.notes), state.names_disk)
    except XenTpmError as error:
        raise boot_error(error.message, " ".join([error.hint] + state.notes).strip()) from error
    raise boot_error(
        "{}: no menu entry loads a kernel. {}".format(state.file, " ".join(state.notes)).rstrip()
    )


class Interpreter:
    """Carries out statements."""

    def __init__(self, state: State) -> None:
        from xentpm_lib.host.boot.grub_commands import COMMANDS

        self.state, self.entry = state, ""
        self.scope: Optional[List[str]] = None
        self.returning, self.continuing, self.breaks, self.loops = False, False, 0, 0
        self.terminals: Dict[str, str] = {}  #: ``i`` or ``o``, and a terminal's name: the module that has it
        self.normal = False  #: in normal mode, where the lists of modules are read
        self._depth, self._line, self._conditions = 0, 0, 0
        self._commands: Dict[str, Callable[[Interpreter, Sequence[str]], int]] = COMMANDS

    def start(self) -> None:
        """The image's own configuration, then ``normal``."""
        image = self.state.image
        if image is not None and image.config:
            self.state.file = "the configuration in GRUB's image"
            for statement in self.state.work.statements(image.config, self.state.file, is_file=False):
                self._rescue(statement)
        self.state.file = "grub.cfg"
        self.enter_normal("{}/grub.cfg".format(self.state.env.get("prefix") or ""))

    def _rescue(self, statement: Any) -> None:
        """A line of the image's configuration. GRUB's simpler reader, which measures no command, runs it."""
        if not isinstance(statement, Command) or statement.block is not None:
            raise self.error("only plain commands are interpreted there", statement.line)
        self._line = statement.line
        words = self.arguments(statement.words)
        if words and "=" in words[0] and words[0] not in self._commands:
            name, _, value = words[0].partition("=")
            self.state.env.set(name, value)
        elif words:
            self._dispatch(words, None)

    def error(self, message: str, line: Optional[int] = None) -> XenTpmError:
        """The error for what is not interpreted."""
        return boot_error(
            "{} line {}: {}".format(self.state.file, self._line if line is None else line, message)
        )

    @property
    def line(self) -> int:
        """Where in its file the command stands that is carried out."""
        return self._line

    def assume(self, text: str) -> None:
        """Tell that a command is assumed to succeed, where something depends on it."""
        if self._conditions:
            self.state.note("{} line {}: {}.".format(self.state.file, self._line, text))

    def missing(self, name: str) -> None:
        """Tell of a file that GRUB will not find."""
        self.state.note(
            "{} line {}: there is no file {}.".format(self.state.file, self._line, ascii(name[:100]))
        )

    def enter_normal(self, config: str) -> None:
        """What ``normal`` does: read the lists of modules, the configuration; then boot from the menu."""
        if not self.state.load_module("normal"):
            raise boot_error("GRUB's image has no module normal, and none is on the disk")
        self.normal = True
        self.read_lists()
        if self.run_file(config) == FILE_NOT_FOUND:
            self.state.note("There is no configuration {}.".format(ascii(config[:200])))
        self.show_menu()

    def read_lists(self) -> None:
        """Read ``command.lst`` and the others, which are measured where they are."""
        prefix, found = self.state.env.get("prefix") or "", set()
        if not prefix.startswith("("):
            return
        for name in _LISTS:
            path = "{}/x86_64-efi/{}.lst".format(prefix, name)
            file = self.state.open(path) if self.state.kind(path) == "file" else None
            if file is not None:
                found.add(name)
            if file is not None and name == "terminal":
                self.terminals = read_terminals(self.state.read(file))
        self.state.lists = frozenset(found)
        if "fs" in found:
            self.state.note(
                "GRUB can load file system modules by itself when it meets an unknown one: not followed."
            )

    def run_file(self, name: str) -> int:
        """Read a configuration file and carry it out; its menu entries are added to the menu."""
        state, env = self.state, self.state.env
        file = state.open(name)
        if file is None:
            return FILE_NOT_FOUND
        old = state.file, env.get("config_file"), env.get("config_directory"), self._line
        full = name if name.startswith("(") else "({}){}".format(env.get("root") or "", name)
        for variable, value in (("config_file", full), ("config_directory", full.rpartition("/")[0])):
            env.set(variable, value)
            env.export(variable)
        state.file = ascii(name)[1:-1]
        with self.deeper():
            self.run(state.statements(file, name))
        state.file, self._line = old[0], old[3]
        env.restore("config_file", old[1])
        env.restore("config_directory", old[2])
        return 0

    def deeper(self) -> "_Depth":
        """Count what is in something else, while it lasts."""
        return _Depth(self)

    def _ends(self) -> bool:
        """A ``return`` has been met: everything up to the function's end is skipped."""
        return self.returning

    def run(self, statements: Sequence[Any]) -> int:
        """Carry out statements; the result of the last one, 0 for success as in ``$?``."""
        result = 0
        for statement in statements:
            if self.breaks:
                break
            result = self._execute(statement)
            if self._ends():
                break
        return result

    def _execute(self, statement: Any) -> int:
        self.state.step()
        self._line = statement.line
        with self.deeper():
            if isinstance(statement, Command):
                result = self._command(statement)
            elif isinstance(statement, If):
                result = self._if(statement)
            elif isinstance(statement, For):
                result = self._for(statement)
            elif isinstance(statement, Loop):
                result = self._loop(statement)
            else:
                self._define(statement)
                return 0
        self.state.env.set("?", str(result))
        return result

    def _define(self, function: Function) -> None:
        self.state.functions[function.name] = function.body

    def _if(self, statement: If) -> int:
        for condition, body in statement.branches:
            result = self._condition(condition)
            if self._ends():
                return result
            if self.state.env.get("?") == "0":
                return self.run(body)
        return self.run(statement.otherwise)

    def _condition(self, statements: Sequence[Any]) -> int:
        self._conditions += 1
        result = self.run(statements)
        self._conditions -= 1
        return result

    def _for(self, statement: For) -> int:
        values, result = self.arguments(statement.words), 0
        self.loops += 1
        for value in values:
            self.state.step()
            if self.continuing and self.breaks == 1:
                self.breaks = 0
            if not self.breaks:
                self.state.env.set(statement.name, value)
                result = self.run(statement.body)
                if self._ends():
                    break
        self._leave_loop()
        return result

    def _loop(self, statement: Loop) -> int:
        self.loops += 1
        while True:
            self.state.step()
            result = self._condition(statement.condition)
            if self._ends() or (result == 0) == statement.until:
                break
            result = self.run(statement.body)
            if self._ends():
                break
            if self.continuing and self.breaks == 1:
                self.breaks = 0
            if self.breaks:
                break
        self._leave_loop()
        return result

    def _leave_loop(self) -> None:
        self.breaks -= bool(self.breaks)
        self.loops -= 1

    def arguments(self, words: Sequence[Word]) -> List[str]:
        """What words stand for now."""
        expanded = expand(words, self.state.env.get, self.scope)
        found = expanded.all()
        self.state.count_text(sum(map(len, found)) + len(found))
        modules = self.state.modules
        if expanded.wildcard and (modules is None or "regexp" in modules):
            self.state.note(
                "A * or ? without quotes is taken for itself; GRUB can put the names of files there."
            )
        return found

    def _command(self, command: Command) -> int:
        words = self.arguments(command.words)
        if not words:
            return 0
        if command.block is not None:
            words.append("{" + command.block.text + "}")
        self.state.measure_text("grub_cmd", " ".join(words))
        if words[0] != "!":
            return self._dispatch(words, command) or 0
        if len(words) < 2:
            return BAD_ARGUMENT
        result = self._dispatch(words[1:], command)
        return 0 if result is None else int(result == 0)

    def _dispatch(self, words: List[str], command: Optional[Command]) -> Optional[int]:
        """Carry out a command or function; None for what is none, which ``!`` does not turn round."""
        name = words[0]
        if name in self._commands and self.has_command(name):
            if name in ("menuentry", "submenu"):
                return self._add_entry(words, command)
            return self._commands[name](self, words[1:])
        if name in self.state.functions:
            if name in OTHER_COMMANDS:
                raise self.error("{} is a function, and a command of GRUB's that goes first".format(name))
            return self.call(self.state.functions[name], words[1:])
        if "=" in name:
            variable, _, value = name.partition("=")
            if not (variable[:1].isdigit() or variable in ("#", "*", "@")):
                self.set_variable(variable, value)
        elif name in self._commands:
            self.state.note("GRUB has no command {}: its image lacks the module.".format(ascii(name[:40])))
        else:
            raise self.error("the command {} is not interpreted".format(ascii(name[:60])))
        return None

    def has_command(self, name: str) -> bool:
        """Whether GRUB has a command, which may load the module that has it."""
        module = COMMAND_MODULES.get(name)
        if module is None or self.state.modules is None or module in self.state.modules:
            return True
        return "command" in self.state.lists and self.state.load_module(module)

    def set_variable(self, name: str, value: str) -> None:
        """Set a variable, with what GRUB does when it changes."""
        self.state.env.set(name, value)
        if name == "prefix" and self.normal:
            self.read_lists()
        elif name in ("lang", "locale_dir") and self.state.env.get("lang"):
            path = "{}/{}.mo".format(self.state.env.get("locale_dir") or "", self.state.env.get("lang"))
            if path[:1] in "(/" and self.state.kind(path) == "file":
                self.state.note(
                    "GRUB may read and measure its translation {}: left out.".format(ascii(path[:200]))
                )

    def call(self, body: Sequence[Any], arguments: Sequence[str]) -> int:
        """Call a function."""
        old = self.scope, self.loops
        self.scope, self.loops = list(arguments), 0
        with self.deeper():
            result = self.run(body)
        self.returning = False
        self.scope, self.loops = old
        return result

    def _add_entry(self, words: List[str], command: Optional[Command]) -> int:
        from xentpm_lib.host.boot.grub_menu import read_entry

        entry = read_entry(words, command)
        if entry is None:
            return BAD_ARGUMENT
        self.state.menus[-1].append(entry)
        return 0

    def show_menu(self) -> None:
        """Boot what the menu boots by itself, with its fallbacks; returns where nothing boots."""
        from xentpm_lib.host.boot.grub_menu import show_menu

        show_menu(self)

    def execute_entry(self, entry: MenuEntry) -> None:
        """Carry out what a menu entry says, then boot if that loaded a kernel."""
        scope, self.scope = self.scope, list(entry.arguments)
        self.state.measure_text("grub_cmd", " ".join(("setparams",) + entry.arguments))
        with self.deeper():
            self.run(entry.body)
        self.returning, self.scope = False, scope
        self.boot()

    def boot(self) -> None:
        """Hand over, if a kernel has been loaded."""
        if self.state.kernel and self.has_command("boot"):
            raise Booted()


class _Depth:
    """Counts how deep things are in each other."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    def __enter__(self) -> None:
        self._interpreter._depth += 1
        if self._interpreter._depth > MAX_DEPTH:
            raise self._interpreter.error("over {} commands in each other".format(MAX_DEPTH))

    def __exit__(self, *ignored: Any) -> None:
        self._interpreter._depth -= 1
