"""evidence/strict_json.py: JSON with one meaning, within limits."""

import json
import random

import pytest

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.strict_json import Limits, _check_tokens, _is_small, load_json, mapping, members

LIMITS = Limits(length=1000, depth=3, tokens=100)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, {"b": null}], "c": "x"}',
        "0",
        '"[[[[{{{{"',
        r'"\"[[[[\\"',
        r'["\\", [["\\\""]]]',
        " [ ] ",
        '{"\\u0061": 1}',
        "[[[]], [[]], [[]]]",
    ],
)
def test_what_is_read(text):
    assert load_json(text, "doc", LIMITS) == json.loads(text)


@pytest.mark.parametrize(
    "text, where, fragment",
    [
        ("", "doc offset 0", "not JSON: Expecting value"),
        ("{", "doc offset 1", "not JSON"),
        ("[1] 2", "doc offset 4", "not JSON: Extra data"),
        ("[1,x]", "doc offset 3", "not JSON"),
        ("{'a': 1}", "doc offset 1", "not JSON"),
        ('"a\nb"', "doc offset 2", "not JSON: Invalid control character"),
        ("[01]", "doc offset 2", "not JSON"),
        ('"\u00e9"', "doc offset 1", "a character outside ASCII"),
        ("\ufeff1", "doc offset 0", "a character outside ASCII"),
        ("[NaN]", "JSON number", "NaN is no natural number"),
        ("[Infinity]", "JSON number", "Infinity is no"),
        ("[-Infinity]", "JSON number", "-Infinity is no"),
        ("[1.0]", "JSON number", "1.0 is no natural number"),
        ("[1e3]", "JSON number", "1e3 is no"),
        ("[-1]", "JSON number", "-1 is no"),
        ("[-0]", "JSON number", "-0 is no"),
        ("[12345678901]", "JSON number", "12345678901 is no natural number of at most 10 digits"),
        ("9" * 900, "JSON number", "9" * 32 + " is no"),
        ('{"a": 1, "a": 1}', "JSON object", "the key 'a' is given twice"),
        ('{"a": 1, "\\u0061": 1}', "JSON object", "the key 'a' is given twice"),
        ('[{"b": {"a": 1, "c": 2, "c": 3}}]', "JSON object", "the key 'c' is given twice"),
        ("[[[[]]]]", "doc offset 3", "nested deeper than 3 or over 100 tokens"),
        ('["\\"", [[[', "doc offset 9", "nested deeper"),
        ("[" + "1," * 100, "doc offset 200", "over 100 tokens"),
        ('"' + "\\\\" * 50 + '"', "doc offset 100", "over 100 tokens"),
        (" " * 1001, "doc", "1001 characters, at most 1000"),
    ],
)
def test_what_is_refused(refuses, text, where, fragment):
    refuses(where, fragment, load_json, text, "doc", LIMITS)


@pytest.mark.parametrize(
    "value, fragment",
    [
        ([], "expected an object, got list"),
        (None, "expected an object, got NoneType"),
        ({"a": 1}, "the member b is missing"),
        ({"a": 1, "b": 2, "\u202e": 3}, "the member '\\u202e' is unknown"),
    ],
)
def test_members(refuses, value, fragment):
    refuses("here", fragment, members, value, "here", ("a", "b"))


def test_members_that_are_right():
    assert members({"b": 1, "a": 2}, "here", ("a", "b")) == {"a": 2, "b": 1}
    assert mapping({}, "here") == {}


# A quick look accepts most texts and the token by token one is not asked: both have to say the same.

PIECES = ["[", "]", "{", "}", '"', "\\", '\\"', "\\\\", '""', '"["', '"a"', ",", ":", "1", " ", "[[", '{"a":']


@pytest.mark.parametrize("seed", range(40))
def test_the_quick_look_says_what_the_careful_one_says(seed):
    """For every text that is JSON; for what is none the parser refuses it in the end."""
    chosen = random.Random(seed)
    values = [[], {}, "", "[", ']"', "\\", '\\"[[[', {"a": [1]}, [[["x"]]], {"[": {'"': ["{"]}}]
    for _ in range(200):
        value = chosen.choice(values)
        for _ in range(chosen.randrange(4)):
            other = chosen.choice(values)
            value = chosen.choice([[value], [value, other], {"k": value, "[": other}])
        text = json.dumps(value)
        limits = Limits(length=1000, depth=chosen.randrange(6), tokens=1000)
        assert _is_small(text.encode("ascii"), limits) == _careful(text, limits)


@pytest.mark.parametrize("seed", range(40))
def test_the_quick_look_never_lets_more_pass_where_the_parser_still_reads(seed):
    chosen = random.Random(seed)
    for _ in range(300):
        text = "".join(chosen.choice(PIECES) for _ in range(chosen.randrange(12)))
        try:
            load_json(text, "doc", Limits(1000, 2, 1000))
        except FormatError:
            continue
        assert _careful(text, Limits(1000, 2, 1000))


def _careful(text, limits):
    try:
        _check_tokens(text, "doc", limits)
    except FormatError:
        return False
    return True


def test_a_key_twice_among_very_many_is_found_at_once():
    keys = ['"k{}": 1'.format(number) for number in range(50000)] + ['"k49999": 1']
    with pytest.raises(FormatError):
        load_json("{" + ",".join(keys) + "}", "doc", Limits(10**7, 3, 10**7))
