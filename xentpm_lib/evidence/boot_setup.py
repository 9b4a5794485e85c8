"""What a host says of its measured boot set-up: untrusted, and worth having all the same.

A changed PCR 8 alone does not tell an update that put the vendor's boot loader back from an attack. This
does not either, as proof; it tells an administrator where to look first. It never makes a host trusted.
"""

from typing import Any, Dict, NamedTuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.strict_json import members

__all__ = [
    "MAX_DETAIL_LENGTH",
    "METHODS",
    "STATES",
    "BootSetup",
    "boot_setup_from_json",
    "boot_setup_to_json",
]

METHODS = ("grub-tpm", "tboot")
STATES = ("active", "pending", "undone")
MAX_DETAIL_LENGTH = 1000  # characters

_TEXT = frozenset(map(chr, range(0x20, 0x7F)))


class BootSetup(NamedTuple):
    """How the host was set up to measure its boot, and whether that still stands.

    method: ``grub-tpm`` or ``tboot``.
    state: ``active``, this boot was measured by it; ``pending``, it was set up after this boot, which a
    restart ends; ``undone``, something put other files back, most often an update.
    detail: printable ASCII, at most 1,000 characters; which file, and what was found there.
    """

    method: str
    state: str
    detail: str = ""


def boot_setup_to_json(setup: BootSetup) -> Dict[str, str]:
    """The set-up as a JSON value, encoded but not checked."""
    return dict(zip(BootSetup._fields, setup))


def boot_setup_from_json(value: Any, where: str) -> BootSetup:
    """The set-up that a JSON value stands for.

    Raises:
        FormatError: it is not as ``BootSetup`` says.
    """
    found = members(value, where, BootSetup._fields)
    for name, known in (("method", METHODS), ("state", STATES)):
        if found[name] not in known:
            raise FormatError("expected {}".format(" or ".join(known)), where="{}.{}".format(where, name))
    detail = found["detail"]
    if not isinstance(detail, str) or not _TEXT.issuperset(detail):
        raise FormatError("expected printable ASCII", where=where + ".detail")
    if len(detail) > MAX_DETAIL_LENGTH:
        raise FormatError(
            "{} characters, at most {}".format(len(detail), MAX_DETAIL_LENGTH), where=where + ".detail"
        )
    return BootSetup(found["method"], found["state"], detail)
