"""Every parser of what a host boots from, fed anything: a value or FormatError, nothing else."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.grub_images import HostTree, load_option, make_image
from support.sinit import make_sinit
from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot.acm import parse_sinit_module
from xentpm_lib.host.boot.efi import parse_load_option
from xentpm_lib.host.boot.facts import BootFacts
from xentpm_lib.host.boot.grub_image import authenticode_digest, parse_grub_image
from xentpm_lib.host.boot.grub_stub import next_config
from xentpm_lib.host.boot.menu_text import default_entry

changes = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4)
menus = st.lists(
    st.sampled_from(
        "menuentry submenu 'a' \"b { } \n \t set default= 0 multiboot2 /xen \0 /\xe9xen module2 $x".split(" ")
    ),
    max_size=60,
).map(" ".join)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return make_image(tmp_path_factory.mktemp("image") / "g.efi", ("tpm",))


def changed(data, positions):
    """``data`` with some bytes changed, those at its start and in the head of its modules above all."""
    found = bytearray(data)
    mods = data.find(b"mimg\0\0\0\0")
    for position, value in positions:
        base = max(mods, 0) if position % 2 else 0
        found[(base + position // 2 % 512) % len(found) if position % 3 else position % len(found)] = value
    return bytes(found)


def value_or_refusal(parse, *arguments):
    try:
        return parse(*arguments)
    except FormatError:
        return None


@given(st.binary(max_size=4096))
def test_any_bytes(data):
    for parse in (parse_grub_image, parse_load_option, parse_sinit_module):
        value_or_refusal(parse, data)
    value_or_refusal(parse_grub_image, b"MZ" + data)
    value_or_refusal(authenticode_digest, b"MZ" + data, "sha256")
    next_config(data, "/p")


@given(changes)
def test_changed_images(image, positions):
    data = changed(image, positions)
    value_or_refusal(parse_grub_image, data)
    value_or_refusal(authenticode_digest, data, "sha256")


@given(changes, st.integers(0, 200))
def test_changed_entries_and_modules(positions, cut):
    value_or_refusal(parse_load_option, changed(load_option("/EFI/a.efi"), positions)[cut:])
    value_or_refusal(parse_sinit_module, changed(make_sinit(processors=((1, 2),)), positions))


@given(menus)
def test_any_menu(text):
    entry = default_entry(text)
    assert entry is None or (entry.xen, entry.kernel, entry.initrd)


@given(st.binary(max_size=200), menus)
def test_any_host(tmp_path_factory, data, text):
    """Whatever lies where something is looked for, nothing is raised."""
    tree = HostTree(tmp_path_factory.mktemp("host"))
    for place in ("boot/efi/EFI/xenserver/grubx64.efi", "boot/a.bin", "proc/cpuinfo", "usr/sbin/xl"):
        tree.write(place, data)
    tree.write("boot/efi/EFI/xenserver/grub.cfg", text)
    tree.write("boot/xen", gzip.compress(data)[: len(data)])
    tree.write("xen/deep", data)
    tree.variable("BootCurrent", data[:2])
    assert BootFacts.find(tree.paths).layout.uefi
