"""The firmware's variables: what is told, and that nothing malformed is believed."""

import struct

import pytest

from support.grub_images import PARTITION, HostTree, load_option
from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot.efi import MAX_VARIABLE_SIZE, EfiVariables, LoadOption, parse_load_option


@pytest.fixture
def tree(tmp_path):
    return HostTree(tmp_path)


def test_a_firmware_that_tells_nothing(tree):
    efi = EfiVariables(tree.paths)
    assert (efi.secure_boot, efi.setup_mode, efi.boot_current, efi.boot_order) == (None, None, None, ())
    assert efi.booted is None


def test_the_entry_that_booted(tree):
    tree.boots("/EFI/xenserver/grubx64.efi", number=0x1A)
    efi = EfiVariables(tree.paths)
    assert (efi.boot_current, efi.boot_order) == (0x1A, (0x1A, 0))
    assert efi.booted == LoadOption(True, "XenServer", PARTITION, "/EFI/xenserver/grubx64.efi")
    assert efi.option(0) is None


@pytest.mark.parametrize(
    ("value", "told"), [(b"\0", False), (b"\1", True), (b"\2", None), (b"", None), (b"\1\0", None)]
)
def test_secure_boot_and_setup_mode(tree, value, told):
    tree.variable("SecureBoot", value)
    tree.variable("SetupMode", value)
    efi = EfiVariables(tree.paths)
    assert efi.secure_boot is told and efi.setup_mode is told


@pytest.mark.parametrize("value", [b"", b"\1", b"\1\0\0", bytes(MAX_VARIABLE_SIZE)])
def test_malformed_variables_tell_nothing(tree, value):
    for name in ("BootCurrent", "BootOrder", "Boot0001"):
        tree.variable(name, value)
    efi = EfiVariables(tree.paths)
    assert efi.boot_current is None and efi.boot_order == () and efi.option(1) is None


def test_an_entry_of_a_whole_disk():
    option = parse_load_option(load_option(None, partition=None, active=False))
    assert option == LoadOption(False, "XenServer", None, None)


def test_what_firmware_appends_is_no_part_of_the_path():
    assert parse_load_option(load_option("/a.efi") + b"extra").file == "/a.efi"


def test_an_mbr_partition_has_no_guid():
    value = load_option("/a.efi").replace(b"\2\2\4\4", b"\1\1\4\4")
    assert parse_load_option(value).partition is None


@pytest.mark.parametrize("size", range(0, 110, 7))
def test_a_cut_entry_is_refused(size):
    value = load_option("/EFI/xenserver/grubx64.efi")
    assert len(value) > 110
    with pytest.raises(FormatError):
        parse_load_option(value[:size])


@pytest.mark.parametrize(
    "nodes",
    [
        struct.pack("<BBH", 4, 4, 3),  # smaller than its head
        struct.pack("<BBH", 4, 4, 5) + b"a",
        struct.pack("<BBH", 4, 1, 5) + b"a",
        struct.pack("<BBH", 1, 1, 4) * 65,
        struct.pack("<BBH", 4, 4, 400),
    ],
)
def test_malformed_device_paths_are_refused(nodes):
    nodes += struct.pack("<BBH", 0x7F, 0xFF, 4)
    with pytest.raises(FormatError):
        parse_load_option(struct.pack("<IH", 1, len(nodes)) + b"\0\0" + nodes)
