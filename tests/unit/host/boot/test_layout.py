"""Where things are, on trees as each release has them."""

import os
import shutil

import pytest

from support.debian_files import XEN_EFI, installed
from support.grub_images import STOCK, HostTree, make_standalone
from xentpm_lib.host.boot.grub_stub import next_config
from xentpm_lib.host.boot.layout import BootLayout, read_grub_image

MENU = "set default=0\nmenuentry 'XenServer' {\n  multiboot2 /boot/xen.gz\n}\n"
UUID = "5d3b0a3e-8f0c-4a5e-9c57-7d9d3f1f3c11"
DEBIAN = (
    "search.fs_uuid {} root hd0,gpt2 \nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n".format(
        UUID
    )
)
ALMA = (
    "search --no-floppy --fs-uuid --set=dev {}\nset prefix=($dev)/grub2\nexport $prefix\n"
    "configfile $prefix/grub.cfg\n"
).format(UUID)


@pytest.fixture
def tree(tmp_path):
    return HostTree(tmp_path)


def find(tree):
    return BootLayout.find(tree.paths)


def test_an_empty_tree(tmp_path):
    assert find(HostTree(tmp_path, uefi=False)) == (False, None, None, None, (), None, None)


def test_uefi_without_anything(tree):
    assert find(tree) == (True, tree.esp, None, None, (), None, None)


def test_an_empty_mount_point_is_no_esp(tree):
    os.rmdir(os.path.join(tree.esp, "EFI"))
    assert find(tree).esp is None
    tree.write("proc/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sda2 /boot ext4 rw 0 0\n")
    assert find(tree).esp is None
    tree.image("EFI/xenserver/grubx64.efi")
    assert find(tree).esp is None
    tree.write("proc/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sda4 /boot/efi vfat rw 0 0\n")
    assert find(tree).esp == tree.esp
    os.rename(tree.esp, tree.paths.at("efi"))
    tree.write("proc/mounts", "/dev/sda4 /efi vfat rw 0 0\n")
    assert find(tree).esp == tree.paths.at("efi")
    os.rename(tree.paths.at("efi/EFI"), tree.paths.at("boot/EFI"))
    tree.write("proc/mounts", "/dev/sda4 /boot vfat rw 0 0\n")
    assert find(tree).esp == tree.paths.at("boot")


@pytest.mark.parametrize("folder", ["grub", "grub2"])
def test_legacy(tmp_path, folder):
    tree = HostTree(tmp_path, uefi=False)
    config = tree.write("boot/{}/grub.cfg".format(folder), MENU)
    assert find(tree) == (False, None, config, None, (), None, None)


@pytest.mark.parametrize("vendor", ["xenserver", "xcp-ng"])
def test_a_xenserver(tree, vendor):
    image = tree.image("EFI/{}/grubx64.efi".format(vendor), prefix="/EFI/" + vendor)
    config = tree.write("boot/efi/EFI/{}/grub.cfg".format(vendor), MENU)
    found = find(tree)
    assert (found.uefi, found.esp, found.image, found.config) == (True, tree.esp, image, config)


def test_the_image_that_firmware_booted_goes_first(tree):
    tree.image("EFI/xenserver/grubx64.efi")
    other = tree.image("EFI/XCP-ng/GrubX64.efi", prefix="/EFI/xcp-ng")
    tree.write("boot/efi/EFI/xenserver/grub.cfg", "# old\n")
    config = tree.write("boot/efi/EFI/XCP-ng/grub.cfg", MENU)
    tree.boots("/EFI/xcp-ng/grubx64.efi")
    assert (find(tree).image, find(tree).config) == (other, config)


def test_a_boot_entry_of_a_disk_is_its_default_file(tree):
    tree.image("EFI/xenserver/grubx64.efi")
    other = tree.image("EFI/BOOT/BOOTX64.EFI")
    tree.boots(None)
    assert find(tree).image == other


def test_behind_shim(tree):
    shutil.copy(installed(*XEN_EFI), tree.write("boot/efi/EFI/debian/shimx64.efi", b""))
    image = tree.image("EFI/debian/grubx64.efi", prefix="/EFI/debian")
    tree.image("EFI/xenserver/grubx64.efi")
    tree.write("boot/efi/EFI/debian/grub.cfg", DEBIAN)
    config = tree.write("boot/grub/grub.cfg", MENU)
    tree.boots("/EFI/debian/shimx64.efi")
    assert (find(tree).image, find(tree).config) == (image, config)


def test_a_stub_for_a_boot_partition(tree):
    tree.image("EFI/almalinux/grubx64.efi", prefix="/EFI/almalinux")
    stub = tree.write("boot/efi/EFI/almalinux/grub.cfg", ALMA)
    assert find(tree).config == stub
    config = tree.write("boot/grub2/grub.cfg", MENU)
    assert find(tree).config == config


def test_a_prefix_on_the_root_disk(tree):
    tree.image("EFI/xcp-ng/grubx64.efi", prefix="(,gpt1)/boot/grub")
    config = tree.write("boot/grub/grub.cfg", MENU)
    assert find(tree).config == config


def test_the_configuration_of_an_image_that_has_its_own(tree):
    own = "search --label ESP --set=root\nset prefix=($root)/EFI/lab\nconfigfile $prefix/menu.cfg\n"
    tree.image("EFI/xcp-ng/grubx64.efi", prefix="/EFI/xcp-ng", config=own)
    config = tree.write("boot/efi/EFI/lab/menu.cfg", MENU)
    tree.write("boot/efi/EFI/xcp-ng/grub.cfg", MENU)
    assert find(tree).config == config


def test_a_standalone_image(tree):
    image = tree.write("boot/efi/EFI/xcp-ng/grubx64.efi", b"")
    make_standalone(image, "search --file --set=root /x\nconfigfile ($root)/EFI/xcp-ng/grub.cfg\n")
    config = tree.write("boot/efi/EFI/xcp-ng/grub.cfg", MENU)
    os.unlink(image + ".cfg")
    assert (find(tree).image, find(tree).config) == (image, config)


def test_copies_have_the_same_bytes(tree):
    image = tree.image("EFI/xenserver/grubx64.efi")
    copies = [os.path.join(tree.esp, name) for name in ("EFI/BOOT/BOOTX64.EFI", "EFI/XEN.EFI")]
    for copy in copies:
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        shutil.copy(image, copy)
    with open(image, "rb") as file:
        data = file.read()
    tree.write("boot/efi/EFI/other.efi", data[:-1] + b"x")
    tree.write("boot/efi/EFI/same.bak", data)
    assert find(tree).copies == tuple(sorted(copies))


@pytest.mark.parametrize("folder", ["usr/lib/grub/x86_64-efi", "opt/xensource/tpm/grub/x86_64-efi"])
@pytest.mark.parametrize("missing", [None, "tpm.mod", "kernel.img", "moddep.lst"])
def test_modules_are_complete_or_not_found(tree, folder, missing):
    for name in ("tpm.mod", "kernel.img", "moddep.lst"):
        if name != missing:
            tree.write(os.path.join(folder, name), b"")
    assert find(tree).modules == (tree.paths.at(folder) if missing is None else None)


def test_the_tool_has_to_be_a_program(tree):
    pack = tree.write("opt/xensource/tpm/grub/grub-mkimage", b"")
    assert find(tree).mkimage is None
    os.chmod(pack, 0o755)
    assert find(tree).mkimage == pack
    own = tree.write("usr/bin/grub2-mkimage", b"")
    os.chmod(own, 0o755)
    assert find(tree).mkimage == own


def test_nothing_outside_of_the_tree_is_followed(tree):
    tree.image("EFI/xcp-ng/grubx64.efi", prefix="/EFI/xcp-ng")
    config = tree.write("boot/efi/EFI/xcp-ng/grub.cfg", "configfile /../../../../etc/hostname\n")
    tree.boots("/../../EFI/xcp-ng/grubx64.efi")
    assert find(tree).config == config


def test_a_stub_that_points_to_itself_ends(tree):
    tree.image("EFI/xcp-ng/grubx64.efi", prefix="/EFI/xcp-ng")
    config = tree.write("boot/efi/EFI/xcp-ng/grub.cfg", "configfile $prefix/grub.cfg\n")
    assert find(tree).config == config


def test_a_file_that_is_no_image_is_none(tree):
    assert read_grub_image(tree.write("x", b"MZ")) is None
    assert read_grub_image(tree.paths.at("none")) is None and read_grub_image(None) is None
    assert set(STOCK) <= set(read_grub_image(tree.image("a.efi")).modules)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (DEBIAN, "/boot/grub/grub.cfg"),
        (ALMA, "/grub2/grub.cfg"),
        ("configfile ${prefix}/a.cfg", "/p/a.cfg"),
        ("normal (memdisk)/grub.cfg", "/grub.cfg"),
        ("configfile $nothing", None),
        ("", None),
        ("# configfile /a\n", None),
        (MENU, None),
        ("if true; then\nconfigfile /a\nfi\n", None),
        ("echo\n" * 65 + "configfile /a\n", None),
    ],
)
def test_stubs(text, found):
    assert next_config(text.encode(), "/p") == found
