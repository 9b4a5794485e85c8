"""GRUB's commands, as far as they decide what is measured or boots. Each returns 0 or GRUB's error number."""

from typing import Callable, Dict, Optional, Sequence

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.grub_env import block_variables, with_variable
from xentpm_lib.host.boot.grub_run import BAD_ARGUMENT, BAD_NUMBER, FILE_NOT_FOUND, Booted, Interpreter
from xentpm_lib.host.boot.grub_terminal import TERMINAL_COMMANDS
from xentpm_lib.host.boot.grub_test import FileTests, evaluate
from xentpm_lib.host.boot.grub_words import join_command_line, option_values, to_number

__all__ = ["COMMANDS"]

BAD_FILE_TYPE, NO_KERNEL = 4, 22
_ENV_OPTIONS = (("file", "f", "value"), ("skip-sig", "s", "none"))
_SEARCH_OPTIONS = (
    ("file", "f", "none"),
    ("label", "l", "none"),
    ("fs-uuid", "u", "none"),
    ("set", "s", "optional"),
    ("no-floppy", "n", "none"),
    ("root-dev-only", "r", "none"),
    ("hint", "h", "value"),
    ("hint-ieee1275", "", "value"),
    ("hint-bios", "", "value"),
    ("hint-baremetal", "", "value"),
    ("hint-efi", "", "value"),
    ("hint-arc", "", "value"),
)

_Command = Callable[[Interpreter, Sequence[str]], int]


def _nothing(grub: Interpreter, words: Sequence[str]) -> int:
    return 0


def _set(grub: Interpreter, words: Sequence[str]) -> int:
    if not words:
        return 0
    name, equals, value = words[0].partition("=")
    if not equals:
        return BAD_ARGUMENT
    grub.set_variable(name, value)
    return 0


def _unset(grub: Interpreter, words: Sequence[str]) -> int:
    if not words:
        return BAD_ARGUMENT
    grub.state.env.unset(words[0])
    return 0


def _export(grub: Interpreter, words: Sequence[str]) -> int:
    for name in words:
        grub.state.env.export(name)
    return 0 if words else BAD_ARGUMENT


def _test(grub: Interpreter, words: Sequence[str]) -> int:
    def size(name: str) -> Optional[int]:
        import os

        file = grub.state.open(name)
        if file is None:
            return None
        return os.path.getsize(file.path) if file.data is None else len(file.data)

    return 0 if evaluate(list(words), FileTests(grub.state.kind, size)) else 1


def _false(grub: Interpreter, words: Sequence[str]) -> int:
    return 1


def _insmod(grub: Interpreter, words: Sequence[str]) -> int:
    if not words:
        return BAD_ARGUMENT
    if words[0][:1] in "/(+":
        raise grub.error("insmod of a path is not interpreted")
    if (
        words[0] in ("blscfg", "tpm")
        and grub.state.modules is not None
        and words[0] not in grub.state.modules
    ):
        grub.state.note("The module {} is loaded from the disk or not at all.".format(words[0]))
    grub.state.load_module(words[0])
    return 0


def _search(grub: Interpreter, words: Sequence[str]) -> int:
    parsed = option_values(words, _SEARCH_OPTIONS, keep_unknown=True)
    if parsed is None:
        return BAD_ARGUMENT
    options, rest = dict(parsed[0]), parsed[1]
    variable = (options["set"] or "root") if "set" in options else None
    if rest:
        key = rest[0]
    elif options.get("set"):
        key, variable = options["set"] or "", "root"
    else:
        return BAD_ARGUMENT
    if "label" in options:
        return _set_device(grub, variable, grub.state.files.find_device("label", key))
    if "fs-uuid" in options:
        return _set_device(grub, variable, grub.state.files.find_device("uuid", key))
    return _search_file(grub, key, variable) if "file" in options else 17


def _search_file(grub: Interpreter, path: str, variable: Optional[str]) -> int:
    if not path.startswith("/"):
        raise grub.error("a search for the file {} is not interpreted".format(ascii(path[:100])))
    devices = grub.state.files.devices_with(path)
    grub.state.note("Only dom0's mounted file systems are searched for {}.".format(ascii(path[:100])))
    if len(devices) > 1:
        grub.state.note("{} is on more than one file system: the first is assumed.".format(ascii(path[:100])))
    for device in devices if variable is None else devices[:1]:
        grub.state.open("({}){}".format(device, path))
    return _set_device(grub, variable, devices[0] if devices else None)


def _set_device(grub: Interpreter, variable: Optional[str], device: Optional[str]) -> int:
    if device is None:
        grub.state.note("{} line {}: the search finds nothing.".format(grub.state.file, grub.line))
        return FILE_NOT_FOUND
    if variable is not None:
        grub.set_variable(variable, device)
    return 0


def _search_by(option: str) -> _Command:
    def command(grub: Interpreter, words: Sequence[str]) -> int:
        if not words:
            return BAD_ARGUMENT
        return _search(grub, [option] + (["--set=" + words[1]] if len(words) > 1 else []) + [words[0]])

    return command


def _env_path(grub: Interpreter, options: Dict[str, Optional[str]]) -> str:
    return options.get("file") or "{}/grubenv".format(grub.state.env.get("prefix") or "")


def _load_env(grub: Interpreter, words: Sequence[str]) -> int:
    parsed = option_values(words, _ENV_OPTIONS, keep_unknown=False)
    if parsed is None:
        return BAD_ARGUMENT
    options = dict(parsed[0])
    file = grub.state.open(_env_path(grub, options), measure="skip-sig" not in options)
    if file is None:
        return FILE_NOT_FOUND
    variables = block_variables(grub.state.read(file))
    if variables is None:
        return BAD_FILE_TYPE
    for name, value in variables:
        if not parsed[1] or name in parsed[1]:
            grub.set_variable(name, value)
    return 0


def _save_env(grub: Interpreter, words: Sequence[str]) -> int:
    parsed = option_values(words, _ENV_OPTIONS, keep_unknown=False)
    if parsed is None or not parsed[1]:
        return BAD_ARGUMENT
    file = grub.state.open(_env_path(grub, dict(parsed[0])), measure=False)
    if file is None:
        return FILE_NOT_FOUND
    data = grub.state.read(file)
    if block_variables(data) is None:
        return BAD_FILE_TYPE
    for name in parsed[1]:
        data = with_variable(data, name, grub.state.env.get(name))
    if data != grub.state.read(file):
        grub.state.note("GRUB changes grubenv while it boots, so the boot after that one will differ.")
    grub.state.saved_blocks[file.path] = data
    return 0


def _source(grub: Interpreter, words: Sequence[str]) -> int:
    if len(words) != 1:
        return BAD_ARGUMENT
    grub.run_file(words[0])
    return 0


def _configfile(grub: Interpreter, words: Sequence[str]) -> int:
    if len(words) != 1:
        return BAD_ARGUMENT
    grub.state.env.open()
    grub.state.menus.append([])
    line = grub.line
    grub.run_file(words[0])
    grub.show_menu()
    if grub.state.menus.pop():
        raise _stays(grub, words[0], line)
    grub.state.env.close()
    return 0


def _normal(grub: Interpreter, words: Sequence[str]) -> int:
    config = words[0] if words else "{}/grub.cfg".format(grub.state.env.get("prefix") or "")
    line = grub.line
    grub.enter_normal(config)
    raise _stays(grub, config, line)


def _stays(grub: Interpreter, config: str, line: int) -> XenTpmError:
    """The error for a menu that nothing leads out of: GRUB shows it until someone presses a key."""
    text = "no menu entry of {} loads a kernel: GRUB waits for a key there"
    return grub.error(text.format(ascii(config[:100])), line)


def _loader(kind: str, log: str) -> _Command:
    """``multiboot2`` and the like: a file, and the command line that goes with it."""

    def command(grub: Interpreter, words: Sequence[str]) -> int:
        rest = list(words)
        while rest and rest[0].startswith("--quirk-") and kind == "multiboot":
            rest.pop(0)
        if rest and rest[0] == "--nounzip" and log == "module_cmdline":
            rest.pop(0)
        if not rest:
            return BAD_ARGUMENT
        if log == "module_cmdline" and grub.state.kernel != kind:
            return BAD_ARGUMENT
        if grub.state.open(rest[0]) is None:
            grub.missing(rest[0])
            return FILE_NOT_FOUND
        line = join_command_line(rest if kind == "linux" else rest[1:])
        if kind == "linux" and len(line) > 2000:
            grub.state.note("A command line of over 2000 characters: GRUB may cut it off.")
        grub.state.measure_text(log, line)
        grub.state.kernel = kind
        return 0

    return command


def _initrd(grub: Interpreter, words: Sequence[str]) -> int:
    if not words or grub.state.kernel != "linux":
        return BAD_ARGUMENT
    for word in words:
        if word.startswith("newc:"):
            raise grub.error("initrd with newc: is not interpreted")
        if grub.state.open(word) is None:
            grub.missing(word)
            return FILE_NOT_FOUND
    return 0


def _chainloader(grub: Interpreter, words: Sequence[str]) -> int:
    rest = [word for word in words if word != "--force"]
    if not rest:
        return BAD_ARGUMENT
    if grub.state.open(rest[0]) is None:
        grub.missing(rest[0])
        return FILE_NOT_FOUND
    grub.state.note("GRUB starts another EFI program; what that one measures is not followed.")
    grub.state.kernel = "chain"
    return 0


def _boot(grub: Interpreter, words: Sequence[str]) -> int:
    if grub.state.kernel:
        raise Booted()
    return NO_KERNEL


def _setparams(grub: Interpreter, words: Sequence[str]) -> int:
    if grub.scope is None:
        return 17
    grub.scope = list(words)
    return 0


def _shift(grub: Interpreter, words: Sequence[str]) -> int:
    number = to_number(words[0]) if words else (1, "")
    if grub.scope is None:
        return 0
    if number is None or number[1] or number[0] > len(grub.scope) or len(words) > 1:
        return BAD_ARGUMENT
    grub.scope = grub.scope[number[0] :]
    return 0


def _breaker(continues: bool) -> _Command:
    def command(grub: Interpreter, words: Sequence[str]) -> int:
        number = to_number(words[0]) if words else (1, "")
        if number is None and len(words) == 1:
            return BAD_NUMBER
        if number is None or number[1] or not number[0] or len(words) > 1:
            return BAD_ARGUMENT
        grub.continuing = continues
        grub.breaks = min(number[0], grub.loops)
        return 0

    return command


def _return(grub: Interpreter, words: Sequence[str]) -> int:
    if grub.scope is None or len(words) > 1:
        return BAD_ARGUMENT
    number = to_number(words[0] if words else grub.state.env.get("?") or "0")
    if number is None:
        return BAD_NUMBER
    if words and number[1]:
        return BAD_ARGUMENT
    grub.returning = True
    return number[0]


def _fwsetup(grub: Interpreter, words: Sequence[str]) -> int:
    if list(words) != ["--is-supported"]:
        raise grub.error("it starts the firmware's set-up: nothing boots")
    grub.state.note("This GRUB is assumed to know fwsetup --is-supported, and the firmware to have a set-up.")
    return 0


def _blscfg(grub: Interpreter, words: Sequence[str]) -> int:
    raise grub.error(
        "blscfg is not interpreted: the entries are in files of their own, in /boot/loader/entries"
    )


_IGNORED = "echo true password password_pbkdf2".split()

COMMANDS: Dict[str, _Command] = {
    ".": _source,
    "[": _test,
    "blscfg": _blscfg,
    "boot": _boot,
    "break": _breaker(False),
    "chainloader": _chainloader,
    "configfile": _configfile,
    "continue": _breaker(True),
    "export": _export,
    "false": _false,
    "fwsetup": _fwsetup,
    "initrd": _initrd,
    "initrdefi": _initrd,
    "insmod": _insmod,
    "linux": _loader("linux", "kernel_cmdline"),
    "linuxefi": _loader("linux", "kernel_cmdline"),
    "load_env": _load_env,
    "menuentry": _nothing,
    "module": _loader("multiboot1", "module_cmdline"),
    "module2": _loader("multiboot", "module_cmdline"),
    "multiboot": _loader("multiboot1", "kernel_cmdline"),
    "multiboot2": _loader("multiboot", "kernel_cmdline"),
    "normal": _normal,
    "return": _return,
    "save_env": _save_env,
    "search": _search,
    "search.file": _search_by("--file"),
    "search.fs_label": _search_by("--label"),
    "search.fs_uuid": _search_by("--fs-uuid"),
    "set": _set,
    "setparams": _setparams,
    "shift": _shift,
    "source": _source,
    "submenu": _nothing,
    "test": _test,
    "unset": _unset,
}
COMMANDS.update(dict.fromkeys(_IGNORED, _nothing))
COMMANDS.update(TERMINAL_COMMANDS)
