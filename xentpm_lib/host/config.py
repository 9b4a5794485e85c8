"""The configuration file: ``key=value`` lines, ``#`` comments; keys in any case, spaces around them ignored.

A message never holds a value of ``password``.
"""

import os
import stat
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

from xentpm_lib.errors import XenTpmError
from xentpm_lib.tpm.connection import DEFAULT_TCTI
from xentpm_lib.tpm.keys import AK_ALGORITHMS

__all__ = ["TAG_PCRS", "Config", "load_config", "parse_config"]

MAXIMUM_BYTES = 65536
DEFAULT_TAG_PCR = 15
DEFAULT_LOCK_TIMEOUT_S = 60
MAXIMUM_LOCK_TIMEOUT_S = 3600
TAG_PCRS = (11, 12, 13, 14, 15, 22)
"""PCRs that may carry the asset tag: 0 to 10 are measured by others, 16 and 23 can be reset by anyone."""

_AUTH_DIGITS = 40
_PASSWORD_HINT = "Make the digits with: echo -n <password> | sha1sum | cut -c1-40"
_DIGITS = frozenset("0123456789")
_LOOKS_SECRET = 8
_HEX = frozenset("0123456789abcdefABCDEF")


class Config(NamedTuple):
    """``owner_auth``: 20 bytes; ``asset_tag_pcr``: of `TAG_PCRS`, None for off; ``warnings``: sentences."""

    owner_auth: bytes
    tcti: str = DEFAULT_TCTI
    ak_algorithm: str = AK_ALGORITHMS[0]
    asset_tag_pcr: Optional[int] = DEFAULT_TAG_PCR
    lock_timeout_s: int = DEFAULT_LOCK_TIMEOUT_S
    warnings: Tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the authorisation value."""
        return "Config(tcti={!r}, ak_algorithm={!r})".format(self.tcti, self.ak_algorithm)


def load_config(path: str) -> Config:
    """Read and check the configuration file at ``path``.

    Raises:
        XenTpmError: ``XENTPM_CONFIG``; the message names the line, never a password's digits.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise _wrong(
            "XenServer could not read configuration file {}: {}".format(path, error.strerror),
            "Install the pack again, or write the file (mode 0600) with a line password=<40 hex digits>.",
        ) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _wrong("{} can be written by others (mode {:04o})".format(path, mode & 0o7777), _chmod(path))
    try:
        config = parse_config(data)
    except XenTpmError as error:
        raise _wrong("{}: {}".format(path, error.message), error.hint) from error
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        seen = "{} can be read by others (mode {:04o}). {}".format(path, mode & 0o7777, _chmod(path))
        config = config._replace(warnings=config.warnings + (seen,))
    return config


def parse_config(data: bytes) -> Config:
    """Check the content of a configuration file, at most 65,536 bytes of UTF-8.

    Raises:
        XenTpmError: ``XENTPM_CONFIG``.
    """
    if len(data) > MAXIMUM_BYTES:
        raise _wrong("the configuration file has more than {} bytes".format(MAXIMUM_BYTES))
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise _wrong("the configuration file is not UTF-8 text (byte {})".format(error.start)) from error
    values = _key_values(lines)
    if "password" not in values:
        raise _wrong(
            "XenServer could not read config key from config file: no line password=...", _PASSWORD_HINT
        )
    fields = {
        _FIELDS[key][0]: _FIELDS[key][1](value, "line {}".format(line))
        for key, (line, value) in values.items()
    }
    return Config(**fields)  # type: ignore[arg-type]


def _key_values(lines: List[str]) -> Dict[str, Tuple[int, str]]:
    values: Dict[str, Tuple[int, str]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        key = key.strip().lower()
        if not equals:
            raise _wrong(
                "line {} is neither key=value nor a comment".format(number), "Begin a comment with #."
            )
        if key not in _FIELDS:
            raise _wrong(
                "line {}: there is no key {}".format(number, _shown(key)),
                "Keys: {}.".format(", ".join(_FIELDS)),
            )
        if key in values:
            raise _wrong("line {}: {} was given on line {} already".format(number, key, values[key][0]))
        values[key] = (number, value.strip())
    return values


def _password(value: str, where: str) -> bytes:
    if len(value) != _AUTH_DIGITS or not set(value) <= _HEX:
        raise _wrong(
            "{}: password: expected {} hex digits, got {} characters{}".format(
                where, _AUTH_DIGITS, len(value), "" if set(value) <= _HEX else " that are not all hex digits"
            ),
            _PASSWORD_HINT,
        )
    auth = bytes.fromhex(value)
    if not any(auth):
        raise _wrong("{}: password: forty zeros are no password to a TPM".format(where), _PASSWORD_HINT)
    return auth


def _tcti(value: str, where: str) -> str:
    if not value or not value.isprintable() or value.startswith(":"):
        raise _wrong(
            "{}: tcti: expected a TCTI such as {}".format(where, DEFAULT_TCTI),
            "Leave the line out for the default.",
        )
    return value


def _ak_algorithm(value: str, where: str) -> str:
    if value.lower() not in AK_ALGORITHMS:
        raise _wrong(
            "{}: ak_algorithm: expected {}, got {}".format(where, " or ".join(AK_ALGORITHMS), _shown(value))
        )
    return value.lower()


def _asset_tag_pcr(value: str, where: str) -> Optional[int]:
    if value.lower() == "none":
        return None
    if value not in [str(index) for index in TAG_PCRS]:
        raise _wrong(
            "{}: asset_tag_pcr: expected none or one of {}, got {}".format(
                where, ", ".join(map(str, TAG_PCRS)), _shown(value)
            ),
            "The other PCRs are measured by firmware and boot loader, or can be reset by anyone.",
        )
    return int(value)


def _lock_timeout(value: str, where: str) -> int:
    if not (len(value) <= 4 and set(value) <= _DIGITS and 1 <= int(value or "0") <= MAXIMUM_LOCK_TIMEOUT_S):
        raise _wrong(
            "{}: lock_timeout_s: expected 1 to {} seconds, got {}".format(
                where, MAXIMUM_LOCK_TIMEOUT_S, _shown(value)
            )
        )
    return int(value)


_FIELDS: Dict[str, Tuple[str, Callable[[str, str], object]]] = {
    "password": ("owner_auth", _password),
    "tcti": ("tcti", _tcti),
    "ak_algorithm": ("ak_algorithm", _ak_algorithm),
    "asset_tag_pcr": ("asset_tag_pcr", _asset_tag_pcr),
    "lock_timeout_s": ("lock_timeout_s", _lock_timeout),
}


def _shown(text: str) -> str:
    """``text`` for a message; not where a password's digits may stand in the wrong place."""
    run = longest = 0
    for char in text:
        run = run + 1 if char in _HEX else 0
        longest = max(longest, run)
    return "something that may be a password" if longest >= _LOOKS_SECRET else ascii(text[:32])


def _chmod(path: str) -> str:
    return "Run: chmod 0600 {}".format(path)


def _wrong(message: str, hint: str = "Mend that line in the configuration file.") -> XenTpmError:
    return XenTpmError(message, hint, "XENTPM_CONFIG")
