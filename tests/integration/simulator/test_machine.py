"""A simulated host as its users see it: files, power, replacement of the TPM, errors."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.simulator import boot_unit, tpm_wire
from xentpm_lib.simulator.machine import Machine

Host = Callable[..., Machine]


def ek_certificate(machine: Machine) -> bytes:
    public = machine.tpm.run("read public", tpm_wire.nv_read_public(0x01C00002))
    size = tpm_wire.parse_nv_size(public)
    return tpm_wire.parse_nv_data(machine.tpm.run("read", tpm_wire.nv_read(0x01C00002, size)))


def config(machine: Machine) -> dict[str, str]:
    lines = (machine.root / "opt/xensource/tpm/config").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_the_tree(made: Path) -> None:
    root = made / "uefi/root"
    names = ["run", "var/lib/xentpm", "sys/firmware/efi", "opt/xensource/tpm/lib/xentpm_lib/errors.py"]
    assert all((root / name).exists() for name in names)
    machine = Machine.load(made / "uefi")
    inventory = (root / "etc/xensource-inventory").read_text()
    assert f"INSTALLATION_UUID='{machine.uuid}'" in inventory
    smbios = (root / "sys/class/dmi/id/product_uuid").read_text().strip()
    assert str(uuid.UUID(smbios)) == smbios != machine.uuid
    assert " aes" in (root / "proc/cpuinfo").read_text()
    (variable,) = (root / "sys/firmware/efi/efivars").iterdir()
    assert variable.name.startswith("SecureBoot-") and variable.read_bytes() == b"\x06\0\0\0\0"


def test_the_tree_of_a_txt_host(made: Path) -> None:
    root = made / "txt/root"
    assert not (root / "sys/firmware/efi").exists()
    assert " smx" in (root / "proc/cpuinfo").read_text()
    assert config(Machine.load(made / "txt"))["asset_tag_pcr"] == "22"


def test_the_config(made: Path) -> None:
    machine = Machine.load(made / "uefi")
    path = machine.root / "opt/xensource/tpm/config"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    password = "dda779d83724f080ebfc83816ebebb6f8843b642"  # printf %s xenroot | sha1sum
    assert config(machine) == {"password": password, "tcti": machine.tcti, "asset_tag_pcr": "15"}


def test_the_plugin_is_run_by_this_interpreter(made: Path) -> None:
    machine = Machine.load(made / "uefi")
    done = subprocess.run([machine.plugin_path, "<xml/>"], capture_output=True, text=True, check=True, env={})
    assert done.stdout == f"{[str(machine.plugin_path), '<xml/>']} 1\n"


def test_an_interpreter_whose_path_the_kernel_does_not_take(
    made: Path, plugin: Path, short_dir: Path
) -> None:
    python = short_dir / "a b" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    shutil.copytree(made / "uefi", short_dir / "host", symlinks=True)
    machine = Machine.load(short_dir / "host", python=str(python))
    done = subprocess.run([machine.plugin_path, "x"], capture_output=True, text=True, check=True, env={})
    assert done.stdout == f"{[str(machine.plugin_path), 'x']} 1\n"


def test_power(host: Host) -> None:
    machine = host()
    pid = machine.tpm.pid
    machine.power_on()
    assert machine.powered and machine.tpm.pid == pid
    machine.power_off()
    machine.power_off()
    assert not machine.powered
    machine.reboot()
    assert machine.powered


def test_a_host_is_found_again(host: Host) -> None:
    machine = host()
    machine.edit("xen-cmdline", append="watchdog")
    before = ek_certificate(machine)
    machine.power_off()
    again = Machine.load(machine.directory)
    again.power_on()
    try:
        assert (again.name, again.uuid, again.txt) == (machine.name, machine.uuid, machine.txt)
        assert ek_certificate(again) == before
        assert again.command_line("xen-cmdline").endswith(" watchdog")
    finally:
        again.power_off()


def test_a_moved_directory_gets_its_new_address(host: Host, tmp_path: Path) -> None:
    machine = host()
    machine.power_off()
    shutil.move(machine.directory, tmp_path / "moved")
    moved = Machine.load(tmp_path / "moved")
    assert config(moved)["tcti"] == moved.tcti != machine.tcti


def test_an_address_of_another_kind_is_kept(host: Host) -> None:
    machine = host()
    path = machine.root / "opt/xensource/tpm/config"
    path.write_text(path.read_text().replace(f"tcti={machine.tcti}", "tcti=device:/dev/none"))
    machine.power_off()
    assert config(Machine.load(machine.directory))["tcti"] == "device:/dev/none"


@pytest.mark.parametrize("running", [True, False])
def test_replace_tpm(host: Host, running: bool) -> None:
    machine = host()
    before = ek_certificate(machine)
    if not running:
        machine.power_off()
    machine.replace_tpm()
    assert machine.powered is running
    machine.power_on()
    assert ek_certificate(machine) != before
    assert sorted(path.name for path in machine.directory.iterdir()) == ["machine.json", "root", "tpm"]


def test_a_tpm_that_cannot_be_replaced_is_kept(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = host()
    before = ek_certificate(machine)
    monkeypatch.setattr("xentpm_lib.simulator.swtpm_manufacture._SETUP_CONFIG", "nothing = {work}{localca}\n")
    with pytest.raises(UsageError, match="swtpm_setup failed"):
        machine.replace_tpm()
    assert machine.powered and ek_certificate(machine) == before


def test_the_boot_time_unit_may_fail(host: Host, tmp_path: Path) -> None:
    machine = host()
    machine.power_off()
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@" >&2\nenv >&2\nexit 7\n')
    python.chmod(0o755)
    again = Machine.load(machine.directory, python=str(python))
    again.power_on()
    try:
        report = again.boot_report
        assert report is not None and again.powered
        assert report.exit_status == 7 and not report.ok
        wanted = f"-m xentpm_lib.host.cli --config {again.root}/opt/xensource/tpm/config --boot\n"
        assert report.stderr.startswith(wanted)
        assert f"PYTHONPATH={again.root}/opt/xensource/tpm/lib\n" in report.stderr
    finally:
        again.power_off()


def test_a_boot_time_unit_that_hangs_is_killed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    monkeypatch.setattr(boot_unit, "LIMIT_S", 0.2)
    assert boot_unit.run_boot_unit(tmp_path, str(python)) == (-9, "")


def test_edit_a_file(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "uefi", tmp_path / "host", symlinks=True)
    machine = Machine.load(tmp_path / "host")
    path = machine.root / "boot/initrd-4.19-xen.img"
    machine.edit("initrd", content=b"\xff\0")
    machine.edit("initrd", append="é")
    machine.edit("initrd")
    assert path.read_bytes() == b"\xff\0" + "éedited".encode()
    machine.edit("initrd", content=b"")
    assert path.read_bytes() == b""


def test_edit_a_command_line(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "txt", tmp_path / "host", symlinks=True)
    machine = Machine.load(tmp_path / "host")
    kernel = machine.command_line("kernel-cmdline")
    machine.edit("xen-cmdline", content="")
    assert machine.command_line("xen-cmdline") == ""
    machine.edit("xen-cmdline", append=b"a=\xc3\xa9")
    machine.edit("xen-cmdline", append="  b ")
    assert machine.command_line("xen-cmdline") == "a=é b"
    assert machine.command_line("kernel-cmdline") == kernel


def test_edits_that_cannot_be(made: Path) -> None:
    machine = Machine.load(made / "uefi")
    with pytest.raises(UsageError, match="no component 'grub'") as caught:
        machine.edit("grub")
    assert all(name in caught.value.hint for name in machine.components())
    with pytest.raises(UsageError, match="either"):
        machine.edit("xen", content="a", append="b")
    for text in ("a\nb", "a;b", "$x", "'", '"', "#", "\\", "{", "a\0"):
        with pytest.raises(UsageError, match="command line"):
            machine.edit("xen-cmdline", append=text)
    with pytest.raises(UsageError, match="UTF-8"):
        machine.edit("xen-cmdline", append=b"\xff")
    with pytest.raises(UsageError, match="no command line"):
        machine.command_line("xen")


def test_create_refuses(made: Path, plugin: Path, tmp_path: Path) -> None:
    def create(name: str = "n", directory: Path = tmp_path / "new", **options: object) -> None:
        Machine.create(directory, name, **{"plugin_source": plugin, **options})  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="not empty"):
        create(directory=made)
    for name in ("", "a" * 64, "a/b", "a\nb"):
        with pytest.raises(UsageError, match="host's name"):
            create(name)
    with pytest.raises(UsageError, match="no UUID"):
        create(uuid="1234")
    with pytest.raises(UsageError, match="cannot be executed"):
        create(python=str(tmp_path / "none"))
    with pytest.raises(UsageError, match="cannot read the plugin"):
        create(plugin_source=tmp_path / "none")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        create(directory=tmp_path / "file" / "new")


def test_load_refuses(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no simulated machine"):
        Machine.load(tmp_path)
    shutil.copytree(made / "uefi", tmp_path / "host", symlinks=True)
    record = tmp_path / "host/machine.json"
    good = record.read_text()
    for bad in ("", "[]", "{}", good.replace("false", '"no"'), good.replace('"name"', '"nome"'), "\udcff"):
        record.write_bytes(bad.encode("utf-8", "surrogateescape"))
        with pytest.raises(FormatError):
            Machine.load(tmp_path / "host")


def test_a_host_that_another_simulator_runs(host: Host) -> None:
    machine = host()
    other = Machine.load(machine.directory)
    with pytest.raises(UsageError, match="already running"):
        other.power_on()
    other.power_off()
    assert machine.powered and ek_certificate(machine)


def test_many_at_once(plugin: Path, short_dir: Path) -> None:
    def create(number: int) -> Machine:
        place = short_dir / f"é {number}"
        return Machine.create(place, f"host{number}", ca_dir=short_dir / "ca", plugin_source=plugin)

    before = threading.active_count()
    with ThreadPoolExecutor(4) as pool:
        machines = list(pool.map(create, range(6)))
        list(pool.map(Machine.power_on, machines))
        assert len({ek_certificate(machine) for machine in machines}) == 6
        assert {machine.ca_dir for machine in machines} == {short_dir / "ca"}
        list(pool.map(Machine.reboot, machines))
        list(pool.map(Machine.power_off, machines))
    assert threading.active_count() <= before + 1  # the one that starts processes


def test_reboots_from_many_threads(host: Host) -> None:
    machine = host()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: machine.reboot(), range(16)))
    assert machine.powered and ek_certificate(machine)


def test_a_full_disk_keeps_the_old_component(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "uefi", tmp_path / "host", symlinks=True)
    machine = Machine.load(tmp_path / "host")
    path = machine.root / "boot/xen.gz"
    before = path.read_bytes()
    path.with_name("xen.gz.new").symlink_to("/dev/full")
    with pytest.raises(UsageError, match="No space left"):
        machine.edit("xen")
    assert path.read_bytes() == before
