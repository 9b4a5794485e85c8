"""GRUB's variables, in contexts of which an inner one has what the outer one exported; and ``grubenv``."""

import re
from typing import Dict, Iterator, List, Optional, Set, Tuple

__all__ = ["Environment", "block_variables", "with_variable"]

_SIGNATURE = b"# GRUB Environment Block\n"
_FEATURES = (
    "chainloader_bpb ntldr platform_search_hint default_font_path all_video_module menuentry_id"
    " menuentry_options 200_final nativedisk_cmd timeout_style"
).split()
_COLORS = frozenset(
    (
        "black blue green cyan red magenta brown light-gray dark-gray light-blue light-green light-cyan"
        " light-red light-magenta yellow white"
    ).split()
)
_WATCHED = frozenset(("root", "prefix", "pager", "color_normal", "color_highlight"))


class Environment:
    """The variables that a script sees."""

    def __init__(self, prefix: str, root: str, platform: str = "efi") -> None:
        self._values: List[Dict[str, str]] = [{}]
        self._exported: List[Set[str]] = [set()]
        known = {"grub_cpu": "x86_64" if platform == "efi" else "i386", "grub_platform": platform}
        known.update({"feature_" + name: "y" for name in _FEATURES})
        known.update(color_normal="light-gray/black", color_highlight="black/light-gray")
        known.update(prefix=prefix, root=root, pager="")
        for name, value in known.items():
            self.set(name, value)
            self.export(name)
        for name in ("lang", "locale_dir", "secondary_locale_dir", "shim_lock", "lockdown"):
            self._exported[0].add(name)

    def get(self, name: str) -> Optional[str]:
        """The value; None where it is not set."""
        return self._values[-1].get(name)

    def set(self, name: str, value: str) -> None:
        """Set a variable; of a color that GRUB does not know, the old one stays."""
        if name in ("color_normal", "color_highlight"):
            front, _, back = value.partition("/")
            if front not in _COLORS or back not in _COLORS:
                return
        if name == "root" and value[:1] == "(" and value[-1:] == ")":
            value = value[1:-1]
        self._values[-1][name] = value

    def unset(self, name: str) -> None:
        """Forget a variable; one whose setting GRUB watches is empty instead."""
        if name in _WATCHED:
            self.set(name, "")
        else:
            self._values[-1].pop(name, None)

    def restore(self, name: str, value: Optional[str]) -> None:
        """Set a variable to a value that ``get`` gave."""
        if value is None:
            self.unset(name)
        else:
            self.set(name, value)

    def export(self, name: str) -> None:
        """Let inner contexts have it too."""
        self._values[-1].setdefault(name, "")
        self._exported[-1].add(name)

    def open(self) -> None:
        """Begin an inner context."""
        exported = self._exported[-1]
        self._values.append({name: value for name, value in self._values[-1].items() if name in exported})
        self._exported.append(set(exported))

    def close(self) -> None:
        """End the inner context."""
        self._values.pop()
        self._exported.pop()


def block_variables(data: bytes) -> Optional[Iterator[Tuple[str, str]]]:
    """The variables in an environment block (``grubenv``); None where it is none."""
    return _variables(data[len(_SIGNATURE) :]) if data.startswith(_SIGNATURE) else None


def _variables(data: bytes) -> Iterator[Tuple[str, str]]:
    at = 0
    while at < len(data):
        if data[at] != 0x23:  # not a comment
            equals = data.find(b"=", at)
            if equals < 0:
                return
            end, value = equals + 1, bytearray()
            while end < len(data) and data[end] != 0x0A:
                end += data[end] == 0x5C
                value += data[end : end + 1]
                end += 1
            if end >= len(data):
                return
            yield data[at:equals].decode("latin-1"), value.decode("latin-1")
            at = end
        else:
            at = data.find(b"\n", at)
            if at < 0:
                return
        at += 1


def with_variable(data: bytes, name: str, value: Optional[str]) -> bytes:
    """An environment block of the same size with a variable set, where it stands or at the end; or without.

    Unchanged where there is no room, or the block is damaged.
    """
    used = data.rstrip(b"#")
    if not used.endswith(b"\n"):
        return data
    start = name.encode("latin-1") + b"="
    line = b"" if value is None else start + re.sub(rb"([\\\n])", rb"\\\1", value.encode("latin-1")) + b"\n"
    lines = re.findall(rb"(?:\\.|[^\\\n])*\n", used[len(_SIGNATURE) :], re.DOTALL)
    places = [number for number, old in enumerate(lines) if old.startswith(start)]
    if places:
        lines[places[0]] = line
    else:
        lines.append(line)
    text = _SIGNATURE + b"".join(lines)
    return text.ljust(len(data), b"#") if len(text) <= len(data) else data
