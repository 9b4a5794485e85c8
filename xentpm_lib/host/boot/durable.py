"""Files that are replaced whole: a kill or a power cut at any moment leaves the old one or the new one.

The new content is written beside the file and synced before it takes the file's name, and the name is synced
before anything else is done. On FAT, where the EFI system partition's boot loader is, a rename is two
directory entries that reach the disk in any order, and the clusters of the file that lost its name are free
at once. So the old file is kept open until the whole file system is synced: its clusters are still its own
when the old entry turns out to be the one on the disk.
"""

import errno
import hashlib
import os
import stat
import struct
from contextlib import suppress
from typing import Iterator, List, Optional

from xentpm_lib.errors import XenTpmError

__all__ = [
    "MAXIMUM_FILE_BYTES",
    "digest_of",
    "is_half_written",
    "read",
    "read_if_there",
    "remove",
    "replace",
    "require_space",
    "sweep",
]

MAXIMUM_FILE_BYTES = 64 << 20
"""No boot loader and no menu is larger."""

_NEW = ".xentpm-new"
_MOST_LEFT_OVER = 10
_SPARE_BYTES = 256 << 10  # for directory entries and the rounding to clusters
_FIBMAP = 1  # ioctl: the block of the device that holds a block of a file
_FAT = ("vfat", "msdos", "fat")
_HINT = "Check that its file system is mounted, writable and has free space."


def digest_of(data: bytes) -> str:
    """SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def read(path: str, limit: int = MAXIMUM_FILE_BYTES) -> bytes:
    """All of a file.

    Raises:
        XenTpmError: ``XENTPM_IO`` when it cannot be read, is no regular file, or is larger than ``limit``
            bytes.
    """
    try:
        data = _content(path, limit)
    except OSError as error:
        raise _failed("read", path, error) from error
    if len(data) > limit:
        raise XenTpmError(
            "{} has more than {} bytes".format(path, limit), "That is not the file it should be.", "XENTPM_IO"
        )
    return data


def read_if_there(path: str, limit: int = MAXIMUM_FILE_BYTES) -> Optional[bytes]:
    """All of a file; None where there is none, which only who may look there can tell. Raises as `read`."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _failed("read", path, error) from error
    return read(path, limit)


def _content(path: str, limit: int) -> bytes:
    """The first bytes of a regular file, one more than ``limit``; a pipe is not waited for."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(limit + 1)


def replace(path: str, data: bytes, mode: int = 0o600) -> None:
    """Make ``data`` the content of ``path``, on the disk when this returns; a file's mode is kept.

    ``mode``: of a file that is made. What stood at ``path`` stays until the new one is complete and synced.

    Raises:
        XenTpmError: ``XENTPM_IO``; then ``path`` is as it was, or complete and new. Also when what is left of
            an earlier try shares clusters with the file, as `sweep` has it.
    """
    target = os.path.realpath(path) if os.path.islink(path) else path
    _require_own_clusters(target)
    try:
        _replace(target, data, mode)
    except OSError as error:
        with suppress(XenTpmError):
            sweep(target)
        raise _failed("write", path, error) from error
    if read(target) != data:
        raise XenTpmError(
            "{} does not read back as it was written".format(path),
            "Check the disk, and the kernel's messages (dmesg).",
            "XENTPM_IO",
        )


def _replace(path: str, data: bytes, mode: int) -> None:
    new = next(name for name in _new_names(path) if not os.path.lexists(name))
    fat = is_fat(os.path.dirname(path))
    old = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC) if os.path.lexists(path) else None
    try:
        if old is not None:
            mode = stat.S_IMODE(os.fstat(old).st_mode)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if not fat:  # a FAT has no modes
                os.fchmod(descriptor, mode)
            _write_all(descriptor, data)
            os.fsync(descriptor)
            os.rename(new, path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _sync_folder(path)
        if fat:
            os.sync()  # Python cannot sync one file system alone
    finally:
        if old is not None:
            os.close(old)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def remove(path: str) -> bool:
    """Remove a file, on the disk when this returns; whether there was one.

    Raises:
        XenTpmError: ``XENTPM_IO``, also as `replace` for shared clusters.
    """
    _require_own_clusters(path)
    return _unlink(path)


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
        _sync_folder(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed("remove", path, error) from error
    return True


def sweep(path: str) -> List[str]:
    """Remove what a `replace` of ``path`` that was cut short left beside it; what could not be removed.

    After a power cut at the wrong moment two names on a FAT can stand for the same clusters. Removing one
    would free the other's: that one is left for ``fsck.vfat``, and named.

    Raises:
        XenTpmError: ``XENTPM_IO``.
    """
    kept = []
    for name in _new_names(path):
        if not os.path.lexists(name):
            continue
        if is_fat(os.path.dirname(path)) and _share_clusters(name, path):
            kept.append(name)
        else:
            _unlink(name)
    return kept


def _require_own_clusters(path: str) -> None:
    for name in sweep(path):
        raise XenTpmError(
            "{} and {} share clusters since a power cut: neither can be changed".format(name, path),
            "Unmount the partition and run fsck.vfat on it, then call again. The host boots as it is.",
            "XENTPM_IO",
        )


def is_half_written(name: str) -> bool:
    """Whether a file's name is one that `replace` gives to a file until it is complete."""
    return _NEW in name


def require_space(folder: str, size: int, what: str) -> None:
    """Check that ``size`` bytes more have room in ``folder``.

    Raises:
        XenTpmError: ``XENTPM_IO`` with how much is missing.
    """
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise _failed("look at", folder, error) from error
    free, needed = found.f_bavail * found.f_frsize, size + _SPARE_BYTES
    if free < needed:
        raise XenTpmError(
            "{} needs {} KiB in {}, {} KiB are free".format(what, -(-needed // 1024), folder, free // 1024),
            "Make room there. Nothing was changed.",
            "XENTPM_IO",
        )


def is_fat(folder: str) -> bool:
    """Whether ``folder`` is on a FAT file system, as this kernel's table of mounts has it."""
    try:
        device = os.stat(folder or ".").st_dev
        with open("/proc/self/mountinfo", "rb") as file:
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return False
    number = "{}:{}".format(os.major(device), os.minor(device))
    for line in lines:
        mount, _, file_system = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return file_system.split(" ")[0] in _FAT
    return False


def _new_names(path: str) -> Iterator[str]:
    yield path + _NEW
    for number in range(1, _MOST_LEFT_OVER):
        yield "{}{}{}".format(path, _NEW, number)


def _share_clusters(name: str, path: str) -> bool:
    """Whether both begin at one block of the device; where that cannot be told, whether both are equal."""
    if not os.path.exists(path):
        return False
    try:
        first, second = _first_block(name), _first_block(path)
    except OSError:
        return read(name) == read(path)
    return first == second and first != 0


def _first_block(path: str) -> int:
    import fcntl

    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return int(struct.unpack("i", fcntl.ioctl(file.fileno(), _FIBMAP, struct.pack("i", 0)))[0])


def _sync_folder(path: str) -> None:
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(what: str, path: str, error: OSError) -> XenTpmError:
    return XenTpmError("cannot {} {}: {}".format(what, path, error.strerror or error), _HINT, "XENTPM_IO")
