"""What GRUB will measure, predicted for a dom0 that has disks, and for a folder that only looks like one."""

import hashlib
import os

import pytest

from support.grub_boots import write_dom0
from support.grub_images import STOCK, make_image
from xentpm_lib.errors import FormatError, XenTpmError
from xentpm_lib.evidence.pcr import replay
from xentpm_lib.host.boot.grub_work import Workload
from xentpm_lib.host.boot.prediction import boot_log_for_quote, predict

CONFIG = "boot/efi/EFI/xenserver/grub.cfg"
ENTRY = (
    "menuentry 'Xen' {\n search --label --set root ROOT-XYZ\n multiboot2 /boot/xen.gz a\n"
    " module2 /boot/linux b\n}\n"
)
FILES = {"/boot/xen.gz": "xen", "/boot/linux": "linux"}
TIMEOUT = "set timeout=5\n"


def _dom0(tmp_path, config=TIMEOUT + ENTRY, partition=4, **files):
    case = {"files": dict(FILES, **{"/EFI/xenserver/grub.cfg": config}), "partition": partition}
    for name, content in files.items():
        case["files"]["/EFI/xenserver/" + name] = content
    return write_dom0(tmp_path, case, {"files": {}})


def _rewrite(paths, text):
    with open(paths.at(CONFIG), "w") as file:
        file.write(text)


def _refused(paths, match):
    with pytest.raises(XenTpmError, match=match) as caught:
        predict(paths, ["sha256"])
    assert caught.value.code == "XENTPM_BOOT"


def test_events_digests_and_final_values(tmp_path):
    found = predict(_dom0(tmp_path), ["sha1", "sha256"])
    assert found.entry == "Xen"
    assert [(event.pcr, event.description) for event in found.events] == [
        (9, "(hd0,gpt4)/EFI/xenserver/grub.cfg"),
        (8, "grub_cmd: set timeout=5"),
        (8, "grub_cmd: menuentry Xen {\n" + ENTRY.partition("{\n")[2].rstrip("\n")),
        (8, "grub_cmd: setparams Xen"),
        (8, "grub_cmd: search --label --set root ROOT-XYZ"),
        (8, "grub_cmd: multiboot2 /boot/xen.gz a"),
        (9, "/boot/xen.gz"),
        (8, "kernel_cmdline: a"),
        (8, "grub_cmd: module2 /boot/linux b"),
        (9, "/boot/linux"),
        (8, "module_cmdline: b"),
    ]
    assert found.events[6].digests["sha1"] == hashlib.sha1(b"xen").digest()
    assert found.events[7].digests["sha256"] == hashlib.sha256(b"a").digest()
    expected = replay("sha256", [(event.pcr, event.digests["sha256"]) for event in found.events])
    assert found.values("sha256") == {8: expected[8], 9: expected[9]}
    with pytest.raises(FormatError):
        found.values("sha384")


def test_other_bytes_than_ascii_are_written_as_numbers(tmp_path):
    config = "set timeout=5\necho \u00e4\x07" + "x" * 5000 + "\n" + ENTRY.replace("'Xen'", "'\u00dc'")
    found = predict(_dom0(tmp_path, config.encode().decode("latin-1")), ["sha256"])
    assert found.events[2].description.startswith("grub_cmd: echo \\xc3\\xa4\\x07xxx")
    assert len(found.events[2].description) == 4096 and found.events[2].description.endswith("...")
    assert found.entry == "\\xc3\\x9c"


NAMED = TIMEOUT + "if [ -s $prefix/grubenv ]; then\n load_env\nfi\n" + ENTRY


@pytest.mark.parametrize(("partition", "expected"), [(4, "hd0,gpt4"), (1, "hd0,gpt1")])
def test_the_partition_is_known_and_the_disk_is_assumed(tmp_path, partition, expected):
    found = predict(_dom0(tmp_path, NAMED, partition), ["sha256"])
    assert found.events[2].description == "grub_cmd: [ -s ({})/EFI/xenserver/grubenv ]".format(expected)
    assert any("assumed to be hd0" in note for note in found.notes)


def test_the_disk_that_leads_to_the_known_values(tmp_path):
    paths = _dom0(tmp_path, NAMED)
    assumed = predict(paths, ["sha256"])
    digests = []
    for event in assumed.events:
        text = event.description.partition(": ")[2].replace("hd0", "hd3").encode()
        digests.append(
            (event.pcr, hashlib.sha256(text).digest() if event.pcr == 8 else event.digests["sha256"])
        )
    known = replay("sha256", digests)
    found = predict(paths, ["sha256"], {"sha256": known})
    assert found.values("sha256") == {8: known[8], 9: known[9]}
    assert "hd3" in found.events[2].description
    assert not any("assumed to be" in note for note in found.notes)
    unknown = {"sha256": {8: b"\x11" * 32, 9: b"\x22" * 32}}
    assert predict(paths, ["sha256"], unknown).values("sha256") == assumed.values("sha256")


def test_grubenv_chooses_the_entry(tmp_path):
    config = NAMED.replace(
        "fi\n", 'fi\nif [ -n "$override_entry" ]; then\n set default=$override_entry\nfi\n'
    )
    config += ENTRY.replace("'Xen'", "'Other'")
    block = ("# GRUB Environment Block\noverride_entry=1\n").ljust(1024, "#")
    assert predict(_dom0(tmp_path / "a", config, grubenv=block), ["sha256"]).entry == "Other"
    assert predict(_dom0(tmp_path / "b", config), ["sha256"]).entry == "Xen"


def test_a_file_that_is_not_there(tmp_path):
    paths = _dom0(
        tmp_path,
        TIMEOUT + "set fallback=1\n" + ENTRY.replace("xen.gz", "none") + ENTRY.replace("'Xen'", "'Two'"),
    )
    found = predict(paths, ["sha256"])
    assert found.entry == "Two"
    assert any("there is no file '/boot/none'" in note for note in found.notes)
    _rewrite(paths, TIMEOUT + ENTRY.replace("xen.gz", "none"))
    _refused(paths, "no menu entry loads a kernel")


def test_a_link_is_followed_within_its_file_system(tmp_path):
    paths = _dom0(tmp_path)
    link = paths.at("boot/efi/boot/xen.gz")
    os.rename(link, paths.at("boot/efi/boot/xen-4.17.gz"))
    os.symlink("/boot/xen-4.17.gz", link)
    assert predict(paths, ["sha256"]).events[6].digests["sha256"] == hashlib.sha256(b"xen").digest()
    os.remove(link)
    os.symlink("xen.gz", link)
    _refused(paths, "no menu entry")


def test_a_file_system_that_is_not_mounted(tmp_path):
    paths = _dom0(tmp_path)
    block = tmp_path / "sys/devices/disk/sda/sda1"
    block.mkdir()
    (block / "partition").write_text("1\n")
    (block / "dev").write_text("8:1\n")
    os.symlink(str(block), paths.at("sys/dev/block/8:1"))
    os.symlink(str(block), paths.at("sys/class/block/sda1"))
    os.remove(paths.at("dev/disk/by-label/ROOT-XYZ"))
    os.symlink("../../sda1", paths.at("dev/disk/by-label/ROOT-XYZ"))
    _refused(paths, "which dom0 has not mounted")


def test_a_label_that_is_not_there(tmp_path):
    paths = _dom0(tmp_path, TIMEOUT + ENTRY.replace("ROOT-XYZ", "OTHER"))
    assert any("the search finds nothing" in note for note in predict(paths, ["sha256"]).notes)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("frobnicate\n", "line 1: the command 'frobnicate' is not interpreted"),
        ("blscfg\n", "blscfg is not interpreted"),
        ("echo 'a\n", "line 1: "),
        ("while true; do true; done\n", "over 1024 measurements"),
        ("function f { f; }\nf\n", "line 1: "),
        ("function f {\n f\n}\nf\n", "over 40 commands in each other"),
        ("source $config_file\n", "over 40 commands in each other"),
        ("while $none; do $none; done\n", "over 50000 commands"),
        ("set x=aaaaaaaaaaaaaaaa\n" + "set x=$x$x$x$x$x$x$x$x\n" * 9, "over 262144 characters"),
        ("echo only\n", "no menu entry loads a kernel"),
        ("if [ a -nt b ]; then true; fi\n", "-nt"),
        ("set superusers=root\n" + ENTRY, "asks for a password"),
        ("set timeout=5\nset fallback=7\nmenuentry a {\n true\n}\n", "no menu entry 7"),
        ("fwsetup\n", "nothing boots"),
    ],
)
def test_what_is_not_interpreted(tmp_path, text, match):
    _refused(_dom0(tmp_path, text), match)


def test_a_host_without_uefi(tmp_path):
    paths = _dom0(tmp_path)
    os.rmdir(paths.at("sys/firmware/efi"))
    _refused(paths, "not booted by UEFI")


def test_a_menu_without_a_timeout_is_told(tmp_path):
    assert any("no timeout" in note for note in predict(_dom0(tmp_path, ENTRY), ["sha256"]).notes)


def test_a_folder_that_only_looks_like_a_dom0(tmp_path):
    paths = _dom0(tmp_path)
    for name in ("proc/self/mountinfo", "dev/disk/by-label/ROOT-XYZ", "dev/disk/by-uuid/0ABC-1234"):
        os.remove(paths.at(name))
    os.rmdir(paths.at("dev/disk/by-label"))
    found = predict(paths, ["sha256"])
    assert found.events[6].description == "/boot/xen.gz"
    assert any("could not be found out" in note for note in found.notes)


@pytest.mark.parametrize(
    "values",
    [{}, {"sha256": {}}, {"sha256": {8: bytes(32), 9: b"\1" * 32}}, {"sha256": {9: b"\1" * 32}}],
)
def test_no_boot_log_where_grub_measured_nothing(tmp_path, values):
    assert boot_log_for_quote(_dom0(tmp_path), values) is None


def test_the_boot_log_of_a_quote_is_in_its_banks(tmp_path):
    paths = _dom0(tmp_path)
    values = {"sha256": {8: b"\1" * 32, 9: b"\1" * 32}, "sha384": {1: b"\1" * 48}}
    log = boot_log_for_quote(paths, values)
    assert {tuple(event.digests) for event in log} == {("sha256",)}
    _rewrite(paths, "blscfg\n")
    assert boot_log_for_quote(paths, values) is None


def test_the_folder_of_the_image_that_booted(tmp_path):
    paths = _dom0(tmp_path, "echo $cmdpath\n" + TIMEOUT + ENTRY)
    assert predict(paths, ["sha256"]).events[1].description == "grub_cmd: echo"
    make_image(paths.at("boot/efi/EFI/xenserver/grubx64.efi"), STOCK + ("tpm", "echo"))
    found = predict(paths, ["sha256"])
    assert found.events[1].description == "grub_cmd: echo (hd0,gpt4)/EFI/xenserver"


EXTENDED = {"sha256": {8: b"\1" * 32, 9: b"\2" * 32}}


def test_a_quote_does_not_wait_for_a_large_script(tmp_path):
    paths = _dom0(tmp_path, "if false; then\n" + "echo a\n" * (128 * 1024 // 7) + "fi\n" + NAMED)
    assert predict(paths, ["sha256"]).entry == "Xen"
    assert boot_log_for_quote(paths, EXTENDED) is None


def test_a_quote_does_not_wait_for_many_statements(tmp_path):
    """Few enough for one name of the disk; where that is not the right one, too many for all together."""
    paths = _dom0(tmp_path, "for i in" + " x" * 7000 + "; do $none; done\n" + NAMED)
    right = predict(paths, ["sha256"])
    assert boot_log_for_quote(paths, {"sha256": right.values("sha256")}) == right.events
    assert boot_log_for_quote(paths, EXTENDED) is None


def test_a_script_is_read_once_for_all_names_of_the_disk():
    work = Workload(max_scripts=20)
    first = work.statements(b"echo a\n", "grub.cfg")
    assert work.statements(b"echo a\n", "grub.cfg") is first
    with pytest.raises(XenTpmError, match="over 20 bytes altogether"):
        work.statements(b"echo bcdefghijk\n", "grub.cfg")
