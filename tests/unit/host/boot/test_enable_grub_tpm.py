"""``xentpm-boot enable`` and ``disable`` with a GRUB image that measures, on trees with real GRUB images."""

import json
import os
import shutil
import subprocess

import pytest

from support.boot_host import CONFIG, COPY, IMAGE, MENU, SETUP, SMALL, SPARE, BootHost
from support.grub_images import MODULES, make_image, make_standalone
from xentpm_lib.host.boot.grub_image import parse_grub_image


@pytest.fixture
def host(tmp_path):
    return BootHost(tmp_path)


def enabled(host):
    assert host.call("enable") == 0
    return host.read(IMAGE)


def refused(host, capsys, *words):
    """The two lines of a refusal, which changed nothing."""
    before = host.snapshot()
    assert host.call(*(words or ("enable",))) == 1
    assert host.snapshot() == before
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["xentpm-boot", "hint"]
    return "\n".join(lines)


def test_the_new_image_measures_and_is_the_stock_one_otherwise(host):
    stock = parse_grub_image(host.read(IMAGE))
    new = parse_grub_image(enabled(host))
    assert new.measures and not stock.measures
    assert (new.prefix, new.config, new.memdisk) == (stock.prefix, stock.config, stock.memdisk)
    assert set(stock.modules) < set(new.modules)
    wanted = {"multiboot2", "gzio", "search_label", "serial", "terminal", "tpm"}
    assert wanted <= set(new.modules)


def test_all_copies_are_replaced_and_the_stock_image_is_kept_twice(host):
    stock = host.read(IMAGE)
    new = enabled(host)
    assert host.read(COPY) == new != stock
    assert host.read(SPARE) == stock
    kept = host.paths.at(os.path.dirname(SETUP))
    assert len(os.listdir(kept)) == 2
    assert stock in [host.read(os.path.join(os.path.dirname(SETUP), name)) for name in os.listdir(kept)]


def test_an_image_with_its_own_configuration_keeps_it(tmp_path):
    host = BootHost(tmp_path)
    make_image(host.stock, config="search --label --set root x\n", prefix="/EFI/other")
    image = parse_grub_image(enabled(host))
    assert (image.prefix, image.config) == ("/EFI/other", b"search --label --set root x\n")


def test_a_stock_image_with_a_memdisk_keeps_it(tmp_path):
    host = BootHost(tmp_path)
    make_standalone(host.stock, "configfile (hd0,gpt1)/EFI/xenserver/grub.cfg\n", modules=("normal",))
    stock = parse_grub_image(host.read(IMAGE))
    image = parse_grub_image(enabled(host))
    assert (image.prefix, image.memdisk) == (stock.prefix, stock.memdisk)
    assert image.measures and not stock.measures and stock.memdisk


def test_disable_leaves_every_byte_as_it_was(host):
    before = host.snapshot()
    enabled(host)
    assert host.snapshot() != before
    assert host.call("disable") == 0
    assert host.snapshot() == before
    assert not os.path.exists(host.paths.at("var/lib/xentpm/boot"))
    assert host.call("disable") == 0
    assert host.snapshot() == before


def test_enable_twice_changes_nothing_the_second_time(host, capsys):
    enabled(host)
    before = host.snapshot()
    assert host.call("enable") == 0
    assert host.snapshot() == before
    assert "set up already" in capsys.readouterr().out


def test_dry_run_shows_the_modules_and_changes_nothing(host, capsys):
    before = host.snapshot()
    assert host.call("enable", "--dry-run") == 0
    assert host.snapshot() == before
    out = capsys.readouterr().out
    assert "  + tpm\n" in out and "    normal\n" in out and host.paths.at(COPY) in out
    assert host.call("--json", "enable", "--dry-run") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["changed"] is False and "tpm" in told["added"] and told["files"] == [IMAGE, COPY]
    enabled(host)
    before = host.snapshot()
    assert host.call("disable", "--dry-run") == 0
    assert host.snapshot() == before


def test_an_update_in_between_is_mended_and_its_image_is_the_new_backup(host, capsys):
    old = host.read(IMAGE)
    enabled(host)
    update = host.update()
    assert host.call("verify") == 1
    assert IMAGE in capsys.readouterr().out
    new = enabled(host)
    assert "echo" in parse_grub_image(new).modules
    assert host.read(SPARE) == update
    assert host.read(COPY) == new
    assert host.call("disable") == 0
    assert (host.read(IMAGE), host.read(COPY), host.read(SPARE)) == (update, old, None)


def test_an_update_that_puts_the_same_image_back_is_mended(host):
    before = host.snapshot()
    new = enabled(host)
    shutil.copy(host.paths.at(SPARE), host.paths.at(IMAGE))
    assert enabled(host) == new
    assert host.read(SPARE) != new
    assert host.call("disable") == 0
    assert host.snapshot() == before


def test_disable_after_an_update_leaves_the_updates_file(host, capsys):
    old = host.read(IMAGE)
    enabled(host)
    update = host.update()
    assert host.call("disable") == 0
    assert (host.read(IMAGE), host.read(COPY), host.read(SPARE)) == (update, old, None)
    assert "left as it is" in capsys.readouterr().out


def test_a_host_that_was_started_by_the_stock_image_keeps_it(host):
    stock = host.read(IMAGE)
    host.boots("/EFI/xenserver/grubx64.efi")
    new = enabled(host)
    host.boots("/EFI/xenserver/grubx64-stock.efi", number=4)
    assert enabled(host) == new
    assert host.read(SPARE) == stock


def test_an_image_that_measures_already_needs_nothing(tmp_path, capsys):
    host = BootHost(tmp_path, stock=(*SMALL, "tpm"))
    before = host.snapshot()
    assert host.call("enable") == 0
    assert host.snapshot() == before
    assert "measures already" in capsys.readouterr().out


def test_an_image_of_ours_whose_record_is_gone_is_no_stock_image(host, capsys):
    stock, new = host.read(IMAGE), enabled(host)
    shutil.rmtree(host.paths.at("var/lib/xentpm"))
    assert host.call("enable") == 0
    assert host.paths.at(SPARE) in capsys.readouterr().out
    assert (host.read(IMAGE), host.read(SPARE)) == (new, stock)


def test_a_menu_that_needs_more_modules_later_gets_them(host):
    enabled(host)
    host.write(CONFIG, MENU + "menuentry 'Windows' {\n\tchainloader /EFI/x.efi\n}\n")
    assert "chain" in parse_grub_image(enabled(host)).modules
    assert host.call("disable") == 0
    assert not parse_grub_image(host.read(IMAGE)).measures


def test_refusals_change_nothing(host, capsys):
    host.variable("SecureBoot", b"\1")
    assert "Secure Boot is on" in refused(host, capsys)
    host.variable("SecureBoot", b"\0")
    os.unlink(host.paths.at("dev/tpmrm0"))
    assert "there is no TPM 2.0" in refused(host, capsys)
    host.write("sys/class/tpm/tpm0/tpm_version_major", "1\n")
    assert "is not a TPM 2.0" in refused(host, capsys)
    host.write("sys/class/tpm/tpm0/tpm_version_major", "2\n")
    assert "--method" in refused(host, capsys, "enable", "--method", "tboot")
    os.unlink(host.paths.at("usr/bin/grub-mkimage"))
    assert "grub-mkimage" in refused(host, capsys)
    os.unlink(host.paths.at("usr/lib/grub/x86_64-efi"))
    assert "tpm.mod" in refused(host, capsys)
    shutil.rmtree(host.esp)
    assert "mount /boot/efi" in refused(host, capsys)


def test_a_module_that_the_folder_lacks_is_named(tmp_path, capsys):
    shutil.copytree(MODULES, str(tmp_path / "modules"))
    os.unlink(str(tmp_path / "modules" / "multiboot2.mod"))
    host = BootHost(tmp_path / "root", modules=str(tmp_path / "modules"))
    assert "multiboot2" in refused(host, capsys)


def test_modules_of_the_pack_which_come_without_lists_of_commands(tmp_path):
    folder = tmp_path / "modules"
    shutil.copytree(MODULES, str(folder))
    for name in os.listdir(str(folder)):
        if not name.endswith(".mod") and name not in ("kernel.img", "moddep.lst"):
            path = str(folder / name)
            (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
    host = BootHost(tmp_path / "root", modules=str(folder))
    wanted = {"multiboot2", "gzio", "search_label", "serial", "terminal", "tpm"}
    assert wanted <= set(parse_grub_image(enabled(host)).modules)


@pytest.mark.parametrize(
    "mount, modules",
    [
        ("/dev/sda1 / ext3", {"ext2"}),
        ("/dev/md127 / ext4", {"ext2", "mdraid1x"}),
        ("/dev/mapper/vg-boot /boot xfs", {"xfs", "lvm"}),
        ("tmpfs /boot tmpfs", set()),
    ],
)
def test_what_root_and_boot_are_on_is_inside(host, mount, modules):
    host.write("proc/mounts", mount + " rw 0 0\n/dev/sda4 /boot/efi vfat rw 0 0\n")
    assert modules <= set(parse_grub_image(enabled(host)).modules)


def test_somebody_elses_file_under_the_spare_name_stays(host, capsys):
    host.write(SPARE, "mine")
    assert "no stock GRUB image" in refused(host, capsys)


def test_a_tool_that_fails_or_makes_something_else_changes_nothing(host, capsys):
    host.program("usr/bin/grub-mkimage", "echo no such thing; exit 1")
    assert "no such thing" in refused(host, capsys)
    host.program("usr/bin/grub-mkimage", 'while [ "$1" != -o ]; do shift; done; echo image > $2')
    assert "no UEFI program" in refused(host, capsys)
    words = "-O x86_64-efi -p /EFI/else -o $2 tpm normal"
    host.program(
        "usr/bin/grub-mkimage", 'while [ "$1" != -o ]; do shift; done; exec /usr/bin/grub-mkimage ' + words
    )
    assert "prefix" in refused(host, capsys)


def test_an_original_that_is_gone_stops_disable_before_it_changes_anything(host, capsys):
    new = enabled(host)
    folder = os.path.dirname(SETUP)
    for name in os.listdir(host.paths.at(folder)):
        if name != "setup.json":
            os.unlink(host.paths.at(os.path.join(folder, name)))
    os.rename(host.paths.at(SPARE), host.paths.at(SPARE + ".away"))
    capsys.readouterr()
    assert "original is gone" in refused(host, capsys, "disable")
    os.rename(host.paths.at(SPARE + ".away"), host.paths.at(SPARE))
    assert host.call("disable") == 0
    assert host.read(IMAGE) == host.read(COPY) != new


@pytest.mark.parametrize("gone", [(IMAGE,), (COPY,), (IMAGE, COPY), ("boot/efi/EFI/BOOT",), (IMAGE, SPARE)])
@pytest.mark.parametrize("mended", [True, False])
def test_a_file_of_the_set_up_that_is_gone_comes_back(host, gone, mended, capsys):
    before, new = host.snapshot(), enabled(host)
    for path in map(host.paths.at, gone):
        (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
    assert host.call("verify") == 1
    if mended:
        assert enabled(host) == new == host.read(COPY)
        assert host.call("verify") == 0
    assert host.call("disable") == 0
    assert host.snapshot() == before
    assert mended or "it is there again" in capsys.readouterr().out


def test_the_only_image_that_is_gone_comes_back(host):
    os.unlink(host.paths.at(COPY))
    before, new = host.snapshot(), enabled(host)
    os.unlink(host.paths.at(IMAGE))
    assert enabled(host) == new
    os.unlink(host.paths.at(IMAGE))
    assert host.call("disable") == 0
    assert host.snapshot() == before


def test_an_original_that_is_gone_with_its_file_stops_disable(host, capsys):
    enabled(host)
    os.unlink(host.paths.at(IMAGE))
    host.write(SPARE, "no image")
    folder = os.path.dirname(SETUP)
    for name in os.listdir(host.paths.at(folder)):
        if name != "setup.json":
            host.write(os.path.join(folder, name), "junk")
    capsys.readouterr()
    assert "original is gone" in refused(host, capsys, "disable")


def test_what_is_no_program_any_more_is_no_update(host):
    before = host.snapshot()
    enabled(host)
    host.write(IMAGE, "")
    assert host.call("disable") == 0
    assert host.snapshot() == before


def test_secure_boot_that_is_not_known_is_not_off(host, capsys):
    folder = host.paths.at("sys/firmware/efi/efivars")
    host.variable("SecureBoot", b"\2")
    assert "the firmware's variables do not say" in refused(host, capsys)
    shutil.rmtree(folder)
    assert "mount -t efivarfs efivarfs /sys/firmware/efi/efivars" in refused(host, capsys)
    os.mkdir(folder)
    assert "mount -t efivarfs efivarfs /sys/firmware/efi/efivars" in refused(host, capsys)
    host.variable("SetupMode", b"\0")
    assert "the firmware's variables do not say" in refused(host, capsys)
    host.variable("SetupMode", b"\1")
    assert host.call("enable", "--dry-run") == 0
    os.rename(folder, folder + "-away")
    host.variable("Timeout", b"\0\0")  # firmware without Secure Boot
    enabled(host)


def test_a_boot_from_another_disk_changes_nothing(host, capsys):
    own, other = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
    make_image(host.paths.at(COPY), modules=(*SMALL, "cat"))
    os.makedirs(host.paths.at("dev/disk/by-partuuid"))
    os.symlink("../../sda4", host.paths.at("dev/disk/by-partuuid/" + own))
    host.write("proc/mounts", "/dev/sda4 /boot/efi vfat rw 0 0\n")
    host.boots(None, partition=other)
    assert "was started from partition " + other in refused(host, capsys)
    host.boots("/EFI/xenserver/grubx64.efi", partition=own)
    enabled(host)
    host.boots(None, partition=other)
    assert host.call("disable") == 0


def test_copies_that_somebody_put_aside_stay(host):
    aside = ("EFI/xenserver/grubx64-rescue.efi", "EFI/debian/grubx64.efi", "EFI/backup/bootx64.efi")
    for path in aside:
        os.makedirs(os.path.dirname(os.path.join(host.esp, path)), exist_ok=True)
        shutil.copy(host.stock, os.path.join(host.esp, path))
    stock, new = host.read(IMAGE), enabled(host)
    assert {host.read(os.path.join("boot/efi", path)) for path in aside} == {stock}
    assert host.read(COPY) == new


def test_a_memdisk_beside_a_prefix_on_the_disk(host, tmp_path):
    (tmp_path / "memdisk").write_bytes(bytes(10240))
    command = ["grub-mkimage", "-O", "x86_64-efi", "-m", str(tmp_path / "memdisk"), "-p", "/EFI/xenserver"]
    subprocess.check_call([*command, "-o", host.stock, *SMALL, "memdisk", "tar"])
    stock = parse_grub_image(host.read(IMAGE))
    image = parse_grub_image(enabled(host))
    assert stock.memdisk and (image.prefix, image.memdisk) == ("/EFI/xenserver", stock.memdisk)


def test_what_the_tool_says_is_told_in_a_line(host, capsys):
    host.program("usr/bin/grub-mkimage", "seq 1000; echo the reason; exit 1")
    assert "made no image: the reason\n" in refused(host, capsys)
    host.program("usr/bin/grub-mkimage", "exit 1")
    assert "made no image: it said nothing\n" in refused(host, capsys)
    host.program("usr/bin/grub-mkimage", "exit 0")
    assert "made no image: it ended well and wrote nothing\n" in refused(host, capsys)
