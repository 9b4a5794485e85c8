"""``xentpm-boot enable`` and ``disable`` by tboot, on trees of legacy BIOS hosts."""

import gzip
import os

import pytest

from support.boot_host import SETUP, make_tboot_host
from support.boot_host import TBOOT_CONFIG as CONFIG
from support.boot_host import TBOOT_MENU as MENU
from support.sinit import make_sinit
from xentpm_lib.host.boot.menu_text import menu_entries
from xentpm_lib.host.boot.tboot_entry import without_entry

ENTRY = """# xentpm: begin. This entry boots by tboot; xentpm-boot disable removes it.
menuentry 'XenServer (measured by tboot)' {
	search --label --set root root-ylhdxw
	multiboot2 /boot/tboot.gz logging=serial,memory
	module2 /boot/xen.gz dom0_mem=2624M console=vga,com1
	module2 /boot/vmlinuz-4.19-xen root=LABEL=root-ylhdxw ro console=hvc0
	module2 /boot/initrd-4.19-xen.img
	module2 /boot/sinit.bin
}
# xentpm: end.
"""


@pytest.fixture
def host(tmp_path):
    return make_tboot_host(tmp_path)


def text(host):
    return host.read(CONFIG).decode()


def refused(host, capsys, *words):
    assert host.call("enable", *words) == 1
    assert text(host) == MENU and host.read(SETUP) is None
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["xentpm-boot", "hint"]
    return "\n".join(lines)


def test_the_entry_is_the_last_one_and_not_the_default(host):
    assert host.call("enable") == 0
    assert text(host) == MENU + ENTRY
    assert [entry.is_tboot for entry in menu_entries(text(host))] == [False, False, True]


def test_enable_twice_and_disable(host, capsys):
    for _ in range(2):
        assert host.call("enable") == 0
        assert text(host) == MENU + ENTRY
    assert "set up already" in capsys.readouterr().out
    assert host.call("disable") == 0
    assert text(host) == MENU
    assert host.read(SETUP) is None


def test_it_can_be_made_the_default(host):
    assert host.call("enable", "--default") == 0
    assert text(host) == MENU.replace('default="1"', 'default="2"') + ENTRY
    assert host.call("enable") == 0
    assert text(host) == MENU.replace('default="1"', 'default="2"') + ENTRY
    host.write(CONFIG, text(host) + "# changed\n")
    assert host.call("disable") == 0
    assert text(host) == MENU + "# changed\n"


def test_only_our_entry_goes_when_others_changed_the_file_since(host, capsys):
    assert host.call("enable") == 0
    host.write(CONFIG, "# before\n" + text(host) + "# behind\n")
    assert host.call("disable") == 0
    assert text(host) == "# before\n" + MENU + "# behind\n"


def test_an_update_that_drops_the_entry_or_names_another_kernel_is_mended(host, capsys):
    assert host.call("enable") == 0
    host.restart()
    assert host.call("verify") == 0
    updated = MENU.replace("4.19", "6.6")
    host.write(CONFIG, updated)
    assert host.call("verify") == 1
    assert "gone" in capsys.readouterr().out
    assert host.call("enable") == 0
    assert text(host) == updated + ENTRY.replace("4.19", "6.6")
    host.write(CONFIG, MENU + ENTRY.replace("4.19", "6.6"))
    assert host.call("verify") == 1
    assert host.call("enable") == 0
    assert text(host) == MENU + ENTRY
    assert host.call("disable") == 0
    assert text(host) == MENU


def test_dry_run_shows_a_diff(host, capsys):
    assert host.call("enable", "--dry-run") == 0
    assert text(host) == MENU and host.read(SETUP) is None
    out = capsys.readouterr().out
    assert "+\tmultiboot2 /boot/tboot.gz logging=serial,memory\n" in out


def test_bytes_that_are_no_text_and_no_last_line_end_stay(host):
    data = MENU.encode().replace(b"Other", b"\xff\xfe").rstrip(b"\n")
    host.write(CONFIG, data)
    assert host.call("enable") == 0
    assert host.read(CONFIG) == data + b"\n" + ENTRY.encode()
    assert host.call("disable") == 0
    assert host.read(CONFIG) == data


def test_sinit_of_the_bios_or_given(host, capsys):
    assert host.call("enable", "--sinit", "bios") == 0
    assert text(host) == MENU + ENTRY.replace("\tmodule2 /boot/sinit.bin\n", "")
    host.write(CONFIG, MENU)
    assert host.call("enable") == 0
    assert "sinit" not in text(host)
    host.write("boot/other.bin", make_sinit())
    assert host.call("enable", "--sinit", host.paths.at("boot/other.bin")) == 0
    assert text(host) == MENU + ENTRY.replace("sinit.bin", "other.bin")
    assert host.call("disable") == 0
    host.write("elsewhere/other.bin", make_sinit())
    assert "Copy it to" in refused(host, capsys, "--sinit", host.paths.at("elsewhere/other.bin"))
    host.write("boot/none.bin", "x")
    assert "no SINIT module" in refused(host, capsys, "--sinit", host.paths.at("boot/none.bin"))


def test_refusals_change_nothing(host, capsys):
    os.unlink(host.paths.at("boot/sinit.bin"))
    assert "--sinit" in refused(host, capsys)
    os.unlink(host.paths.at("boot/tboot.gz"))
    assert "tboot.gz" in refused(host, capsys)
    host.write("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu\n")
    assert "SMX" in refused(host, capsys)
    host.write("boot/xen.gz", gzip.compress(b"\0004.17.5-x\0"))
    assert "without tboot support" in refused(host, capsys)
    assert "grub-tpm needs a host that boots by UEFI" in refused(host, capsys, "--method", "grub-tpm")


@pytest.mark.parametrize(
    "menu, words, reason",
    [
        ("set default=0\n", (), "boots no Xen that can be found"),
        (MENU + "menuentry 'x' {\n", (), "does not end"),
        (MENU.replace('"1"', '"0"'), (), "boots no Xen that can be found"),
        (MENU.replace('set default="1"\n', "").replace("chainloader +1", ""), (), "boots no Xen"),
        (MENU[MENU.index("menuentry 'XenS") :], ("--default",), "no line set default="),
        (MENU.replace("\tmodule2", "\techo"), (), "does not boot Xen with multiboot and modules"),
    ],
)
def test_menus_that_cannot_be_added_to(host, capsys, menu, words, reason):
    host.write(CONFIG, menu)
    assert host.call("enable", *words) == 1
    assert reason in capsys.readouterr().err
    assert text(host) == menu and host.read(SETUP) is None


def test_submenus_and_braces_in_quotes_are_counted_as_grub_does(host):
    menu = MENU.replace('"1"', '"2"').replace(
        "menuentry 'Other'",
        "submenu 'More' {\n\tmenuentry 'a } b' {\n\t\techo \"}\" # }\n\t}\n}\nmenuentry 'Other'",
    )
    host.write(CONFIG, menu)
    assert host.call("enable") == 0
    assert text(host) == menu + ENTRY
    assert host.call("enable", "--default") == 0
    assert 'set default="3"\n' in text(host)
    assert host.call("disable") == 0
    assert text(host) == menu


def test_text_without_our_entry_is_left_alone():
    assert without_entry(MENU) == MENU
    assert without_entry("") == ""
