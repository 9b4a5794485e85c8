"""Changed measurements as lines for people."""

from dataclasses import replace

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


def test_words_of_texts_that_are_all_different_are_not_compared():
    assert word_changes("a " * 500, "b " * 500) == ((), ())
    assert word_changes("a b c", "a x c d") == (("b",), ("x", "d"))
    assert word_changes("a b c d", "b d e a") == (("a", "c"), ("e", "a"))
    assert word_changes("a  b", "a b") == ((), ())
    assert word_changes("a " * 500, "a " * 500 + "b") == ((), ("b",))
    assert word_changes("a a", "a a a") == ((), ("a",))


def test_many_changes_are_cut_unless_all_are_wanted():
    files = [EventChange(event(f"f{n}"), event(f"f{n}", b"\2")) for n in range(15)]
    assert len(change_lines(files, 9)) == 13
    assert change_lines(files, 9)[-1] == "and 3 more events"
    assert len(change_lines(files, 9, whole=True)) == 15
    assert change_lines([], 8) == []


def test_no_text_is_cut_for_who_decides():
    words = " ".join(f"xen.option{number}=value" for number in range(13)) + " init=/bin/evil"
    for text in (LONG, "menuentry " + LONG):
        change = EventChange(event(text), event(f"{text} {words}"))
        assert f"added '{words}'" in change_line(change, whole=True)
        assert "init=/bin/evil" in change_line(EventChange(None, event(f"{text} {words}")), whole=True)
    long = "x" * 4000
    assert long in change_line(EventChange(event("a"), event(long)), whole=True)


def test_what_boots_is_told_first():
    """Where it could be the thirteenth of many."""
    modules = [
        EventChange(None, event(f"/boot/grub/m{n}.mod", proven=False), "GRUB module") for n in range(20)
    ]
    xen = EventChange(event("/boot/xen.gz"), event("/boot/xen.gz", b"\2"), "Xen")
    assert "/boot/xen.gz" in change_lines([*modules, xen], 9)[0]
    line = EventChange(event(LONG), event(LONG + " init=/bin/sh"), "command line of Xen")
    assert "the command line of Xen" in change_lines([*modules, line], 8)[0]


# What is told already


def command(before, after, what="boot configuration", proven=True):
    return EventChange(event(before), event(after, b"\2", proven), what)


LINE = command("kernel_cmdline: a b", "kernel_cmdline: a b c", "command line of Xen")
LOAD = command("grub_cmd: load /xen a b", "grub_cmd: load /xen a b c")
ENTRY = command("grub_cmd: menuentry X { load /xen a b }", "grub_cmd: menuentry X { load /xen a b c }")


def claimed(change, which):
    sides = [change.a, change.b]
    sides[which] = replace(sides[which], proven=False)
    return EventChange(*sides, change.what)


def told(*changes, pcr=8):
    return change_lines(changes, pcr)


def test_a_command_line_is_told_once():
    assert told(ENTRY, LOAD, LINE) == [change_line(LINE)]
    assert told(ENTRY, LOAD) == [change_line(LOAD)]
    assert told(LINE, LINE) == [change_line(LINE)] * 2


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_not_proven_is_told_always(which):
    """The words are those of the command line's change; what was measured is something else."""
    assert len(told(claimed(LOAD, which), LINE)) == 2
    assert len(told(LOAD, claimed(LINE, which))) == 2


def test_a_file_is_told_always():
    assert len(told(ENTRY, LOAD, LINE, pcr=9)) == 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("grub_cmd: multiboot2 /xen a b", "grub_cmd: multiboot2 /xen a b c d"),
        ("grub_cmd: multiboot2 /xen a b", "grub_cmd: multiboot2 /evil a b c"),
        ("grub_cmd: echo c", "grub_cmd: chainloader c"),
        ("grub_cmd: multiboot2 /xena b", "grub_cmd: multiboot2 /xena b c"),
    ],
)
def test_a_command_that_says_more_is_told(before, after):
    assert len(told(command(before, after), LINE)) == 2


def test_the_same_words_in_two_commands_are_two_changes():
    one = command("grub_cmd: echo hello", "grub_cmd: chainloader hello")
    other = command("grub_cmd: echo /evil.efi", "grub_cmd: chainloader /evil.efi")
    assert len(told(one, other)) == 2


# Claims


def test_the_short_form_has_the_digests_where_words_are_claims():
    change = EventChange(event(LONG), event(LONG + " more", b"\2", proven=False))
    assert change_line(change).endswith("added 'more' (was 01, is 02)")


@pytest.mark.parametrize(
    "text", ["x'", "a' (was 00, is 11)", "xen; now: x", "a -> b", "/boot/xen.gz: was 0, is 1", "a\\' b", "a:"]
)
def test_claimed_words_cannot_be_taken_for_ours(text):
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    change = EventChange(event("xen"), event(text, b"\2", proven=False))
    assert change_line(change) == f"changed: xen; now: '{escaped}' (was 01, is 02)"
    assert change_line(EventChange(None, event(text, proven=False))) == f"new: '{escaped}': 01"


def test_quotes_in_words_that_were_added_are_marked():
    change = EventChange(event(LONG), event(LONG + " x', added 'y"))
    assert change_line(change).endswith("added 'x\\', added \\'y'")
