"""Predictions for images with a memdisk, prefixes of every kind, and what the command prints."""

import io
import json
import os
import tarfile

import pytest

from support.grub_boots import write_dom0
from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.boot_log import boot_log_from_json
from xentpm_lib.host.boot.grub_files import GrubFiles
from xentpm_lib.host.boot.grub_image import GrubImage
from xentpm_lib.host.boot.grub_modules import dependencies
from xentpm_lib.host.boot.grub_run import run_grub
from xentpm_lib.host.boot.prediction import full_prefix, predict, predict_command

ENTRY = "set timeout=5\nmenuentry a {\n multiboot2 /boot/xen.gz a\n}\n"
FILES = {"/EFI/xenserver/grub.cfg": ENTRY, "/boot/xen.gz": "xen", "/other/grub.cfg": ENTRY.replace("5", "6")}


@pytest.fixture
def paths(tmp_path):
    return write_dom0(tmp_path, {"files": FILES}, {"files": {}})


def _tar(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


def _run(paths, modules, prefix, config=None, memdisk=None):
    files = GrubFiles(paths, "boot/efi")
    image = GrubImage(tuple(modules.split()), prefix, config, memdisk)
    return [event.description for event in run_grub(files, image, full_prefix(prefix, files)).measured]


MODULES = "tpm normal configfile multiboot2 test search loadenv boot font"


def test_files_in_the_image_are_not_measured_but_their_commands_are(paths):
    text = "if [ -s $prefix/a ]; then source $prefix/a; fi\nload_env -f (memdisk)/env\nloadfont (memdisk)/a\n"
    inside = {"boot/grub/grub.cfg": text + "configfile (hd0,gpt4)/other/grub.cfg\n", "boot/grub/a": "x=1\n"}
    inside.update(env="# GRUB Environment Block\na=b\n", a="no font")
    events = _run(paths, MODULES, "(memdisk)/boot/grub", memdisk=_tar(inside))
    assert events[:7] == [
        "grub_cmd: [ -s (memdisk)/boot/grub/a ]",
        "grub_cmd: source (memdisk)/boot/grub/a",
        "grub_cmd: x=1",
        "grub_cmd: load_env -f (memdisk)/env",
        "grub_cmd: loadfont (memdisk)/a",
        "grub_cmd: configfile (hd0,gpt4)/other/grub.cfg",
        "(hd0,gpt4)/other/grub.cfg",
    ]


@pytest.mark.parametrize(
    ("prefix", "first"),
    [
        ("/other", "(hd0,gpt4)/other/grub.cfg"),
        ("(,gpt4)/other", "(hd0,gpt4)/other/grub.cfg"),
        ("()/other", "(hd0,gpt4)/other/grub.cfg"),
        ("(hd0,gpt4)/other", "(hd0,gpt4)/other/grub.cfg"),
    ],
)
def test_prefixes(paths, prefix, first):
    assert _run(paths, MODULES, prefix)[0] == first


@pytest.mark.parametrize(
    ("modules", "prefix", "config", "match"),
    [
        ("tpm", "/other", None, "no module normal"),
        (MODULES, "/none", None, "There is no configuration '\\(hd0,gpt4\\)/none/grub.cfg'"),
        (MODULES, "/other", b"if true; then true; fi\n", "only plain commands"),
        (MODULES, "(hd7,gpt9)/other", None, "which dom0 has not mounted"),
        (MODULES, "/other/..", None, "is not interpreted"),
    ],
)
def test_images_that_do_not_lead_anywhere(paths, modules, prefix, config, match):
    with pytest.raises(XenTpmError, match=match):
        _run(paths, modules, prefix, config)


def test_an_efi_partition_that_is_not_mounted(paths):
    os.rename(paths.at("boot/efi"), paths.at("boot/none"))
    with pytest.raises(XenTpmError, match="not mounted") as caught:
        predict(paths, ["sha256"])
    assert "Mount it" in caught.value.hint


@pytest.mark.parametrize(
    "module", [b"", b"\x7fELF\x02", b"\x7fELF\x01" + bytes(60), b"\x7fELF\x02" + b"\xff" * 90]
)
def test_damaged_modules(module):
    with pytest.raises(XenTpmError, match="a GRUB module is damaged"):
        dependencies(module)


def test_a_module_that_needs_nothing():
    assert dependencies(b"\x7fELF\x02" + bytes(100)) == ()


def test_what_the_command_prints_without_a_tpm(paths):
    report = predict_command(paths)
    assert report.exit_status == 0
    assert report.text.splitlines()[0] == "The next boot, if nothing changes any more: a"
    assert "The TPM could not be asked what they hold now." in report.text
    assert "What is assumed:\n- GRUB's image was not found" in report.text
    data = json.loads(json.dumps(report.data))
    assert data["entry"] == "a"
    assert list(data["pcrs"]) == ["sha256"] and sorted(data["pcrs"]["sha256"]) == ["8", "9"]
    assert boot_log_from_json(data["boot_log"], "boot_log") == predict(paths, ["sha256"]).events
    assert "PCR 8  sha256:" + data["pcrs"]["sha256"]["8"] in report.text
