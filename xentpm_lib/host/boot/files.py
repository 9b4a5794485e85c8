"""Reading the files of a dom0 for what they tell: bounded, and absent where they cannot be read."""

import os
from typing import Iterator, Optional

__all__ = ["any_case", "is_file", "listed", "read_file"]


def is_file(path: str) -> bool:
    """Whether there is a file; a name that no file can have, where Python before 3.8 raises, is none."""
    try:
        return os.path.isfile(path)
    except ValueError:
        return False


def read_file(path: Optional[str], limit: int) -> Optional[bytes]:
    """A regular file's content; None where there is none, or it has more than ``limit`` bytes."""
    if path is None or not is_file(path):
        return None
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError:
        return None
    return data if len(data) <= limit else None


def listed(folder: str) -> Iterator[str]:
    """The paths of what is in ``folder``, sorted by name; nothing where it cannot be read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        yield os.path.join(folder, name)


def any_case(folder: str, relative: str) -> Optional[str]:
    """The path of ``relative`` below ``folder``, upper and lower case being the same as on FAT.

    None where there is nothing of that name; ``..`` is no name.
    """
    found = folder
    for name in relative.strip("/").split("/"):
        if name in ("", "."):
            continue
        exact = os.path.join(found, name)
        if name == "..":
            return None
        if not _exists(exact):
            same = [path for path in listed(found) if os.path.basename(path).lower() == name.lower()]
            if not same:
                return None
            exact = same[0]
        found = exact
    return found


def _exists(path: str) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:
        return False
