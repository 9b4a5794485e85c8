"""The little of DER that keys, signatures and certificates need: writing, and measuring one element.

Spec: ITU-T X.690, distinguished encoding rules.
"""

from xentpm_lib.errors import FormatError

__all__ = [
    "NULL",
    "element_size",
    "encode_bit_string",
    "encode_integer",
    "encode_oid",
    "encode_sequence",
]

NULL = b"\x05\x00"

_INTEGER = 0x02
_BIT_STRING = 0x03
_OID = 0x06
_SEQUENCE = 0x30
_MAX_LENGTH_BYTES = 4  # lengths up to 4 GiB; more is nonsense here


def encode_integer(magnitude: bytes) -> bytes:
    """An INTEGER that is not negative, from its big-endian bytes."""
    digits = magnitude.lstrip(b"\0") or b"\0"
    return _encode(_INTEGER, b"\0" + digits if digits[0] & 0x80 else digits)


def encode_sequence(*elements: bytes) -> bytes:
    """A SEQUENCE of encoded elements."""
    return _encode(_SEQUENCE, b"".join(elements))


def encode_bit_string(data: bytes) -> bytes:
    """A BIT STRING of whole bytes."""
    return _encode(_BIT_STRING, b"\0" + data)


def encode_oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER from a constant like ``1.2.840.10045.2.1``."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return _encode(_OID, b"".join(_base128(arc) for arc in [40 * first + second] + rest))


def element_size(data: bytes, where: str) -> int:
    """The size in bytes of the SEQUENCE, header included, that ``data`` starts with.

    where: the value's path, for messages.

    Raises:
        FormatError: it is no SEQUENCE, has no definite length, or is longer than ``data``.
    """
    if len(data) < 2 or data[0] != _SEQUENCE:
        raise FormatError("does not start with a DER SEQUENCE", where=where)
    header, length = 2, data[1]
    if length & 0x80:
        count = length & 0x7F
        header += count
        if not 1 <= count <= _MAX_LENGTH_BYTES or header > len(data):
            raise FormatError("the DER length cannot be read", where=where)
        length = int.from_bytes(data[2:header], "big")
    if header + length > len(data):
        message = "the DER SEQUENCE says {} bytes, got {}".format(header + length, len(data))
        raise FormatError(message, where=where)
    return header + length


def _encode(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _encode_length(len(content)) + content


def _encode_length(length: int) -> bytes:
    if length < 0x80:
        return bytes((length,))
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(digits),)) + digits


def _base128(number: int) -> bytes:
    groups = [number & 0x7F]
    while number > 0x7F:
        number >>= 7
        groups.append(0x80 | number & 0x7F)
    return bytes(reversed(groups))
