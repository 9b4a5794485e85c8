"""Changing what a simulated host boots from: files, and command lines in its grub.cfg."""

from __future__ import annotations

from pathlib import Path

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator import grub_edit
from xentpm_lib.simulator.boot_files import COMMAND_LINES, BootFiles

__all__ = ["EDIT_MARK", "command_line", "edit"]

EDIT_MARK = "edited"
"""What an edit without content appends."""

_IMAGES = dict(zip(COMMAND_LINES, (grub_edit.XEN, grub_edit.KERNEL), strict=True))


def edit(files: BootFiles, component: str, content: bytes | str | None, append: bytes | str | None) -> None:
    """Replace a component by ``content`` or append to it (see ``Machine.edit``).

    Raises: UsageError, FormatError when grub.cfg cannot be read, OSError.
    """
    if content is not None and append is not None:
        raise UsageError("either replace a component or append to it")
    if content is None and append is None:
        append = EDIT_MARK
    if component in _IMAGES:
        _edit_command_line(files, _IMAGES[component], content, append)
    else:
        _edit_file(files.file(component), content, append)


def command_line(files: BootFiles, component: str) -> str:
    """Return a command line of the default menu entry, as it is written.

    Raises: UsageError when ``component`` is none, FormatError.
    """
    if component not in _IMAGES:
        raise UsageError(f"{component!r} is no command line", f"there are: {', '.join(COMMAND_LINES)}")
    return grub_edit.arguments(_config(files), _IMAGES[component])


def _config(files: BootFiles) -> str:
    return files.config.read_bytes().decode("utf-8", "surrogateescape")


def _edit_command_line(
    files: BootFiles, image: int, content: bytes | str | None, append: bytes | str | None
) -> None:
    config = _config(files)
    if append is not None:
        content = f"{grub_edit.arguments(config, image)} {_text(append).strip()}"
    changed = grub_edit.with_arguments(config, image, _text(content or ""))
    _replace(files.config, changed.encode("utf-8", "surrogateescape"))


def _edit_file(path: Path, content: bytes | str | None, append: bytes | str | None) -> None:
    if append is not None:
        content = path.read_bytes() + _bytes(append)
    _replace(path, _bytes(content or b""))


def _text(value: bytes | str) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("a command line has to be UTF-8 text") from error


def _bytes(value: bytes | str) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else value


def _replace(path: Path, content: bytes) -> None:
    """Replace a file in one step: a full disk leaves the old one."""
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
