"""What the default entry boots, and what its Xen is."""

import gzip
import shutil

import pytest

from support.debian_files import XEN, installed
from support.grub_images import HostTree
from xentpm_lib.host.boot.layout import BootLayout
from xentpm_lib.host.boot.menu_text import default_entry, menu_entries
from xentpm_lib.host.boot.xen import booted_entry, find_xen, running_version

XENSERVER = """serial --unit=0
set default={}
if [ -n "$override_entry" ]; then
	set default=$override_entry
fi
menuentry 'XenServer' {{
	search --label --set root root-ylhdxw
	multiboot2 /boot/xen.gz dom0_mem=2624M,max:2624M console=vga
	module2 /boot/vmlinuz-4.19-xen root=LABEL=root-ylhdxw ro
	module2 /boot/initrd-4.19-xen.img
}}
menuentry 'Tboot' {{
	multiboot2 /boot/tboot.gz logging=serial,memory
	module2 /boot/xen-fallback.gz
	module2 /boot/vmlinuz ro
	module2 /boot/initrd.img
	module2 /boot/sinit.bin
}}
"""
DEBIAN = """set default="${next_entry}"
set default="0"
submenu 'Advanced' $menuentry_id_option 'x' {
	menuentry 'With Xen' --class debian $menuentry_id_option 'y' {
		if [ x$grub_platform = xpc ]; then
			insmod gzio
		fi
		echo 'Loading'
		multiboot2	/xen-4.17-amd64.gz placeholder   ${xen_rm_opts}
		module2	/vmlinuz-6.1 placeholder root=/dev/sda2
		module2	--nounzip   /initrd.img-6.1
	}
}
menuentry "Chained" {
	chainloader (hd0,gpt1)/EFI/xen/xen.efi
}
menuentry 'Linux' {
	linux /vmlinuz root=x
	initrd /initrd
}
"""
TBOOT = b"TBOOT: found shared page at phys addr %#lx:\n"


@pytest.fixture
def tree(tmp_path):
    return HostTree(tmp_path, uefi=False)


def xen_of(tree):
    layout = BootLayout.find(tree.paths)
    return find_xen(tree.paths, layout, booted_entry(layout))


@pytest.mark.parametrize("default", ["0", '"0"', "'XenServer'", "99", "none", '""'])
def test_xenservers_default(default):
    entry = default_entry(XENSERVER.format(default))
    assert (entry.title, entry.loader, entry.is_tboot) == ("XenServer", "multiboot2", False)
    assert entry.program == ("/boot/xen.gz", "dom0_mem=2624M,max:2624M console=vga")
    assert (entry.xen, entry.kernel) == ("/boot/xen.gz", "/boot/vmlinuz-4.19-xen")
    assert entry.initrd == "/boot/initrd-4.19-xen.img"


@pytest.mark.parametrize("default", ["1", "Tboot"])
def test_a_tboot_entry(default):
    entry = default_entry(XENSERVER.format(default))
    assert entry.is_tboot and entry.xen == "/boot/xen-fallback.gz"
    assert (entry.kernel, entry.initrd) == ("/boot/vmlinuz", "/boot/initrd.img")


def test_debians_menu():
    submenu, chained, linux = menu_entries(DEBIAN)
    assert default_entry(DEBIAN) == submenu
    assert (submenu.xen, submenu.initrd) == ("/xen-4.17-amd64.gz", "/initrd.img-6.1")
    assert (chained.xen, chained.kernel, chained.loader) == ("/EFI/xen/xen.efi", None, "chainloader")
    assert (linux.xen, linux.kernel, linux.initrd) == (None, "/vmlinuz", "/initrd")


@pytest.mark.parametrize("text", ["", "blscfg\n", "menuentry 'x' {\n", "}\n}\n", "menuentry\n", "{\n"])
def test_no_menu(text):
    assert default_entry(text) is None


def test_debians_xen(tree):
    tree.write("boot/grub/grub.cfg", XENSERVER.format(0))
    shutil.copy(installed(*XEN), tree.write("boot/xen.gz", b""))
    xen = xen_of(tree)
    assert (xen.path, xen.compressed, xen.tboot) == (tree.paths.at("boot/xen.gz"), True, False)
    assert xen.version.startswith("4.17.")


def test_a_xen_for_tboot(tree):
    tree.write("boot/grub2/grub.cfg", DEBIAN)
    tree.write("boot/xen-4.17-amd64.gz", gzip.compress(b"\0" * 5000 + TBOOT + b"\0004.13.4-10.1\0"))
    xen = xen_of(tree)
    assert (xen.compressed, xen.tboot, xen.version) == (True, True, "4.13.4-10.1")


@pytest.mark.parametrize(("line", "told"), [("CONFIG_TBOOT=y", True), ("# CONFIG_TBOOT is not set", False)])
def test_the_configuration_beside_it(tree, line, told):
    tree.write("boot/grub2/grub.cfg", DEBIAN)
    tree.write("boot/xen-4.17-amd64.gz", b"not compressed")
    tree.write("boot/xen-4.17-amd64.config", "CONFIG_X86=y\n{}\n".format(line))
    assert xen_of(tree).tboot is told


@pytest.mark.parametrize("data", [b"\x1f\x8bjunk", gzip.compress(b"x" * 999)[:-9]])
def test_a_damaged_xen_is_unknown(tree, data):
    tree.write("boot/grub2/grub.cfg", DEBIAN)
    tree.write("boot/xen-4.17-amd64.gz", data)
    assert xen_of(tree)[1:] == (True, None, None)


def test_decompression_is_bounded(tree):
    tree.write("boot/grub2/grub.cfg", DEBIAN)
    tree.write("boot/xen-4.17-amd64.gz", gzip.compress(bytes((128 << 20) + 1), 1))
    assert xen_of(tree).tboot is None


def test_no_xen(tree):
    assert xen_of(tree) is None
    tree.write("boot/grub2/grub.cfg", DEBIAN)
    assert xen_of(tree) is None
    tree.write("boot/grub2/grub.cfg", "menuentry 'x' {\nmultiboot2 /../../etc/xen\n}\n")
    assert xen_of(tree) is None


def test_the_xen_that_runs(tree):
    assert running_version(tree.paths) is None
    tree.write("etc/xensource-inventory", "XEN_VERSION='4.13.4-9'\n")
    assert running_version(tree.paths) == "4.13.4-9"
    for name, text in (("major", "4\n"), ("minor", "17\n"), ("extra", ".5-3\n")):
        tree.write("sys/hypervisor/version/" + name, text)
    assert running_version(tree.paths) == "4.17.5-3"
