"""Does the set-up that `enable` left still stand? An update puts the vendor's boot loader back silently."""

import json
import os
import time
from contextlib import suppress
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.boot_setup import MAX_DETAIL_LENGTH, BootSetup
from xentpm_lib.evidence.strict_json import Limits, load_json, mapping
from xentpm_lib.host.boot import durable
from xentpm_lib.host.boot.preconditions import require_same_esp
from xentpm_lib.host.boot.setup_state import DISABLING, ENABLED, BootId, Setup, State
from xentpm_lib.host.paths import Paths

__all__ = ["ACTIVE", "PENDING", "UNDONE", "boot_setup"]

ACTIVE, PENDING, UNDONE = "active", "pending", "undone"
_LAST_LOOK = "run/xentpm-boot.json"
_LOOK_LIMITS = Limits(length=64 << 10, depth=2, tokens=8192)
_AGAIN = "run xentpm-boot enable"


def boot_setup(paths: Paths, extended: Optional[bool] = None) -> Optional[BootSetup]:
    """Compare what is there with what `enable` left; None where measured boot was never set up.

    extended: whether PCR 8 or 9 shows a measurement of this boot; None where that is not known.

    Raises:
        XenTpmError: ``XENTPM_IO`` or ``XENTPM_BOOT`` when the record of the set-up cannot be read, or the EFI
            system partition that it is about is not mounted: then nothing can be said.
    """
    setup = State(paths).load()
    if setup is None:
        return None
    if setup.esp:
        require_same_esp(paths, setup)
    problems = list(_problems(paths, setup))
    if problems:
        return _told(setup, UNDONE, "; ".join(problems))
    if setup.boot_id and setup.boot_id == BootId.of(paths).boot_id:
        return _told(setup, PENDING, "set up {} in this boot: restart the host".format(setup.since))
    if extended is False and setup.method != "tboot":
        return _told(
            setup,
            PENDING,
            "this boot did not go through {} (PCR 8 and 9 are zero): restart the host, and look at "
            "the boot order if it stays".format(paths.at(setup.files[0].path)),
        )
    return _told(setup, ACTIVE, "set up {}".format(setup.since))


def _told(setup: Setup, state: str, detail: str) -> BootSetup:
    ascii_only = "".join(char if " " <= char <= "~" else "?" for char in detail)
    return BootSetup(setup.method, state, ascii_only[:MAX_DETAIL_LENGTH])


def _problems(paths: Paths, setup: Setup) -> Iterator[str]:
    if setup.phase != ENABLED:
        command = "disable" if setup.phase == DISABLING else "enable"
        yield "xentpm-boot {} was cut short: call it again".format(command)
        return
    look = _LastLook(paths, {})
    look.load()
    for file in setup.files:
        path = paths.at(file.path)
        if setup.method == "tboot":
            yield from _tboot_problems(path, setup)
            continue
        digest = look.digest(path)
        if digest is None:
            yield "{} is gone; {}".format(path, _AGAIN)
        elif digest != setup.newest:
            what = "the stock image again" if digest == file.sha256 else "another image"
            yield "{} is {} since {}; {}".format(path, what, _since(path), _AGAIN)
    look.store()


def _tboot_problems(path: str, setup: Setup) -> Iterator[str]:
    from xentpm_lib.host.boot.tboot import clean_text
    from xentpm_lib.host.boot.tboot_entry import entry_problem, entry_to_copy

    data = durable.read_if_there(path)
    if data is None:
        yield "{} is gone; {}".format(path, _AGAIN)
        return
    try:
        base = entry_to_copy(clean_text(data, setup))
        reason = entry_problem(data.decode("utf-8", "surrogateescape"), setup.entry, base)
    except XenTpmError as error:
        reason = error.message
    if reason:
        yield "{}: {} (changed {}); {}".format(path, reason, _since(path), _AGAIN)


def _since(path: str) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(os.stat(path).st_mtime))
    except (OSError, ValueError, OverflowError):
        return "an unknown time"


class _LastLook(NamedTuple):
    """Digests of files that have not changed since they were hashed, by their size and times.

    ``known``: path: size, mtime and ctime (ns) and inode in one text, SHA-256.
    """

    paths: Paths
    known: Dict[str, List[str]]

    def load(self) -> None:
        """Take what the last look left, in the folder that is empty after a restart."""
        with suppress(XenTpmError, UnicodeDecodeError):
            data = durable.read_if_there(self.paths.at(_LAST_LOOK), _LOOK_LIMITS.length)
            found = mapping(load_json((data or b"{}").decode("ascii"), "look", _LOOK_LIMITS), "look")
            self.known.update((path, entry) for path, entry in found.items() if _is_look(entry))

    def digest(self, path: str) -> Optional[str]:
        """The SHA-256 of a file; None where there is none. Raises: XenTpmError ``XENTPM_IO``."""
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise XenTpmError(
                "cannot look at {}: {}".format(path, error.strerror), "Look at its disk.", "XENTPM_IO"
            ) from error
        key = "{} {} {} {}".format(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        entry = self.known.get(path, ["", ""])
        if entry[0] != key:
            entry = [key, durable.digest_of(durable.read(path))]
            self.known[path] = entry
        return entry[1]

    def store(self) -> None:
        """Keep it for the next look; without it the next one is slower, no more."""
        path = self.paths.at(_LAST_LOOK)
        new = "{}.{}".format(path, os.getpid())
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(new, flags, 0o600)
            try:
                with open(descriptor, "w") as file:
                    json.dump(self.known, file)
                os.rename(new, path)
            except OSError:
                os.unlink(new)


def _is_look(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)
