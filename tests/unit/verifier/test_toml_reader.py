"""TOML files are read to the last key, and every mistake is told with its path."""

from enum import Enum

import pytest

from xentpm_lib.verifier.toml_reader import MAX_TOML_LENGTH, Mistake, key_path, parse_toml
from xentpm_lib.verifier.toml_values import duration_text, suggestion


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


COLOURS = {colour.value: colour for colour in Colour}


def paths(root):
    return [mistake.path for mistake in root.mistakes]


def read(text, getter, *args, **words):
    """What a getter of the top table returns, and the mistakes as text."""
    root = parse_toml(text)
    value = getattr(root, getter)("key", *args, **words)
    root.finish()
    return value, [str(mistake) for mistake in root.mistakes]


RANGE = {"minimum": 1, "maximum": 9}
GOOD = [
    ('key = "word"', "text", {}, "word"),
    ("key = true", "boolean", {}, True),
    ("key = 7", "integer", RANGE, 7),
    ("key = 7", "number", RANGE, 7.0),
    ("key = 1.5", "number", RANGE, 1.5),
    ('key = "90s"', "duration", {}, 90.0),
    ('key = "5m"', "duration", {}, 300.0),
    ('key = "2h"', "duration", {}, 7200.0),
    ('key = "90d"', "duration", {}, 7776000.0),
    ('key = "250ms"', "duration", {}, 0.25),
    ('key = ["a", "b"]', "texts", {}, ("a", "b")),
    ("key = []", "texts", {}, ()),
    ("key = [3, 1]", "integers", RANGE, (3, 1)),
    ('key = "blue"', "choice", {"choices": COLOURS}, Colour.BLUE),
    ('key = ["blue"]', "choices", {"choices": COLOURS}, frozenset({Colour.BLUE})),
]


@pytest.mark.parametrize(("text", "getter", "words", "value"), GOOD)
def test_a_right_value_is_returned(text, getter, words, value):
    assert read(text, getter, **words) == (value, [])


DEFAULTS = [
    ("text", {}, "word"),
    ("boolean", {}, False),
    ("boolean", {}, True),
    ("integer", RANGE, 0),
    ("number", RANGE, 0.0),
    ("duration", {}, 0.0),
    ("texts", {}, ("a",)),
    ("texts", {}, ()),
    ("integers", RANGE, (5,)),
    ("choice", {"choices": COLOURS}, Colour.BLUE),
    ("choices", {"choices": COLOURS}, frozenset({Colour.BLUE})),
]


@pytest.mark.parametrize(("getter", "words", "default"), DEFAULTS)
def test_a_missing_value_is_the_default(getter, words, default):
    assert read("", getter, default=default, **words) == (default, [])


@pytest.mark.parametrize("getter", sorted({getter for getter, _, _ in DEFAULTS}))
def test_without_a_default_a_value_must_be_given(getter):
    words = next(words for name, words, _ in DEFAULTS if name == getter)
    assert read("", getter, **words)[1] == ["key: it is missing"]


BAD = [
    ("key = 1", "text", {}, ["key: expected text, got a whole number: 1"]),
    ('key = ""', "text", {}, ["key: it is empty"]),
    ('key = "a\\u001b[31m"', "text", {}, ["key: it has characters that cannot be printed"]),
    ('key = "a b"', "text", {"pattern": "[a-z]+"}, ["key: this text is not allowed here"]),
    ('key = "yes"', "boolean", {}, ["key: expected true or false, got text"]),
    ("key = 1", "boolean", {}, ["key: expected true or false, got a whole number: 1"]),
    ("key = true", "integer", RANGE, ["key: expected a whole number, got true or false: true"]),
    ("key = 1.0", "integer", RANGE, ["key: expected a whole number, got a number: 1.0"]),
    ("key = 10", "integer", RANGE, ["key: 10 is out of range, expected 1 to 9"]),
    ("key = nan", "number", RANGE, ["key: nan is out of range, expected 1 to 9"]),
    ("key = inf", "number", RANGE, ["key: inf is out of range, expected 1 to 9"]),
    ("key = 90", "duration", {}, ["key: expected text, got a whole number: 90"]),
    ('key = "90"', "duration", {}, ["key: this is no duration"]),
    ('key = "1h30m"', "duration", {}, ["key: this is no duration"]),
    ('key = "-1s"', "duration", {}, ["key: this is no duration"]),
    ('key = "\u0661s"', "duration", {}, ["key: this is no duration"]),
    ('key = "1s"', "duration", {"minimum": 60.0}, ["key: 1s is out of range, expected 1m to 3660d"]),
    ('key = "a"', "texts", {}, ["key: expected an array, got text"]),
    ('key = ["a", 1, "a", ""]', "texts", {}, [
        "key[1]: expected text, got a whole number: 1",
        "key[2]: 'a' is given twice",
        "key[3]: it is empty",
    ]),
    ("key = [1, 0, 1]", "integers", RANGE, [
        "key[1]: 0 is out of range, expected 1 to 9",
        "key[2]: 1 is given twice",
    ]),
    ("key = [true]", "integers", RANGE, ["key[0]: expected a whole number, got true or false: true"]),
    ('key = "green"', "choice", {"choices": COLOURS}, [
        "key: 'green' is not known, expected one of: red, blue"
    ]),
    ("key = []", "choices", {"choices": COLOURS}, ["key: it is empty"]),
    ('key = ["red", "red"]', "choices", {"choices": COLOURS}, ["key[1]: 'red' is given twice"]),
    ("key = 1979-05-27", "text", {}, ["key: expected text, got a date or time"]),
    ("[key]", "text", {}, ["key: expected text, got a table"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "getter", "words", "mistakes"), BAD)
def test_a_wrong_value_is_told(text, getter, words, mistakes):
    assert read(text, getter, **words)[1] == mistakes


@pytest.mark.parametrize(
    ("getter", "words"),
    [
        ("text", {"pattern": "[a-z]+"}),
        ("integer", RANGE),
        ("boolean", {}),
        ("duration", {}),
        ("texts", {}),
        ("table", {}),
        ("tables", {}),
    ],
)
def test_a_text_in_the_wrong_place_is_not_repeated_for_it_may_be_a_password(getter, words):
    assert "hunter2" not in str(read('key = "hunter2 !"', getter, **words)[1])


def test_all_mistakes_are_told_at_once():
    root = parse_toml('name = 1\n[timing]\nperiod = 5\nlease = "x"\nsurplus = 1\n[unknown]\na = 1\n')
    root.text("name")
    timing = root.table("timing")
    timing.duration("period")
    timing.duration("lease")
    root.finish()
    assert paths(root) == ["name", "timing.period", "timing.lease", "unknown", "timing.surplus"]


def test_an_unknown_key_is_told_with_the_nearest_known():
    root = parse_toml("[timing]\nperoid = 1\n")
    root.table("timing").duration("period", 1.0)
    root.finish()
    assert root.mistakes == [Mistake("timing.peroid", "there is no such key", "Did you mean period?")]


def test_a_table_that_is_none_is_told_and_read_as_empty():
    root = parse_toml("timing = 1\n")
    assert root.table("timing").text("name", "x") == "x"
    assert [str(mistake) for mistake in root.mistakes] == ["timing: expected a table, got a whole number: 1"]


def test_a_table_can_be_required():
    root = parse_toml("")
    root.table("pcrs", required=True)
    assert root.mistakes == [Mistake("pcrs", "it is missing", "Add the table [pcrs].")]


def test_a_table_that_is_asked_for_twice_is_one():
    root = parse_toml("[a]\nb = 1\n")
    root.table("a").integer("b", minimum=0, maximum=1)
    assert root.table("a") is root.table("a")
    root.finish()
    assert root.mistakes == []


def test_an_array_of_tables_is_read_table_by_table():
    root = parse_toml('[[notify]]\nname = "a"\n[[notify]]\nnam = "b"\n')
    assert [table.text("name") for table in root.tables("notify")] == ["a", ""]
    root.finish()
    assert paths(root) == ["notify[1].name", "notify[1].nam"]


def test_a_table_where_an_array_of_tables_is_wanted():
    root = parse_toml("[notify]\n")
    assert root.tables("notify") == ()
    assert root.mistakes[0].hint == "Write [[notify]]."
    mixed = parse_toml("notify = [1]\n")
    assert mixed.tables("notify")[0].values == {}
    assert paths(mixed) == ["notify[0]"]


def test_free_keys_are_listed_and_still_have_to_be_asked_for():
    root = parse_toml('a = "x"\nb = "y"\n')
    assert root.keys() == ("a", "b")
    root.text("a")
    root.finish()
    assert paths(root) == ["b"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a = 1\na = 2\n", "line 2, column 6"),
        ("a = \n", "line 1, column 5"),
        ("[a]\n[a]\n", "line 2, column 3"),
        ('a = "', "end of document"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text, path):
    root = parse_toml(text)
    assert (root.values, paths(root)) == ({}, [path])


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "9" * 20000,
        "a = " + "[" * 30000,
        "a = " + "[" * 20 + "]" * 20,
        ".".join("a" * 30) + " = 1",
        "#" * (MAX_TOML_LENGTH + 1),
        "\x00",
    ],
    ids=["digits", "brackets", "depth", "dots", "length", "nul"],
)
def test_a_hostile_file_is_one_mistake(text):
    root = parse_toml(text)
    assert root.values == {} and len(root.mistakes) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\na = " + "9" * 5001, "line 2: 'a': the number is too long"),
        ("x = 1\n[t]\na.b = [1, -" + "9_9" * 5001 + "]", "line 3: 'a.b': the number is too long"),
        ("a = [\n" + "9" * 5001 + "\n]", "line 2: the number is too long"),
        ("[t]\na = [1, 0x" + "f" * 5001 + "]", "t.a[1]: the number is too long"),
        ("[[t]]\n'a b' = 9223372036854775808", 't[0]."a b": the number is too long'),
        ('a = "\ud800"', "no TOML: it has characters that there are not"),
    ],
    ids=["decimal", "in an array", "without a key", "hexadecimal", "a digit more", "half a character"],
)
def test_numbers_and_characters_that_cannot_be_read(text, said):
    root = parse_toml(text)
    assert root.values == {}
    (mistake,) = root.mistakes
    assert str(mistake).startswith(said) and "sys." not in str(mistake)


def test_the_longest_numbers():
    assert parse_toml("a = -9223372036854775808\nb = 9223372036854775807\nc = 1e400").mistakes == []


def test_paths_of_odd_keys_cannot_repaint_a_terminal():
    assert key_path("a", "b-c_1") == "a.b-c_1"
    assert key_path("", "a b") == '"a b"'
    assert "\x1b" not in key_path("", "\x1b[31m")
    assert key_path("", 'a"b').count('"') == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (90, "90s"), (300, "5m"), (3600, "1h"), (5400, "90m"), (86400, "1d")],
)
def test_durations_are_written_as_they_are_read(seconds, text):
    assert duration_text(seconds) == text
    assert read(f'key = "{text}"', "duration") == (seconds, [])


def test_few_known_words_are_listed_and_many_are_not():
    assert suggestion("zzz", ("red", "blue")) == "There are: red, blue."
    assert suggestion("zzz", [f"colour{number}" for number in range(20)]) == ""
    assert suggestion("zzz", ()) == ""
