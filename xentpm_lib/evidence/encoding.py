"""Strict decoding of the text forms that bytes travel in: every value has exactly one spelling.

A lenient decoder lets two texts mean the same bytes, or one text mean different bytes to
different readers. Here anything but the one canonical spelling is refused.
"""

import binascii

from xentpm_lib.errors import FormatError

__all__ = ["check_created", "check_uuid", "decode_base64", "decode_hex", "encode_base64", "encode_hex"]

_BASE64_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_HEX_DIGITS = frozenset("0123456789abcdef")
_CREATED_SHAPE = "0000-00-00T00:00:00Z"
_ANY_DIGIT = dict.fromkeys(b"0123456789", "0")  # for str.translate
_UUID_LENGTH = 36  # characters, with hyphens at 8, 13, 18 and 23
_BASE64_HINT = "Encode it as one line of padded base64."
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def encode_base64(data: bytes) -> str:
    """``data`` in standard base64 (RFC 4648 section 4), padded, on one line."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def encode_hex(data: bytes) -> str:
    """``data`` as lower-case hex digits."""
    return data.hex()


def decode_base64(text: str, where: str, minimum: int, maximum: int) -> bytes:
    """The bytes that canonical base64 stands for.

    text: standard alphabet, padded, no white space, unused bits zero.
    where: the value's path, for messages.
    minimum, maximum: the allowed size in bytes.

    Raises:
        FormatError: another spelling, or a size out of range.

    Spec: RFC 4648 section 4; sections 3.3 and 3.5 on what to refuse.
    """
    _check_text(text, where)
    if len(text) > (maximum + 2) // 3 * 4:
        expected = _range(minimum, maximum, "bytes")
        raise FormatError("{}, got {} characters of base64".format(expected, len(text)), where=where)
    data = _lenient_base64(text, where)
    if encode_base64(data) != text:
        raise FormatError(_base64_fault(text), _BASE64_HINT, where=where)
    if not minimum <= len(data) <= maximum:
        raise FormatError("{}, got {}".format(_range(minimum, maximum, "bytes"), len(data)), where=where)
    return data


def decode_hex(text: str, where: str, minimum: int, maximum: int, any_case: bool = False) -> bytes:
    """The bytes that hex digits stand for.

    text: hex digits only, in lower case unless ``any_case``.
    where: the value's path, for messages.
    minimum, maximum: the allowed size in bytes.

    Raises:
        FormatError: another character, or a size out of range.
    """
    _check_text(text, where)
    digits = text.lower() if any_case else text
    if not 2 * minimum <= len(text) <= 2 * maximum:
        expected = _range(2 * minimum, 2 * maximum, "hex digits")
        raise FormatError("{}, got {}".format(expected, len(text)), where=where)
    try:
        data = bytes.fromhex(digits)  # takes capitals and spaces, too
    except ValueError:
        data = b""
    if data.hex() != digits:
        raise FormatError(_hex_fault(digits, any_case), where=where)
    return data


def check_uuid(text: str, where: str, any_case: bool = False) -> str:
    """``text`` itself when it is a UUID of 36 characters, in lower case unless ``any_case``.

    Raises:
        FormatError: it is not.
    """
    _check_text(text, where)
    digits = (text.lower() if any_case else text).replace("-", "")
    shape = len(text) == _UUID_LENGTH and text[8:24:5] == "----" and len(digits) == _UUID_LENGTH - 4
    if not shape or not _HEX_DIGITS.issuperset(digits):
        raise FormatError("not a UUID like 01234567-89ab-cdef-0123-456789abcdef", where=where)
    return text


def check_created(text: str, where: str) -> str:
    """``text`` itself when it is a real moment of time written like ``2026-01-31T23:59:59Z``.

    Raises:
        FormatError: it is not.

    Spec: RFC 3339 section 5.6, without fractions and leap seconds, UTC only.
    """
    _check_text(text, where)
    if text.translate(_ANY_DIGIT) != _CREATED_SHAPE:
        raise FormatError("not a time like 2026-01-31T23:59:59Z", where=where)
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
    if not (_is_date(year, month, day) and hour < 24 and minute < 60 and second < 60):
        raise FormatError("no such day or time of day", where=where)
    return text


def _check_text(text: str, where: str) -> None:
    if not isinstance(text, str):
        raise FormatError("expected text, got {}".format(type(text).__name__), where=where)


def _lenient_base64(text: str, where: str) -> bytes:
    try:
        return binascii.a2b_base64(text)
    except ValueError:  # binascii.Error is one; so is a character outside ASCII
        raise FormatError(_base64_fault(text), _BASE64_HINT, where=where) from None


def _base64_fault(text: str) -> str:
    """What is wrong with ``text``, which can be as large as an event log: hence the sets."""
    if any(character.isspace() for character in set(text)):
        return "white space in base64"
    if not _BASE64_ALPHABET.issuperset(text.rstrip("=")):
        return "a character outside the base64 alphabet"
    if len(text) % 4:
        return "base64 of {} characters is incomplete".format(len(text))
    return "base64 that is not padded canonically"


def _hex_fault(digits: str, any_case: bool) -> str:
    if _HEX_DIGITS.issuperset(digits):
        return "an odd number of hex digits"
    return "not {}hex digits".format("" if any_case else "lower-case ")


def _is_date(year: int, month: int, day: int) -> bool:
    if year == 0 or not 1 <= month <= 12:
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= _DAYS[month - 1] + (1 if leap and month == 2 else 0)


def _range(minimum: int, maximum: int, unit: str) -> str:
    if minimum == maximum:
        return "expected {} {}".format(minimum, unit)
    return "expected {} to {} {}".format(minimum, maximum, unit)
