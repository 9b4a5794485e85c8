"""SMX, the chipset, and the SINIT module for a machine. The modules are checked by tboot's own tool too."""

import os
import struct
import subprocess

import pytest

from support.debian_files import installed
from support.grub_images import HostTree
from support.sinit import CHIPSET, make_sinit
from xentpm_lib.errors import FormatError
from xentpm_lib.host.boot.acm import ChipsetId, ProcessorId, parse_sinit_module
from xentpm_lib.host.boot.txt import Txt, find_txt, smx_offered

CPU = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 85\nstepping\t: 7\nflags\t\t: fpu {}\n"
SIGNATURE = 0x00050657
REGISTERS = 0xFED30000


@pytest.fixture
def tree(tmp_path):
    return HostTree(tmp_path, uefi=False)


def has_chipset(tree, device=0xB005, revision=1, vendor=0x8086):
    """A file in place of the machine's memory, with the chipset's registers at their address."""
    with open(tree.write("dev/mem", b""), "r+b") as file:
        file.seek(REGISTERS + 0x110)
        file.write(struct.pack("<HHHH", vendor, device, revision, 0))
        file.truncate(REGISTERS + 4096)


def xl(tree, text, status=0):
    path = tree.write("usr/sbin/xl", "#!/bin/sh\necho '{}'\nexit {}\n".format(text, status))
    os.chmod(path, 0o755)


def test_tboots_own_tool_reads_the_module_alike(tree):
    data = make_sinit(processors=((SIGNATURE, 0xFFFFFFFF),))
    out = subprocess.check_output(
        [installed("tboot", "/usr/sbin/txt-acminfo"), tree.write("boot/a.bin", data)]
    ).decode()
    module = parse_sinit_module(data)
    assert (module.date, module.debug) == ("20240131", False)
    assert "date: 0x20240131" in out and "chipset_acm_type: 0x1" in out
    assert module.chipsets == (CHIPSET,)
    assert all(text in out for text in ("vendor_id: 0x8086", "device_id: 0xb005", "revision_id: 0x1\n"))
    assert module.processors == (ProcessorId(SIGNATURE, 0xFFFFFFFF),)
    assert "fms: 0x50657\n" in out and "fms_mask: 0xffffffff" in out


@pytest.mark.parametrize(
    "wrong",
    [{"kind": 0}, {"kind": 8}, {"vendor": 0x1022}, {"uuid": bytes(16)}, {"chipsets": (CHIPSET,) * 257}],
)
def test_other_modules_are_refused(wrong):
    with pytest.raises(FormatError):
        parse_sinit_module(make_sinit(**wrong))


@pytest.mark.parametrize("size", [0, 10, 27, 127, 1000, 1219, 1240, -4])
def test_a_cut_module_is_refused(size):
    with pytest.raises(FormatError):
        parse_sinit_module(make_sinit()[:size])


@pytest.mark.parametrize(
    ("one", "covered"),
    [
        (CHIPSET, True),
        (CHIPSET._replace(revision=6), False),
        (CHIPSET._replace(device=1), False),
        (CHIPSET._replace(revision_is_mask=False), True),
        (CHIPSET._replace(revision_is_mask=False, revision=3), False),
    ],
)
def test_chipsets(one, covered):
    assert one.covers(ChipsetId(0x8086, 0xB005, 1)) is covered


def test_nothing_is_known_of_an_empty_tree(tree):
    assert find_txt(tree.paths) == Txt(None, None, (), None)
    assert find_txt(tree.paths).enabled is None


@pytest.mark.parametrize(
    ("flags", "told"), [("smx", True), ("smx hypervisor", True), ("vmx", False), ("hypervisor", None)]
)
def test_smx_by_linux(tree, flags, told):
    tree.write("proc/cpuinfo", CPU.format(flags))
    assert smx_offered(tree.paths) is told


@pytest.mark.parametrize(
    ("word", "told"), [("77fef3ff", True), ("77fef3bf", False), ("77", None), ("", None)]
)
def test_smx_by_xen(tree, word, told):
    tree.write("proc/cpuinfo", CPU.format("hypervisor"))
    xl(tree, "host : x\nhw_caps                : bfebfbff:{}:2c100800".format(word))
    assert smx_offered(tree.paths) is told


def test_a_failing_xl_tells_nothing(tree):
    xl(tree, "hw_caps : bfebfbff:77fef3ff:2c100800", status=1)
    assert smx_offered(tree.paths) is None


def test_the_module_for_this_machine(tree):
    tree.write("proc/cpuinfo", CPU.format("smx"))
    has_chipset(tree)
    other = tree.write("boot/a.bin", make_sinit((CHIPSET._replace(device=1),)))
    old = tree.write("boot/b.bin", make_sinit(date=0x20200101))
    new = tree.write("boot/c.bin", make_sinit(processors=((SIGNATURE & ~0xF, 0xFFFFFFF0),)))
    debug = tree.write("boot/d.bin", make_sinit(date=0x20250101, flags=0x8000))
    another = tree.write("boot/e.bin", make_sinit(date=0x20250101, processors=((1, 0xFFFFFFFF),)))
    tree.write("boot/f.bin", make_sinit()[:-4])
    tree.write("boot/xen.gz", b"\x1f\x8b")
    found = find_txt(tree.paths)
    assert found.enabled and found.chipset == ChipsetId(0x8086, 0xB005, 1)
    assert found.modules == (other, old, new, debug, another)
    assert found.sinit == new


def test_no_module_where_the_chipset_does_not_answer(tree):
    tree.write("proc/cpuinfo", CPU.format("smx"))
    path = tree.write("boot/a.bin", make_sinit())
    assert find_txt(tree.paths) == Txt(True, None, (path,), None)
    has_chipset(tree, 0xFFFF, 0xFFFF, 0xFFFF)
    assert find_txt(tree.paths).chipset is None


def test_memory_is_not_looked_at_without_smx(tree):
    tree.write("proc/cpuinfo", CPU.format("vmx"))
    has_chipset(tree)
    assert find_txt(tree.paths).chipset is None and find_txt(tree.paths).enabled is False
