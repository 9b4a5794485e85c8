"""Times as text: ``2026-01-31T23:59:59.250Z``, the one spelling that the verifier writes and reads."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.encoding import check_created

__all__ = ["format_time", "parse_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST = 253402300799  # seconds since 1970, the end of the year 9999
_MILLISECONDS = 1000  # in a second


def format_time(seconds: float, where: str = "time") -> str:
    """A time as text, UTC, rounded down to the millisecond: nothing lasts longer by being written.

    seconds: since 1970.

    Raises:
        FormatError: before 1970, after 9999, or no number.

    Spec: RFC 3339 section 5.6.
    """
    if not (math.isfinite(seconds) and 0 <= seconds <= _LAST):
        raise FormatError("{} is no time between 1970 and 9999".format(seconds), where=where)
    # The inner rounding takes away what binary fractions add: 0.29 is 0.28999…, and is written as 0.290.
    milliseconds = math.floor(round(seconds * _MILLISECONDS, 2))
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return "{}.{:03d}Z".format(moment.strftime("%Y-%m-%dT%H:%M:%S"), milliseconds % _MILLISECONDS)


def parse_time(text: str, where: str = "time") -> float:
    """Seconds since 1970 of what ``format_time`` wrote.

    Raises:
        FormatError: another spelling, no such day, or before 1970.
    """
    fraction = text[19:-1] if isinstance(text, str) else ""
    if not (len(fraction) == 4 and fraction[0] == "." and fraction[1:].isascii() and fraction[1:].isdigit()):
        raise FormatError("not a time like 2026-01-31T23:59:59.250Z", where=where)
    check_created(text[:19] + "Z", where)
    if not text.endswith("Z") or text[:4] < "1970":
        raise FormatError("not a time in UTC since 1970", where=where)
    moment = datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc)
    whole = (moment - _EPOCH) // timedelta(milliseconds=1)
    return (whole + int(fraction[1:])) / _MILLISECONDS
