"""Changed measurements as lines for people."""

import pytest

from xentpm_lib.verifier.reference.diff import EventChange
from xentpm_lib.verifier.reference.measured import MeasuredEvent
from xentpm_lib.verifier.reference.words import change_line, change_lines, word_changes

LONG = "kernel_cmdline: " + " ".join(f"option{number}=value" for number in range(10))


def event(text, digest=b"\1", proven=True):
    return MeasuredEvent(digest, text, proven)


@pytest.mark.parametrize(
    ("a", "b", "line"),
    [
        (None, event("xen"), "new: xen"),
        (None, event("xen", proven=False), "new: xen: 01"),
        (event("xen", proven=False), None, "gone: xen: 01"),
        (event("xen"), event("xen", b"\2"), "changed: xen: was 01, is 02"),
        (event("a b"), event("a c", b"\2"), "changed: a b; now: a c"),
        (None, None, ""),
    ],
)
def test_one_change_is_one_line(a, b, line):
    assert change_line(EventChange(a, b)) == line


def test_of_long_command_lines_the_words_are_told_that_changed():
    change = EventChange(event(LONG), event(LONG.replace("option3", "other") + " init=/bin/sh"))
    assert change_line(change) == (
        "changed: kernel_cmdline: option0=value option1=value option2=value option3=value ...:"
        " removed 'option3=value', added 'other=value init=/bin/sh'"
    )


def test_what_is_all_different_is_shown_as_it_is_but_not_without_end():
    a, b = (event(" ".join(f"{name}{number}" for number in range(300))) for name in "ab")
    line = change_line(EventChange(a, b))
    assert line.startswith("changed: a0 a1 a2")
    assert "; now: b0 b1" in line
    assert len(line) < 900
    assert len(change_line(EventChange(None, event("x" * 4096)))) < 450
    assert len(change_line(EventChange(event("x" * 4096), event("x" * 4096)))) < 110


def test_words_of_very_long_texts_are_not_compared():
    assert word_changes("a " * 500, "b " * 500) == ((), ())
    assert word_changes("a b c", "a x c d") == (("b",), ("x", "d"))
    assert word_changes("a  b", "a b") == ((), ())


def test_the_same_words_are_told_once_and_many_changes_are_cut():
    line = EventChange(event(LONG), event(LONG + " init=/bin/sh"))
    entry = EventChange(event("menuentry { " + LONG), event("menuentry { " + LONG + " init=/bin/sh"))
    assert change_lines([entry, line]) == [change_line(line)]
    files = [EventChange(event(f"f{n}"), event(f"f{n}", b"\2")) for n in range(15)]
    assert len(change_lines(files)) == 13
    assert change_lines(files)[-1] == "and 3 more events"
    assert change_lines([]) == []
