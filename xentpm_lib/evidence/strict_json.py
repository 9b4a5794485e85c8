"""Reading JSON that may be hostile: bounded in length, depth and count, and with one meaning only.

Python's parser keeps the last of two equal keys, reads NaN, and grows with whatever it is given;
two programs can read one such text differently. Here that text is refused, and so are fractions
and signs, for which the documents of this project have no use.
"""

from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Tuple

from xentpm_lib.errors import FormatError

__all__ = ["Limits", "load_json", "mapping", "members"]

_MAX_INTEGER_DIGITS = 10
_NO_SHAPE = bytes(code for code in range(256) if code not in b'[]{}"')


class Limits(NamedTuple):
    """What a document may be at most.

    length: characters. depth: objects and arrays within one another.
    tokens: quotes, commas, brackets, braces and backslashes, which bounds the number of values.
    """

    length: int
    depth: int
    tokens: int


def load_json(text: str, where: str, limits: Limits) -> Any:
    """The value that ``text`` stands for.

    where: the document's name, for messages.

    Raises:
        FormatError: over a limit, not ASCII, not JSON, a key twice, a number that is not a
            natural one of at most 10 digits.

    Spec: RFC 8259; section 4 on duplicate names, section 9 on limits.
    """
    import json

    if len(text) > limits.length:
        raise FormatError("{} characters, at most {}".format(len(text), limits.length), where=where)
    try:
        if not _is_small(text.encode("ascii"), limits):
            _check_tokens(text, where, limits)
        return _decoder().decode(text)
    except UnicodeEncodeError as error:
        message = "a character outside ASCII"
        raise FormatError(message, where="{} offset {}".format(where, error.start)) from None
    except json.JSONDecodeError as error:
        message = "not JSON: {}".format(error.msg)
        raise FormatError(message, where="{} offset {}".format(where, error.pos)) from None


def mapping(value: Any, where: str) -> Dict[str, Any]:
    """``value`` itself. Raises: FormatError when it is no JSON object."""
    if not isinstance(value, dict):
        raise FormatError("expected an object, got {}".format(type(value).__name__), where=where)
    return value


def members(value: Any, where: str, names: Tuple[str, ...]) -> Dict[str, Any]:
    """``value`` itself. Raises: FormatError when it is no JSON object with exactly these members."""
    found = mapping(value, where)
    if tuple(found) == names:
        return found
    for name in found:
        if name not in names:
            raise FormatError("the member {} is unknown".format(ascii(name[:32])), where=where)
    for name in names:
        if name not in found:
            raise FormatError("the member {} is missing".format(name), where=where)
    return found


@lru_cache(maxsize=None)
def _decoder() -> Any:
    """Python's parser with our hooks; it keeps nothing from one text to the next."""
    import json

    return json.JSONDecoder(
        object_pairs_hook=_object,
        parse_int=_integer,
        parse_float=_refuse_number,
        parse_constant=_refuse_number,
    )


def _is_small(data: bytes, limits: Limits) -> bool:
    """Whether a quick look is enough to know that ``data`` is within the limits. It builds nothing but bytes.

    Escapes come in pairs from the left, so what is left of them are not quotes; then two quotes with nothing
    but other text between them are a string without a bracket, and every second piece between the quotes that
    are left is outside strings. Data that is no JSON can mislead this only behind the place where the parser
    stops reading.
    """
    if len(data) > limits.tokens:  # each token is a character
        return False
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    shape = data.translate(None, _NO_SHAPE).replace(b'""', b"")
    if b'"' in shape:
        shape = b"".join(shape.split(b'"')[::2])
    depth = deepest = 0
    for bracket in shape:
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest <= limits.depth


def _check_tokens(text: str, where: str, limits: Limits) -> None:
    """Read token by token, to tell where a limit is passed. Raises: FormatError."""
    import re

    depth, in_string, escaped = 0, False, -1
    for count, match in enumerate(re.finditer(r'[][{},"\\]', text), 1):
        token, offset = match.group(), match.start()
        if token == '"' and offset != escaped:
            in_string = not in_string
        elif in_string and token == "\\" and offset != escaped:
            escaped = offset + 1
        elif not in_string:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token, 0)
        if depth > limits.depth or count > limits.tokens:
            message = "nested deeper than {} or over {} tokens".format(limits.depth, limits.tokens)
            raise FormatError(message, where="{} offset {}".format(where, offset))


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _refuse_repetition(pairs)
    return found


def _refuse_repetition(pairs: List[Tuple[str, Any]]) -> None:
    names = sorted(name for name, _ in pairs)
    repeated = next(name for name, following in zip(names, names[1:]) if name == following)
    raise FormatError("the key {} is given twice".format(ascii(repeated[:32])), where="JSON object")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER_DIGITS or digits.startswith("-"):
        _refuse_number(digits)
    return int(digits)


def _refuse_number(text: str) -> Any:
    message = "{} is no natural number of at most {} digits".format(text[:32], _MAX_INTEGER_DIGITS)
    raise FormatError(message, where="JSON number")
