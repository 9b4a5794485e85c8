"""What the simulated boot loader measures, and what it refuses."""

from __future__ import annotations

import hashlib

import pytest

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.simulator import grub, grub_edit

CONFIG = """\
# a comment
serial --unit=0 --speed=115200
set default=1
plain=value
set other="$plain ${plain}" # and a comment
search --file /marker
menuentry 'First' {
\tboot
}
menuentry "The second" --class xen {
\tsearch --label --set root root-abcdef
\tmultiboot2 /boot/xen.gz  a='b c'   d

\tmodule2 /boot/vmlinuz root=$plain '$plain'
\tmodule2 /boot/initrd
}
"""
FILES = {
    "/grub.cfg": CONFIG.encode(),
    "/marker": b"",
    "/boot/xen.gz": b"xen",
    "/boot/vmlinuz": b"kernel",
    "/boot/initrd": b"initrd",
}
BODY = CONFIG[CONFIG.index("\tsearch --label") : CONFIG.rindex("\n}")]
COMMANDS = [
    "serial --unit=0 --speed=115200",
    "set default=1",
    "plain=value",
    "set other=value value",
    "search --file /marker",
    "menuentry First {\n\tboot\n}",
    "menuentry The second --class xen {\n" + BODY + "\n}",
    "setparams The second",
    "search --label --set root root-abcdef",
    "multiboot2 /boot/xen.gz a=b c d",
    '"a=b c" d',
    "module2 /boot/vmlinuz root=value $plain",
    "root=value $plain",
    "module2 /boot/initrd",
    "",
]


def run(config: str) -> grub.GrubRun:
    def read(path: str) -> bytes:
        if path == "/grub.cfg":
            return config.encode()
        if path not in FILES:
            raise UsageError("not there: " + path)
        return FILES[path]

    return grub.run("/grub.cfg", read)


def digests(result: grub.GrubRun, pcr: int, bank: str) -> list[bytes]:
    return [item.digests[bank] for item in result.measurements if item.pcr == pcr]


@pytest.mark.parametrize("bank", ["sha1", "sha256"])
def test_commands(bank: str) -> None:
    expected = [hashlib.new(bank, text.encode()).digest() for text in COMMANDS]
    assert digests(run(CONFIG), grub.COMMANDS_PCR, bank) == expected


@pytest.mark.parametrize("bank", ["sha1", "sha256"])
def test_files(bank: str) -> None:
    expected = [hashlib.new(bank, content).digest() for content in FILES.values()]
    assert digests(run(CONFIG), grub.FILES_PCR, bank) == expected


def test_log_entries() -> None:
    data = [item.data for item in run(CONFIG).measurements]
    assert data[0] == b"/grub.cfg\0"
    assert b"grub_cmd: setparams The second\0" in data
    assert data[-1] == b"module_cmdline: \0"
    assert b'kernel_cmdline: "a=b c" d\0' in data
    assert b"module_cmdline: root=value $plain\0" in data


def test_linux_measures_its_file_name_too() -> None:
    result = run("menuentry L {\nlinux /boot/vmlinuz quiet\ninitrd /boot/initrd\nboot\n}\n")
    text = [item.data.rstrip(b"\0") for item in result.measurements if item.pcr == grub.COMMANDS_PCR]
    assert text[2:] == [
        b"grub_cmd: linux /boot/vmlinuz quiet",
        b"kernel_cmdline: /boot/vmlinuz quiet",
        b"grub_cmd: initrd /boot/initrd",
        b"grub_cmd: boot",
    ]


def test_modules() -> None:
    modules = run(CONFIG).modules
    assert [(item.path, item.arguments) for item in modules] == [
        ("/boot/xen.gz", '"a=b c" d'),
        ("/boot/vmlinuz", "root=value $plain"),
        ("/boot/initrd", ""),
    ]


def test_default_by_title() -> None:
    assert run(CONFIG.replace("default=1", "default='The second'")).modules
    assert run(CONFIG.replace("set default=1", "default=1")).modules


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("if true; then", "`if` is not supported"),
        ("function f {", "`function`"),
        ("a=b c", "more than one word"),
        ("echo a; echo b", "`;`"),
        ("echo a | b", "`|`"),
        ("echo $(x)", r"`\$`"),
        ("echo 'no end", "no end"),
        ('echo "a\\"b"', "backslash"),
        ("echo a \\", "next line"),
        ("menuentry X", "closing brace"),
        ("menuentry {\n}", "no title"),
        ("menuentry X\n}", "on one line"),
        ("insmod tpm", "no command 'insmod'"),
        ("search --label", "search for what"),
        ("multiboot2", "file name"),
        ("module2 --nounzip /boot/xen.gz", "file name"),
        ("}", "`}`"),
        ("set default=7", "no menu entry '7'"),
        ("set default=0", "loads no kernel"),
        ("search --file /none", "not there"),
    ],
)
def test_refused(line: str, message: str) -> None:
    end = "" if line == "menuentry X" else CONFIG.replace("set default=1\n", "")
    with pytest.raises((FormatError, UsageError), match=message):
        run("set default=1\n" + line + "\n" + end)


def test_text_that_is_not_utf8() -> None:
    with pytest.raises(FormatError, match="UTF-8"):
        grub.run("/grub.cfg", lambda path: b"\xff")


def test_no_menu() -> None:
    with pytest.raises(FormatError, match="there are 0"):
        run("set default=0\n")


def test_edit_command_lines() -> None:
    assert grub_edit.arguments(CONFIG, grub_edit.XEN) == "a='b c'   d"
    changed = grub_edit.with_arguments(CONFIG, grub_edit.XEN, "x y")
    assert changed == CONFIG.replace("/boot/xen.gz  a='b c'   d", "/boot/xen.gz x y")
    assert grub_edit.with_arguments(CONFIG, grub_edit.KERNEL, "") == CONFIG.replace(
        " root=$plain '$plain'", ""
    )


def test_edit_behind_tboot() -> None:
    config = CONFIG.replace("multiboot2 /boot/xen", "multiboot2 /boot/tboot.gz log\n\tmodule2 /boot/xen")
    assert grub_edit.arguments(config, grub_edit.XEN) == "a='b c'   d"


def test_edit_of_a_bare_default() -> None:
    assert grub_edit.arguments(CONFIG.replace("set default", "default"), grub_edit.XEN)


def test_edit_an_entry_without_xen() -> None:
    with pytest.raises(FormatError, match="no Xen"):
        grub_edit.arguments(CONFIG.replace("default=1", "default=0"), grub_edit.XEN)
