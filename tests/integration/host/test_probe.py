"""The probe, on trees with real GRUB images and a real software TPM: the chain in each of its states."""

import json
import os
import shutil

import pytest

from support.debian_files import XEN, installed
from support.grub_images import HostTree
from support.sinit import make_sinit
from xentpm_lib.host import functions
from xentpm_lib.host.boot.probe import probe
from xentpm_lib.host.status import status_of

MENU = """set default=0
menuentry 'XCP-ng' {
	search --label --set root root-x
	multiboot2 /boot/xen.gz dom0_mem=3216M
	module2 /boot/vmlinuz-4.19-xen root=LABEL=root-x ro
	module2 /boot/initrd-4.19-xen.img
}
"""
GRUB_LINKS = ("grub", "xen", "kernel", "initrd", "command_lines")
NAMES = ("firmware", "boot_loader") + GRUB_LINKS + ("asset_tag",)
STOCK, MEASURING = ("normal", "fat"), ("normal", "fat", "tpm")


def host_tree(root, modules=STOCK):
    """The files of an XCP-ng host below ``root``."""
    tree = HostTree(root, uefi=False)
    for folder in ("sys/firmware/efi/efivars", "boot/efi/EFI"):
        os.makedirs(tree.paths.at(folder), exist_ok=True)
    if modules:
        tree.image("EFI/xenserver/grubx64.efi", modules=modules)
    tree.write("boot/efi/EFI/xenserver/grub.cfg", MENU)
    tree.boots("/EFI/xenserver/grubx64.efi", description="XCP-ng")
    tree.variable("SecureBoot", b"\0")
    shutil.copy(installed(*XEN), tree.write("boot/xen.gz", b""))
    return tree


def can_enable(tree):
    tree.grub_modules()
    os.chmod(tree.write("usr/bin/grub-mkimage", b""), 0o755)


def links(found):
    return {link.name: link for link in found.links}


def states(found):
    return {name: link.measured for name, link in links(found).items()}


def measure(dom0, *pcrs):
    for pcr in pcrs:
        dom0.tpm.extend(pcr, {"sha1": b"\1" * 20, "sha256": b"\1" * 32})


@pytest.fixture
def booted(dom0):
    """A dom0 whose firmware measured itself and the boot loader, as every machine does."""
    measure(dom0, 0, 1, 2, 3, 4, 5, 6, 7)
    return dom0


def check(dom0, name):
    return next(one for one in status_of(dom0.paths).checks if one.name == name)


def test_every_link_is_told_in_order(booted):
    host_tree(booted.root)
    found = probe(booted.paths)
    assert tuple(link.name for link in found.links) == NAMES
    assert len({link.title for link in found.links}) == len(NAMES)
    assert all(link.measured or link.why for link in found.links)


def test_a_stock_host(booted):
    tree = host_tree(booted.root)
    found = probe(booted.paths)
    told = states(found)
    assert told["firmware"] and told["boot_loader"] and found.measured is False
    assert not any(told[name] for name in GRUB_LINKS)
    assert links(found)["grub"].why == "the GRUB image has no tpm module inside"
    assert "supplemental pack" in found.next_step
    can_enable(tree)
    assert probe(booted.paths).next_step == "Run: xentpm-boot enable. Then restart the host."
    tree.variable("SecureBoot", b"\1")
    assert "Secure Boot off" in probe(booted.paths).next_step
    assert "Secure Boot off" in check(booted, "grub_measured").advice


def test_set_up_but_not_booted_with_yet(booted):
    host_tree(booted.root, MEASURING)
    found = probe(booted.paths)
    assert found.measured is False and found.next_step == "Restart the host."
    assert links(found)["grub"].why == "set up, but not booted with yet"
    assert "not booted with yet" in check(booted, "grub_measured").seen


def test_a_measured_host(booted):
    host_tree(booted.root, MEASURING)
    measure(booted, 8, 9)
    found = probe(booted.paths)
    assert found.measured is True and all(states(found)[name] for name in GRUB_LINKS)
    assert (links(found)["xen"].pcrs, links(found)["command_lines"].pcrs) == ((9,), (8,))
    assert check(booted, "grub_measured").state == "ok"
    assert check(booted, "boot_image").seen.endswith("grubx64.efi measures")


def test_registers_that_no_grub_extended_prove_nothing(booted):
    """Where GRUB leaves PCR 8 and 9 alone, root in dom0 extends them to what looks like a good boot."""
    host_tree(booted.root)
    measure(booted, 8, 9)
    found = probe(booted.paths)
    assert found.measured is None
    assert "or root in dom0 extended them" in links(found)["grub"].why
    seen = check(booted, "grub_measured")
    assert (seen.state, "or root in dom0 extended them" in seen.seen) == ("warning", True)
    assert "xentpm-boot" in seen.advice


def test_a_dynamic_launch(booted):
    host_tree(booted.root)
    booted.tpm.dynamic_launch(b"SINIT")
    found = probe(booted.paths)
    assert found.measured is True and states(found)["grub"] is False
    assert (links(found)["xen"].pcrs, links(found)["kernel"].pcrs) == ((18,), (19,))
    assert links(found)["xen"].by == "tboot"


def test_a_xen_that_firmware_starts(booted):
    tree = host_tree(booted.root, MEASURING)
    tree.write("boot/efi/EFI/xenserver/grub.cfg", "menuentry 'X' {\nchainloader /EFI/xenserver/xen.efi\n}\n")
    measure(booted, 8, 9)
    found = probe(booted.paths)
    assert states(found)["xen"] and links(found)["xen"].pcrs == (4,)
    assert states(found)["kernel"] is False and found.measured is False


def test_legacy(booted):
    shutil.rmtree(booted.paths.at("sys/firmware/efi"))
    tree = HostTree(booted.root, uefi=False)
    tree.write("boot/grub/grub.cfg", MENU)
    shutil.copy(installed(*XEN), tree.write("boot/xen.gz", b""))
    found = probe(booted.paths)
    assert found.measured is False and "without tboot support" in found.next_step
    assert states(found)["boot_loader"] is False
    tree.write("boot/xen.config", "CONFIG_TBOOT=y\n")
    assert "xentpm-boot enable" in probe(booted.paths).next_step
    tree.write("proc/cpuinfo", "flags\t: fpu\n")
    assert "Enable Intel TXT" in probe(booted.paths).next_step
    assert check(booted, "boot_image").seen == "none: legacy BIOS"


def test_a_host_without_a_tpm(bare_dom0):
    host_tree(bare_dom0.root, MEASURING)
    found = probe(bare_dom0.paths)
    assert found.measured is None and states(found)["firmware"] is None
    assert "There is no TPM" in found.to_text().replace("\n", " ")
    assert json.loads(found.to_json())["facts"]["banks"] is None


def test_a_host_without_anything(tmp_path):
    tree = HostTree(tmp_path, uefi=False)
    found = probe(tree.paths)
    assert found.measured is False and found.to_text()
    assert json.loads(found.to_json())["facts"]["boot_mode"] == "legacy"


def test_a_tpm_in_which_firmware_measured_nothing(dom0):
    host_tree(dom0.root)
    found = links(probe(dom0.paths))
    assert found["firmware"].measured is False and "SHA256" in found["firmware"].advice


def test_the_asset_tag(booted):
    host_tree(booted.root)
    assert links(probe(booted.paths))["asset_tag"].why == "no asset tag is set"
    functions.set_asset_tag(booted.host(), {"tag": "a5" * 20})
    assert links(probe(booted.paths))["asset_tag"].advice == "Restart the host."
    booted.configure(asset_tag_pcr="none")
    assert "switched off" in links(probe(booted.paths))["asset_tag"].why


def test_text_and_json(booted):
    tree = host_tree(booted.root)
    can_enable(tree)
    shutil.copy(
        tree.paths.at("boot/efi/EFI/xenserver/grubx64.efi"), tree.write("boot/efi/EFI/BOOT/BOOTX64.EFI", b"")
    )
    tree.write("boot/sinit.bin", make_sinit())
    found = probe(booted.paths)
    text, told = found.to_text(), json.loads(found.to_json())
    assert all(len(line) < 80 or "/" in line for line in text.split("\n"))
    assert "no tpm inside" in text and "gzip, no tboot support" in " ".join(text.split())
    assert sorted(told) == ["facts", "links", "measured", "next_step", "version"]
    assert [link["name"] for link in told["links"]] == list(NAMES)
    facts = told["facts"]
    assert facts["banks"] == ["sha1", "sha256"] and facts["secure_boot"] is False
    assert facts["grub_image_copies"] == [tree.paths.at("boot/efi/EFI/BOOT/BOOTX64.EFI")]
    assert facts["xen"]["compressed"] is True and facts["grub_image_measures"] is False
    assert facts["sinit_modules"] == [tree.paths.at("boot/sinit.bin")]
    assert told["next_step"] in " ".join(text.split())


def test_names_cannot_repaint_the_terminal(bare_dom0):
    tree = host_tree(bare_dom0.root, ())
    tree.boots("/EFI/\u202eefi", description="XCP\x1b[2J\xfc")
    text = probe(bare_dom0.paths).to_text()
    assert "XCP\\x1b[2J\\xfc: /EFI/\\u202eefi" in text
    assert set(text) <= set(map(chr, range(0x20, 0x7F))) | {"\n"}


def test_it_reads_only(booted):
    host_tree(booted.root)

    def everything():
        found = {}
        for folder, _, names in os.walk(booted.root):
            for name in names:
                state = os.stat(os.path.join(folder, name))
                found[os.path.join(folder, name)] = (state.st_mtime_ns, state.st_size)
        return {path: state for path, state in found.items() if not path.endswith("run/xentpm.lock")}

    before = everything()
    probe(booted.paths)
    assert everything() == before
