"""What GRUB is in the middle of: variables, menu, modules; and what it has measured so far."""

from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Set, Tuple

from xentpm_lib.evidence.boot_log import MAX_BOOT_EVENTS
from xentpm_lib.host.boot.files import read_file
from xentpm_lib.host.boot.grub_env import Environment
from xentpm_lib.host.boot.grub_files import ELSEWHERE, GrubFiles, HostFile
from xentpm_lib.host.boot.grub_image import GrubImage
from xentpm_lib.host.boot.grub_script import MAX_SCRIPT_SIZE
from xentpm_lib.host.boot.grub_syntax import boot_error
from xentpm_lib.host.boot.grub_work import Workload

__all__ = ["COMMANDS_PCR", "FILES_PCR", "Measured", "MenuEntry", "State"]

COMMANDS_PCR, FILES_PCR = 8, 9
MAX_TEXT = 256 * 1024  # characters of one command
MAX_ALL_TEXT = 8 * 1024 * 1024  # characters of all commands
MAX_NOTES = 32
MAX_MODULE_DEPTH = 16
_ANY_MODULE = "GRUB's image could not be read: it is assumed to have every module that is asked for."


class Measured(NamedTuple):
    """A measurement: of a text (PCR 8), or of a file's bytes (PCR 9).

    description: as in GRUB's own event log. data: the bytes, where GRUB itself has changed the file by then.
    """

    pcr: int
    description: str
    text: Optional[str] = None
    path: Optional[str] = None
    data: Optional[bytes] = None


class MenuEntry(NamedTuple):
    """An entry of the menu, or a submenu. arguments: its ``$1`` and so on; the first is the title."""

    line: int
    arguments: Tuple[str, ...]
    id: str
    body: Tuple[Any, ...]
    is_submenu: bool
    is_restricted: bool


class State:
    """GRUB while it runs. All that reads or measures goes through here."""

    def __init__(self, files: GrubFiles, image: Optional[GrubImage], prefix: str, work: Workload) -> None:
        self.files, self.image, self.work = files, image, work
        self.env = Environment(prefix, files.boot_device)
        self.menus: List[List[MenuEntry]] = [[]]
        self.functions: Dict[str, Tuple[Any, ...]] = {}
        self.measured: List[Measured] = []
        self.notes: List[str] = []
        self.modules: Optional[Set[str]] = None if image is None else set(image.modules)
        self.lists: FrozenSet[str] = frozenset()
        self.saved_blocks: Dict[str, bytes] = {}
        self.kernel = ""  #: the command that loaded a kernel
        self.file = "grub.cfg"
        self.names_disk = False  #: the name of the disk that GRUB was started from is in what is measured
        self.outputs = {"console"}  #: where GRUB writes to
        self.theme = ""  #: the file of the theme that a menu has been shown with
        self._text = 0
        self._loading: List[str] = []

    def note(self, text: str) -> None:
        """Tell what is assumed, once."""
        if text not in self.notes and len(self.notes) < MAX_NOTES:
            self.notes.append(text)

    def step(self) -> None:
        """Count a statement.

        Raises:
            XenTpmError: there were too many; it may be a loop without an end.
        """
        self.work.step(self.file)

    def count_text(self, size: int) -> None:
        """Count the characters of a command.

        Raises:
            XenTpmError: it has too many, or all together have.
        """
        self._text += size
        if size > MAX_TEXT or self._text > MAX_ALL_TEXT:
            raise boot_error("{} has commands of over {} characters".format(self.file, MAX_TEXT))

    def measure_text(self, kind: str, text: str) -> None:
        """PCR 8: a command or a command line."""
        self.count_text(len(text))
        if self.files.boot_device in text or self.files.boot_device.split(",")[0] + "," in text:
            self.names_disk = True
        if "hd?" in text:
            self.note("GRUB's name of a disk is in what is measured, and is not known here: it will differ.")
        self._measure(Measured(COMMANDS_PCR, "{}: {}".format(kind, text), text=text))

    def _measure(self, event: Measured) -> None:
        if len(self.measured) >= MAX_BOOT_EVENTS:
            raise boot_error("{} leads to over {} measurements".format(self.file, MAX_BOOT_EVENTS))
        self.measured.append(event)

    def locate(self, name: str) -> Tuple[str, str]:
        """The device and path in a GRUB file name."""
        if name.startswith("("):
            device, _, path = name[1:].partition(")")
            return device, path
        return self.env.get("root") or "", name

    def open(self, name: str, measure: bool = True) -> Optional[HostFile]:
        """Open a file as GRUB does, which measures it, wherever it is on a disk. None where there is none."""
        device, path = self.locate(name)
        if device == "memdisk":
            data = self.image.memdisk_file(path) if self.image else None
            return None if data is None else HostFile(name, data)
        found = self._find(device, path)
        if found is None or found[1] != "file":
            return None
        if measure:
            self._measure(Measured(FILES_PCR, name, None, found[0], self.saved_blocks.get(found[0])))
        return HostFile(found[0])

    def kind(self, name: str) -> Optional[str]:
        """``file`` or ``folder``, found out without reading; None where there is nothing."""
        device, path = self.locate(name)
        if device == "memdisk":
            found = self.image is not None and self.image.memdisk_file(path) is not None
            return "file" if found else None
        found_file = self._find(device, path.rstrip("/") or "/")
        return found_file[1] if found_file else None

    def _find(self, device: str, path: str) -> Optional[Tuple[str, str]]:
        import os

        if not path.startswith("/"):
            if not path:
                return None
            raise boot_error("{}: the file name {} is not interpreted".format(self.file, ascii(path[:100])))
        found = self.files.find(device, path)
        if found is None:
            return None
        if device == ELSEWHERE and not self.files.knows_disks:
            self.note("Which file system dom0's files are on could not be found out: found by their paths.")
        return found, "folder" if os.path.isdir(found) else "file"

    def read(self, file: HostFile) -> bytes:
        """A file's content, of at most a mebibyte, as GRUB would read it now."""
        if file.data is not None:
            return file.data
        if file.path in self.saved_blocks:
            return self.saved_blocks[file.path]
        data = read_file(file.path, MAX_SCRIPT_SIZE)
        if data is None:
            raise boot_error(
                "{} cannot be read, or has over {} bytes".format(ascii(file.path), MAX_SCRIPT_SIZE)
            )
        return data

    def statements(self, file: HostFile, name: str) -> Tuple[Any, ...]:
        """What a configuration file says."""
        return self.work.statements(self.read(file), ascii(name)[1:-1])

    def load_module(self, name: str) -> bool:
        """Load a module, from the disk if the image does not have it; with what it needs."""
        if self.modules is None:
            self.note(_ANY_MODULE)
            return True
        if name in self.modules:
            return True
        path = "{}/x86_64-efi/{}.mod".format(self.env.get("prefix") or "", name)
        file = self.open(path) if path.startswith("(") and self.kind(path) == "file" else None
        if file is None:
            return False
        from xentpm_lib.host.boot.grub_modules import dependencies

        self._loading.append(name)
        if len(self._loading) > MAX_MODULE_DEPTH:
            raise boot_error("GRUB's modules need each other in a circle: {}".format(ascii(name[:40])))
        loaded = all(self.load_module(needed) for needed in dependencies(self.read(file)))
        self._loading.pop()
        if loaded:
            self.modules.add(name)
            if name == "normal":
                self.load_module("gzio")  # what normal does when it is loaded from a disk
        return loaded
