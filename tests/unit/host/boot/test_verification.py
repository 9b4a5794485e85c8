"""Whether the set-up still stands: in the command, in the preparation check, and for a quote."""

import json
import os
import shutil

import pytest

from support.boot_host import COPY, IMAGE, SETUP, SPARE, BootHost
from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.boot_setup import boot_setup_from_json, boot_setup_to_json
from xentpm_lib.host.boot.verification import boot_setup
from xentpm_lib.host.status import status_of

LOOK = "run/xentpm-boot.json"


@pytest.fixture
def host(tmp_path):
    return BootHost(tmp_path)


def seen(host, extended=None):
    found = boot_setup(host.paths, extended)
    if found is not None:
        assert boot_setup_from_json(boot_setup_to_json(found), "x") == found
    return found


def check(host):
    found = {one.name: one for one in status_of(host.paths).checks}["measured_boot_setup"]
    return found.state, found.advice


def test_never_set_up(host, capsys):
    assert seen(host) is None
    assert check(host) == ("ok", "")
    assert (host.call("verify"), host.call("status")) == (0, 0)
    assert host.call("--json", "status") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"state": None}
    assert host.read(LOOK) is None


def test_pending_until_the_host_is_restarted_and_measured(host):
    assert host.call("enable") == 0
    assert (seen(host).method, seen(host).state) == ("grub-tpm", "pending")
    assert check(host) == ("warning", "Restart the host.")
    host.restart()
    assert seen(host).state == seen(host, True).state == "active"
    assert check(host) == ("ok", "")
    late = seen(host, False)
    assert late.state == "pending" and "PCR 8 and 9 are zero" in late.detail
    assert host.call("verify") == 0


@pytest.mark.parametrize("path", [IMAGE, COPY])
def test_undone_by_an_update(host, path, capsys):
    assert host.call("enable") == 0
    host.restart()
    assert seen(host).state == "active"
    host.update(relative=path)
    found = seen(host)
    assert found.state == "undone" and path in found.detail and "another image since 2" in found.detail
    shutil.copy(host.paths.at(SPARE), host.paths.at(path))
    assert "the stock image again" in seen(host).detail
    assert check(host) == ("warning", "Run: xentpm-boot enable. Then restart the host.")
    capsys.readouterr()
    assert host.call("status") == 0
    assert host.call("verify") == 1
    assert capsys.readouterr().out.startswith("Measured boot was undone (grub-tpm): ")
    os.unlink(host.paths.at(path))
    assert "is gone" in seen(host).detail


def test_a_damaged_record_is_told_and_not_taken_for_no_set_up(host, capsys):
    assert host.call("enable") == 0
    for damage in (b"", b"{}", b"\xff", host.read(SETUP).replace(b'"version": 1', b'"version": 2')):
        host.write(SETUP, damage)
        with pytest.raises(XenTpmError):
            seen(host)
        assert check(host)[0] == "failed"
        assert [host.call(word) for word in ("verify", "status", "enable", "disable")] == [1, 1, 1, 1]
    assert "is damaged" in capsys.readouterr().err


def test_a_file_is_hashed_again_only_when_it_changed(host):
    assert host.call("enable") == 0
    assert seen(host).state == "pending"
    known = json.loads(host.read(LOOK).decode())
    assert sorted(known) == sorted(map(host.paths.at, (IMAGE, COPY)))
    for entry in known.values():
        entry[-1] = "0" * 64
    host.write(LOOK, json.dumps(known))
    assert seen(host).state == "undone"
    os.utime(host.paths.at(IMAGE), (1, 1))
    os.utime(host.paths.at(COPY), (1, 1))
    assert seen(host).state == "pending"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": 1}', "null"])
def test_a_last_look_that_is_no_look(host, text):
    assert host.call("enable") == 0
    host.write(LOOK, text)
    assert seen(host).state == "pending"


@pytest.mark.parametrize(
    "change",
    [
        {"files": {}},
        {"files": {"boot/\0x": "a" * 64}},
        {"files": {"/etc/hostname": "a" * 64}},
        {"files": {"boot/../etc/hostname": "a" * 64}},
        {"files": {"boot/x": "A" * 64}},
        {"files": {"boot/x": ["a" * 64]}},
        {"ours": ["a" * 64 + "\n"]},
        {"ours": {}},
        {"spare": "/x"},
        {"esp": ".."},
        {"method": "tboot", "files": {}},
    ],
)
def test_a_record_that_nobody_here_wrote_is_damaged(host, change, capsys):
    assert host.call("enable") == 0
    host.write(SETUP, json.dumps(dict(json.loads(host.read(SETUP).decode()), **change)))
    with pytest.raises(XenTpmError, match=r"is damaged"):
        seen(host)
    before = host.snapshot()
    assert [host.call(word) for word in ("verify", "status", "enable", "disable")] == [1, 1, 1, 1]
    assert host.snapshot() == before and "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("relative", [SETUP, IMAGE])
def test_what_is_no_regular_file_is_not_waited_for(host, relative):
    assert host.call("enable") == 0
    path = host.paths.at(relative)
    os.rename(path, path + ".away")
    for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
        make(path)
        with pytest.raises(XenTpmError, match=r"regular file|Is a directory"):
            seen(host)
        (os.rmdir if os.path.isdir(path) else os.unlink)(path)


def test_a_last_look_that_is_a_pipe_or_deep(host):
    assert host.call("enable") == 0
    host.write(LOOK, '{"a":' + "[" * 20000 + "]" * 20000 + "}")
    assert seen(host).state == "pending"
    os.unlink(host.paths.at(LOOK))
    os.mkfifo(host.paths.at(LOOK))
    assert seen(host).state == "pending"
    os.unlink(host.paths.at(LOOK))
    os.mkdir(host.paths.at(LOOK))  # nothing can be kept there, and nothing half written stays
    assert seen(host).state == "pending"
    assert not [name for name in os.listdir(host.paths.at("run")) if name.startswith("xentpm-boot.json.")]


def away(host):
    os.rename(host.esp, host.esp + "-away")
    os.mkdir(host.esp)


def back(host):
    shutil.rmtree(host.esp)
    os.rename(host.esp + "-away", host.esp)


def test_without_the_esp_nothing_is_said_and_nothing_done(host, capsys):
    assert host.call("enable") == 0
    host.restart()
    away(host)
    before = host.snapshot()
    with pytest.raises(XenTpmError, match="is not mounted"):
        seen(host)
    assert check(host)[0] == "failed"
    for words in (("verify",), ("status",), ("enable",), ("disable",), ("disable", "--dry-run")):
        assert host.call(*words) == 1
        assert "the EFI system partition is not mounted\nhint: Mount it: mount /boot/efi." in (
            capsys.readouterr().err
        )
    assert host.snapshot() == before
    back(host)
    assert seen(host).state == "active"
    assert host.call("disable") == 0


def test_files_of_a_package_at_the_empty_mount_point_are_no_esp(host, capsys):
    host.write("proc/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sda4 /boot/efi vfat rw 0 0\n")
    assert host.call("enable") == 0
    away(host)
    host.image("EFI/xenserver/grubx64.efi", modules=("normal",))
    host.write("proc/mounts", "/dev/sda1 / ext4 rw 0 0\n")
    before = host.snapshot()
    assert [host.call(word) for word in ("verify", "status", "enable", "disable")] == [1, 1, 1, 1]
    assert host.snapshot() == before and "is not mounted" in capsys.readouterr().err


@pytest.mark.parametrize("links", ["by-partuuid", "by-uuid"])
def test_another_esp_is_told_from_the_one_of_the_set_up(host, links, capsys):
    folder = host.paths.at("dev/disk/" + links)
    os.makedirs(folder)
    os.symlink("../../sda4", os.path.join(folder, "0B5C-1111"))
    os.symlink("../../sdb1", os.path.join(folder, "0B5C-2222"))
    host.write("proc/mounts", "/dev/sda4 /boot/efi vfat rw 0 0\n")
    assert host.call("enable") == 0
    host.write("proc/mounts", "/dev/sdb1 /boot/efi vfat rw 0 0\n")
    before = host.snapshot()
    assert [host.call(word) for word in ("verify", "status", "enable", "disable")] == [1, 1, 1, 1]
    assert host.snapshot() == before
    assert "is another partition (" in capsys.readouterr().err
    host.write("proc/mounts", "/dev/sda4 /boot/efi vfat rw 0 0\n")
    assert [host.call(word) for word in ("verify", "status", "enable", "disable")] == [0, 0, 0, 0]


def test_an_esp_without_any_trace_of_the_set_up_is_another_one(host, capsys):
    stock = host.read(IMAGE)
    assert host.call("enable") == 0
    away(host)
    host.image("EFI/xenserver/grubx64.efi", modules=("normal",))
    before = host.snapshot()
    assert host.call("verify") == 1
    assert host.call("disable") == 1
    assert host.snapshot() == before
    assert "is this the partition that the host boots from?" in capsys.readouterr().err
    back(host)
    assert host.call("disable") == 0
    assert host.read(IMAGE) == host.read(COPY) == stock


def test_a_command_that_was_cut_short_is_told(host):
    assert host.call("enable") == 0
    for phase in ("enabling", "disabling"):
        host.write(SETUP, host.read(SETUP).replace(b'"phase": "enabled"', b'"phase": "%s"' % phase.encode()))
        assert seen(host).state == "undone" and "cut short" in seen(host).detail
        assert host.call("enable") == 0
        assert seen(host).state == "pending"
