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
        ("set default=0\n", (), "grub.cfg has no menu entry"),
        (MENU.replace('"1"', '"0>1"'), (), "cannot be told which entry"),
        (
            MENU.replace("menuentry 'Other'", "if x; then\nmenuentry 'N' {\n}\nfi\nmenuentry 'Other'"),
            (),
            "cannot be told",
        ),
        (MENU + "if x; then\n\tmenuentry 'N' {\n\t}\nfi\n", ("--default",), "no fixed number"),
        (
            MENU + "if [ -f $prefix/custom.cfg ]; then\n\tsource $prefix/custom.cfg\nfi\n",
            ("--default",),
            "no fixed",
        ),
        (MENU + ENTRY.replace("# xentpm: end.\n", ""), (), "are not around it any more"),
        (ENTRY.splitlines(True)[0] + MENU + "# xentpm: end.\n", (), "are not around it any more"),
        (MENU.replace("'XenServer' {", "'XenServer' { true #{"), (), "cannot be copied"),
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


@pytest.mark.parametrize("lost", ["# xentpm: begin. This", "# xentpm: end."])
def test_an_entry_that_lost_a_comment_line_is_found_and_others_stay(host, lost):
    mine = "menuentry 'Mine' {\n\tchainloader +1\n}\n"
    assert host.call("enable") == 0
    lines = [line for line in text(host).splitlines(True) if not line.startswith(lost)]
    host.write(CONFIG, "".join(lines) + mine)
    assert host.call("verify") == 1
    assert host.call("enable") == 0
    assert text(host) == MENU + mine + ENTRY
    host.write(CONFIG, "".join(lines) + mine)
    assert host.call("disable") == 0
    assert text(host) == MENU + mine


def test_an_entry_that_was_changed_and_lost_a_comment_line_is_left_to_the_administrator(host, capsys):
    assert host.call("enable") == 0
    changed = text(host).replace("memory\n", "memory vga=1\n")
    host.write(CONFIG, changed.replace("# xentpm: end.\n", ""))
    before = host.snapshot()
    assert [host.call(word) for word in ("verify", "enable", "disable")] == [1, 1, 1]
    assert host.snapshot() == before
    told = capsys.readouterr()
    assert "are not around it any more" in told.err and "Measured boot was undone" in told.out
    host.write(CONFIG, changed)
    assert host.call("disable") == 0
    assert text(host) == MENU


def test_the_options_of_the_entry_are_copied_without_its_name(host):
    menu = 'set superusers="root"\n' + MENU.replace(
        "'XenServer' {",
        "'XenServer' --class 'a b' --id xs --unrestricted --hotkey=x $menuentry_id_option 'gnu-1' {",
    )
    host.write(CONFIG, menu)
    assert host.call("enable", "--default") == 0
    assert "menuentry 'XenServer (measured by tboot)' --class 'a b' --unrestricted {\n" in text(host)
    assert host.call("disable") == 0
    assert text(host) == menu


@pytest.mark.parametrize("default", ["XenServer 8", "xs"])
def test_the_default_entry_by_title_or_name(host, default):
    menu = MENU.replace('"1"', "'{}'".format(default)).replace("'XenServer' {", "'XenServer 8' --id xs {")
    menu += "if x; then\nmenuentry 'Firmware' {\n\tfwsetup\n}\nfi\n"
    host.write(CONFIG, menu)
    assert host.call("enable") == 0
    assert text(host) == menu + ENTRY.replace("'XenServer (", "'XenServer 8 (")


@pytest.mark.parametrize("mended", [True, False])
def test_a_configuration_that_is_gone_comes_back(host, mended):
    before = host.snapshot()
    assert host.call("enable") == 0
    os.unlink(host.paths.at(CONFIG))
    assert host.call("verify") == 1
    if mended:
        assert host.call("enable") == 0
        assert text(host) == MENU + ENTRY
    assert host.call("disable") == 0
    assert host.snapshot() == before


def test_a_menu_that_cannot_be_read_is_undone_and_no_error(host, capsys):
    assert host.call("enable") == 0
    host.write(CONFIG, text(host) + "menuentry 'broken' {\n")
    assert host.call("verify") == 1
    assert "Measured boot was undone" in capsys.readouterr().out
    host.write(CONFIG, "x\n")
    assert host.call("verify") == 1
    assert "no menu entry" in capsys.readouterr().out


def test_text_without_our_entry_is_left_alone():
    assert without_entry(MENU) == MENU
    assert without_entry("") == ""
