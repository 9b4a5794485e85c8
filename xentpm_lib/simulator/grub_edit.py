"""Reading and changing the command lines of Xen and of the dom0 kernel in the text of a grub.cfg."""

from __future__ import annotations

import re

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.simulator.grub import default_entry
from xentpm_lib.simulator.grub_syntax import Assignment, Command, Statement, parse

__all__ = ["KERNEL", "XEN", "arguments", "with_arguments"]

XEN = 0
KERNEL = 1
"""Which image of the entry that boots, after tboot if there is one."""

_IMAGE_LINE = re.compile(r"(\s*(?:multiboot2|module2)\s+\S+)(?:[ \t]+(.*?))?\s*\Z")
_SPECIAL = re.compile(r"[\x00-\x1f\x7f\\'\"$#;{}|&<>()`*?~]")


def arguments(config: str, image: int) -> str:
    """Return the arguments of an image of the default entry, as they are written.

    Raises: FormatError when grub.cfg cannot be read.
    """
    return _match(config, image)[1]


def with_arguments(config: str, image: int, text: str) -> str:
    """Return grub.cfg with other arguments for an image of the default entry.

    Raises: FormatError when grub.cfg cannot be read, UsageError for characters that GRUB interprets.
    """
    refused = _SPECIAL.search(text)
    if refused:
        raise UsageError(
            f"a command line cannot have {refused[0]!r} here", "edit the simulated host's grub.cfg for that"
        )
    number, _, head = _match(config, image)
    lines = config.split("\n")
    lines[number] = f"{head} {text.strip()}".rstrip()
    return "\n".join(lines)


def _match(config: str, image: int) -> tuple[int, str, str]:
    """Return an image's line number, arguments, and line as far as the file name."""
    number = _image_lines(config)[image]
    match = _IMAGE_LINE.match(config.split("\n")[number])
    if match is None:
        raise FormatError("cannot make out the file name", where=f"grub.cfg line {number + 1}")
    return number, match[2] or "", match[1]


def _image_lines(config: str) -> list[int]:
    statements = parse(config)
    entry = default_entry(statements, _default(statements))
    commands = [statement for statement in entry.body if isinstance(statement, Command)]
    images = [command for command in commands if command.name in ("multiboot2", "module2")]
    if images and "tboot" in images[0].words[1].expand({}):
        images = images[1:]
    if len(images) < 2:
        raise FormatError("the default menu entry has no Xen and dom0 kernel", where="grub.cfg")
    return [command.line for command in images]


def _default(statements: tuple[Statement, ...]) -> str:
    """Return the last value that a ``set default=…`` or a bare ``default=…`` gives."""
    value = "0"
    for statement in statements:
        words = (statement.word,) if isinstance(statement, Assignment) else statement.words
        for word in words[:2]:
            name, equals, text = word.expand({}).partition("=")
            if equals and name == "default":
                value = text
    return value
