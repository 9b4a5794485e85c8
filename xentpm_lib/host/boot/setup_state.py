"""What `enable` did, in ``/var/lib/xentpm/boot``: ``setup.json`` and byte-exact backups beside it.

``setup.json`` is written before the first file that the host boots from is touched and removed after the last
one is back. So at any moment it tells of every file that may be ours, and where its original is.
"""

import fcntl
import json
import os
import re
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError, XenTpmError
from xentpm_lib.evidence.boot_setup import METHODS
from xentpm_lib.evidence.strict_json import Limits, load_json, mapping
from xentpm_lib.host.boot import durable
from xentpm_lib.host.clock import utc_now
from xentpm_lib.host.paths import Paths

__all__ = ["DISABLING", "ENABLED", "ENABLING", "BootId", "Original", "Setup", "State", "setup_lock"]

ENABLING, ENABLED, DISABLING = "enabling", "enabled", "disabling"
_VERSION = 1
_LIMITS = Limits(length=256 * 1024, depth=4, tokens=8192)
_FOLDER, _NAME, _LOCK = "boot", "setup.json", "run/xentpm-boot.lock"
_MOST_GENERATIONS = 16
_LOCK_TIMEOUT_S, _LOCK_PAUSE_S = 20.0, 0.05


class BootId(NamedTuple):
    """Which boot this is: the kernel's random id of it, and when it began by dom0's clock (0: unknown)."""

    boot_id: str
    began_s: int

    @classmethod
    def of(cls, paths: Paths) -> "BootId":
        """The boot that the dom0 of ``paths`` is in; empty where it does not tell."""
        lines = _text(paths.at("proc/stat")).splitlines()
        began = next((line.split()[1] for line in lines if line.startswith("btime ")), "0")
        boot_id = _text(paths.at("proc/sys/kernel/random/boot_id")).strip()
        return cls(boot_id, int(began) if began.isdigit() else 0)


class Original(NamedTuple):
    """A file that was replaced. ``path``: below dom0's root; ``sha256``: of what stood there before us."""

    path: str
    sha256: str


class Setup(NamedTuple):
    """What was set up.

    phase: ``enabling`` and ``disabling`` are found later only where the command was cut short.
    files: what was replaced, first the one that boots; each original is kept as a backup.
    ours: the SHA-256 of every image or configuration that we wrote in place of those, the newest last.
    spare: the copy of the original that the firmware can start, below dom0's root; empty where there is none.
    entry: the text of the menu entry that was added (tboot).
    sinit: the choice of a SINIT module that was given, which another `enable` keeps; empty where none was.
    default_before, default_ours: the line that chose the default entry, and the one in its place; empty where
    that was not changed.
    esp, esp_id: where the EFI system partition was, below dom0's root, and which one; empty where not known.
    """

    method: str
    phase: str
    files: Tuple[Original, ...] = ()
    ours: Tuple[str, ...] = ()
    spare: str = ""
    entry: str = ""
    sinit: str = ""
    default_before: str = ""
    default_ours: str = ""
    since: str = ""
    boot_id: str = ""
    esp: str = ""
    esp_id: str = ""

    @property
    def newest(self) -> str:
        """The SHA-256 of what should stand there now."""
        return self.ours[-1] if self.ours else ""

    def original(self, path: str) -> Optional[Original]:
        """The original of the file with this path below the root."""
        return next((file for file in self.files if file.path == path), None)

    def begun(self, paths: Paths, ours: str) -> "Setup":
        """The same, about to be put in place with ``ours`` as the newest, in this boot."""
        generations = tuple(one for one in self.ours if one != ours) + (ours,)
        return self._replace(
            phase=ENABLING,
            ours=generations[-_MOST_GENERATIONS:],
            since=utc_now(),
            boot_id=BootId.of(paths).boot_id,
        )


class State(NamedTuple):
    """The folder with all of that, of the dom0 with these ``paths``."""

    paths: Paths

    @property
    def folder(self) -> str:
        """``/var/lib/xentpm/boot``."""
        return os.path.join(self.paths.state, _FOLDER)

    def file(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.folder, name)

    def load(self) -> Optional[Setup]:
        """What was set up; None where nothing was.

        Raises:
            XenTpmError: ``XENTPM_IO`` when ``setup.json`` cannot be read; ``XENTPM_BOOT`` when it is damaged.
        """
        data = durable.read_if_there(self.file(_NAME), _LIMITS.length)
        if data is None:
            return None
        try:
            return _from_json(data.decode("ascii"))
        except (FormatError, UnicodeDecodeError) as error:
            raise XenTpmError(
                "{} is damaged: {}".format(self.file(_NAME), error),
                "The originals lie beside it, each named by its SHA-256: put them back, then remove that "
                "folder.",
                "XENTPM_BOOT",
            ) from error

    def make_folder(self) -> None:
        """Make the folder where there is none. Raises: XenTpmError ``XENTPM_IO``."""
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise XenTpmError(
                "cannot make {}: {}".format(self.folder, error.strerror),
                "Check that it is writable and has free space.",
                "XENTPM_IO",
            ) from error

    def store(self, setup: Setup) -> Setup:
        """Write what is set up. Raises: XenTpmError ``XENTPM_IO``."""
        self.make_folder()
        durable.replace(self.file(_NAME), _to_json(setup).encode("ascii"))
        return setup

    def forget(self) -> None:
        """Remove the backups, then ``setup.json``, then the folder. Raises: XenTpmError ``XENTPM_IO``."""
        for name in self._names():
            if name != _NAME:
                durable.remove(self.file(name))
        durable.remove(self.file(_NAME))
        if os.path.isdir(self.folder) and not self._names():
            os.rmdir(self.folder)

    def keep(self, data: bytes) -> str:
        """Keep an original; its SHA-256. Raises: XenTpmError ``XENTPM_IO``."""
        sha256 = durable.digest_of(data)
        if self._kept(sha256) is None:
            durable.replace(self.file(sha256), data)
        return sha256

    def original(self, sha256: str, spare: str = "") -> bytes:
        """An original, from its backup or from the ``spare`` copy.

        Raises:
            XenTpmError: ``XENTPM_BOOT`` when neither is there with those bytes.
        """
        data = self._kept(sha256)
        if data is None and spare:
            data = durable.read_if_there(self.paths.at(spare))
        if data is None or durable.digest_of(data) != sha256:
            raise XenTpmError(
                "the original is gone: neither {} nor its copy has its bytes".format(self.file(sha256)),
                "Install the package of the boot loader again: that puts the vendor's file back.",
                "XENTPM_BOOT",
            )
        return data

    def sweep(self, setup: Optional[Setup]) -> None:
        """Remove what a command that was cut short left half written. Raises: XenTpmError ``XENTPM_IO``."""
        for name in self._names():
            durable.sweep(self.file(name))
            if durable.is_half_written(name):
                durable.remove(self.file(name))
        if setup is not None:
            for path in [file.path for file in setup.files] + [setup.spare] * bool(setup.spare):
                durable.sweep(self.paths.at(path))

    def tidy(self, setup: Setup) -> None:
        """Remove backups that nothing refers to. Raises: XenTpmError ``XENTPM_IO``."""
        needed = {file.sha256 for file in setup.files} | {_NAME}
        for name in self._names():
            if name not in needed:
                durable.remove(self.file(name))

    def _kept(self, sha256: str) -> Optional[bytes]:
        data = durable.read_if_there(self.file(sha256))
        return data if data is not None and durable.digest_of(data) == sha256 else None

    def _names(self) -> Tuple[str, ...]:
        return tuple(sorted(os.listdir(self.folder))) if os.path.isdir(self.folder) else ()


@contextmanager
def setup_lock(paths: Paths) -> Iterator[None]:
    """One command at a time changes the set-up.

    Raises:
        XenTpmError: ``XENTPM_BUSY`` when another one still works on it after 20 seconds; ``XENTPM_IO``.
    """
    path = paths.at(_LOCK)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise XenTpmError(
            "the lock file {} cannot be used: {}".format(path, error.strerror), "Run as root.", "XENTPM_IO"
        ) from error
    try:
        _acquire(descriptor)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int) -> None:
    end = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise XenTpmError(
                    "another xentpm-boot changes the set-up", "Call again when it has ended.", "XENTPM_BUSY"
                ) from None
        time.sleep(_LOCK_PAUSE_S)


def _to_json(setup: Setup) -> str:
    document: Dict[str, Any] = dict(setup._asdict(), version=_VERSION)
    document["files"] = {file.path: file.sha256 for file in setup.files}
    return json.dumps(document, indent=1) + "\n"


def _from_json(text: str) -> Setup:
    found = mapping(load_json(text, "setup", _LIMITS), "setup")
    if set(found) != set(Setup._fields) | {"version"} or found.pop("version") != _VERSION:
        raise FormatError("expected version {} with its members".format(_VERSION), where="setup")
    files, ours = mapping(found.pop("files"), "files"), found.pop("ours")
    if not all(isinstance(text, str) for text in found.values()):
        raise FormatError("expected text", where="setup")
    if found["method"] not in METHODS or found["phase"] not in (ENABLING, ENABLED, DISABLING):
        raise FormatError("unknown method or phase", where="setup")
    if not files or not all(map(_is_path, [*files, *filter(None, (found["spare"], found["esp"]))])):
        raise FormatError("expected paths of files below the root", where="files")
    if not isinstance(ours, list) or not all(map(_is_sha256, [*files.values(), *ours])):
        raise FormatError("expected SHA-256 digests", where="setup")
    return Setup(files=tuple(Original(*item) for item in files.items()), ours=tuple(ours), **found)


def _is_path(text: str) -> bool:
    """Whether this names a file below the root, and no other way."""
    return "\0" not in text and not set(text.split("/")) & {"", ".", ".."}


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.match("^[0-9a-f]{64}\\Z", value) is not None


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).decode("ascii", "replace")
    except OSError:
        return ""
