"""The ISO and the zip of it, byte for byte the same from the same tree."""

import os
import time
import zipfile

from pack.tools import run

__all__ = ["write_iso", "write_zip"]


def write_iso(tree: str, path: str, volume: str, epoch: int) -> None:
    """Write ``tree`` as ISO 9660 with Rock Ridge; all files belong to root. Raises: PackError."""
    for folder, folders, names in os.walk(tree, topdown=False):
        for name in names + folders:
            os.utime(os.path.join(folder, name), (epoch, epoch))
    os.utime(tree, (epoch, epoch))
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", volume, "-o", path, tree]
    run(command, environment={"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC"})


def write_zip(iso: str, path: str, epoch: int) -> None:
    """Write a zip with ``iso`` alone in it."""
    entry = zipfile.ZipInfo(os.path.basename(iso), time.gmtime(epoch)[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(path, "w") as archive, open(iso, "rb") as file:
        archive.writestr(entry, file.read())
