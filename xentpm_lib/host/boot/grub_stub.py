"""The short configuration that only says where GRUB's real one is, as Debian and AlmaLinux put it on the ESP.

This is no interpreter. A configuration with commands of another kind is taken for the real one.
"""

import re
from typing import Dict, Optional

__all__ = ["MAX_CONFIG_SIZE", "next_config"]

MAX_CONFIG_SIZE = 1 << 20  # bytes; a grub.cfg has 2 to 20 KiB
_MAX_STUB_LINES = 64
_MAX_WORD = 4096  # characters of a word or variable
_HARMLESS = re.compile(r"(search(\.\w+)?|export|insmod|echo|normal)(\s|$)")
_SET = re.compile(r"(?:set\s+)?(\w+)=(\S*)$")
_CONFIGFILE = re.compile(r"(?:configfile|source|normal)\s+(\S+)$")
_VARIABLE = re.compile(r"\$(?:(\w+)|{(\w+)})")


def next_config(text: bytes, prefix: str) -> Optional[str]:
    """The path on its device of the configuration that a stub ends in; None where ``text`` is no stub.

    prefix: what GRUB has as ``$prefix`` when it reads the stub.
    """
    variables: Dict[str, str] = {"prefix": prefix}
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) > _MAX_STUB_LINES:
        return None
    for line in lines:
        setting, target = _SET.match(line), _CONFIGFILE.match(line)
        if target:
            return _path(_expanded(target.group(1), variables))
        if setting:
            variables[setting.group(1)] = _expanded(setting.group(2), variables)
        elif not _HARMLESS.match(line):
            return None
    return None


def _expanded(word: str, variables: Dict[str, str]) -> str:
    """A word without quotes; a variable that is not known, a device's name for instance, is empty."""
    plain = word.replace("'", "").replace('"', "")[:_MAX_WORD]
    return _VARIABLE.sub(lambda found: variables.get(found.group(1) or found.group(2), ""), plain)[:_MAX_WORD]


def _path(word: str) -> Optional[str]:
    path = word.rpartition(")")[2]
    return path if path.startswith("/") else None
