"""Reading GRUB's script language, and which words it makes."""

import glob
import os

import pytest

from xentpm_lib.errors import XenTpmError
from xentpm_lib.host.boot.grub_script import config_text, parse
from xentpm_lib.host.boot.grub_syntax import Command, For, Function, If, Loop
from xentpm_lib.host.boot.grub_words import expand, join_command_line, option_values, to_number

CONFIGS = os.path.join(os.path.dirname(__file__), "../../../vectors/grub_cfg/*.cfg")


def _words(text, variables=None, scope=None):
    (command,) = parse(text)
    return expand(command.words, (variables or {}).get, scope).all()


@pytest.mark.parametrize("path", sorted(glob.glob(CONFIGS)), ids=os.path.basename)
def test_what_each_release_generates(path):
    with open(path, "rb") as file:
        assert len(parse(config_text(file.read()))) >= 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("echo one  two\tthree", ["echo", "one", "two", "three"]),
        ("echo 'a  b' \"c d\"e", ["echo", "a  b", "c de"]),
        ('echo a\\ b \\"c\\" \'d\\e\' "f\\g\\$h\\""', ["echo", "a b", '"c"', "d\\e", 'f\\g$h"']),
        ('echo \'\' "" $none "$none" x$none', ["echo", "", "", "", "x"]),
        ('echo $x "$x" a${x}b', ["echo", "1", "2", "1  2", "a1", "2b"]),
        ("$none", []),
        ("$none echo", ["echo"]),
        ("echo $1 $# $9 \"$@\" '$1'", ["echo", "p", "2", "p", "q  r", "$1"]),
        ('echo "$*" $*', ["echo", "p q  r", "p", "q", "r"]),
        ("echo a#b #c", ["echo", "a#b"]),
        ("echo a \\\n  b", ["echo", "a", "b"]),
        ("echo if then \\{", ["echo", "if", "then", "{"]),
        ("echo 'over\nlines'", ["echo", "over\nlines"]),
        ("a=b", ["a=b"]),
    ],
)
def test_words(text, expected):
    assert _words(text, {"x": "1  2"}, ["p", "q  r"]) == expected


def test_statements():
    text = "function f {\n true\n}\nif a; then b; elif c\nthen d; else e; fi\nfor i in 1 2; do x; done\n"
    text += "while a; do b; done; until a; do b; done\nmenuentry 't'{\n x }\n"
    kinds = [Function, If, For, Loop, Loop, Command]
    assert [type(statement) for statement in parse(text)] == kinds


def test_the_text_of_a_block_is_as_written_but_for_lines_that_begin_with_a_comment():
    (entry,) = parse("menuentry a {\n# gone\n\t# kept\r\n  b 'c }' # too\n\n}\n".replace("\r", ""))
    assert entry.block.text == "\n\t# kept\n  b 'c }' # too\n\n"
    assert entry.line == 1 and entry.block.body[0].line == 4


@pytest.mark.parametrize("text", ["", "\n", "#", "# a\n# b", "  # a"])
def test_nothing(text):
    assert parse(text) == ()


def test_carriage_returns_are_not_there():
    assert config_text(b"echo a\r\necho b\r\n") == "echo a\necho b\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("echo a\necho 'b\n", 2),
        ("if a; then b\n", 2),
        ("menuentry a {\n}\n", 2),
        ("}\n", 1),
        ("echo a | b\n", 1),
        ("echo a; ; b\n", 1),
        ("a\nb && c\n", 2),
        ("fi\n", 1),
        ('echo "$"\n', 1),
        ('echo $"translated"\n', 1),
        ("if a; then function f { b; }; fi\n", 1),
    ],
)
def test_a_syntax_error_tells_the_line(text, line):
    with pytest.raises(XenTpmError, match="grub.cfg line {}: ".format(line)) as caught:
        parse(text)
    assert caught.value.code == "XENTPM_BOOT"


def test_a_nul_and_too_much_text():
    for data in (b"echo\0", b"#" * (1024 * 1024 + 1)):
        with pytest.raises(XenTpmError):
            config_text(data)


def test_a_command_line_puts_spaces_into_quotes_and_escapes_quotes():
    assert join_command_line(["a", "b c", "d'e\"f\\g", ""]) == 'a "b c" d\\\'e\\"f\\\\g '


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12 x", (12, " x")),
        ("0x1f", (31, "")),
        ("0X1f", (0, "X1f")),
        ("0x", None),
        ("010", (8, "")),
        ("08", (8, "")),
        ("018", (1, "8")),
        ("18446744073709551615", (2**64 - 1, "")),
        ("18446744073709551616 1", (2**64 - 1, "6 1")),
        ("a1", None),
        ("", None),
    ],
)
def test_numbers(text, expected):
    assert to_number(text) == expected


def test_options():
    options = (("set", "s", "optional"), ("file", "f", "none"), ("id", "", "value"))
    assert option_values(["--set", "a", "b"], options, True) == ([("set", "a")], ["b"])
    assert option_values(["--set=a", "-f", "b"], options, True) == ([("set", "a"), ("file", None)], ["b"])
    assert option_values(["-s", "--file", "--new", "-", "b"], options, True) == (
        [("set", None), ("file", None)],
        ["--new", "-", "b"],
    )
    assert option_values(["--id"], options, True) is None
    assert option_values(["--new"], options, False) is None
    assert option_values(["--", "--set"], options, True) == ([], ["--set"])
