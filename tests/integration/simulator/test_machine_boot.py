"""What a simulated host's boot puts into the PCRs of a real software TPM."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.evidence.event_log import parse_event_log
from xentpm_lib.evidence.pcr import replay, start_values
from xentpm_lib.simulator import tpm_wire
from xentpm_lib.simulator.boot import EVENT_LOG
from xentpm_lib.simulator.machine import Machine
from xentpm_lib.simulator.measurement import BANKS

Host = Callable[..., Machine]
Pcrs = dict[tuple[str, int], bytes]
TAG_INDEX = 0x01C10110


def pcrs(machine: Machine) -> Pcrs:
    return {(bank, pcr): machine.tpm.read_pcr(bank, pcr) for bank in BANKS for pcr in range(24)}


def changed(before: Pcrs, after: Pcrs) -> set[int]:
    """The PCRs that differ; they have to differ in every bank."""
    by_bank = [{pcr for pcr in range(24) if before[bank, pcr] != after[bank, pcr]} for bank in BANKS]
    assert by_bank[0] == by_bank[1]
    return by_bank[0]


@pytest.mark.parametrize("kind", ["uefi", "txt"])
@pytest.mark.parametrize("bank", BANKS)
def test_what_was_recorded_replays(host: Host, kind: str, bank: str) -> None:
    machine = host(kind)
    report = machine.boot_report
    assert report is not None
    events = [(item.pcr, item.digests[bank]) for item in report.measurements]
    expected = replay(bank, events, start_values(bank, dynamic_launch=machine.txt))
    assert {pcr: machine.tpm.read_pcr(bank, pcr) for pcr in range(24)} == expected


@pytest.mark.parametrize("kind", ["uefi", "txt"])
@pytest.mark.parametrize("bank", BANKS)
def test_the_event_log_replays(host: Host, kind: str, bank: str) -> None:
    machine = host(kind)
    log = parse_event_log((machine.root / EVENT_LOG).read_bytes())
    expected = log.replay(bank)
    assert [machine.tpm.read_pcr(bank, pcr) for pcr in range(17)] == [expected[pcr] for pcr in range(17)]


@pytest.mark.parametrize("kind", ["uefi", "txt"])
def test_a_reboot_measures_the_same(host: Host, kind: str) -> None:
    machine = host(kind)
    before = pcrs(machine)
    machine.reboot()
    assert pcrs(machine) == before


@pytest.mark.parametrize(
    ("kind", "component", "expected"),
    [
        ("uefi", "firmware", {0}),
        ("uefi", "boot-loader", {4}),
        ("uefi", "xen", {9}),
        ("uefi", "kernel", {9}),
        ("uefi", "initrd", {9}),
        ("uefi", "xen-cmdline", {8, 9}),
        ("uefi", "kernel-cmdline", {8, 9}),
        ("txt", "firmware", {0}),
        ("txt", "boot-loader", {4}),
        ("txt", "xen", {18}),
        ("txt", "kernel", {19}),
        ("txt", "initrd", {19}),
        ("txt", "xen-cmdline", {18}),
        ("txt", "kernel-cmdline", {19}),
    ],
)
def test_an_edit_changes_its_pcrs_and_no_others(
    host: Host, kind: str, component: str, expected: set[int]
) -> None:
    machine = host(kind)
    before = pcrs(machine)
    machine.edit(component)
    assert pcrs(machine) == before
    machine.reboot()
    assert changed(before, pcrs(machine)) == expected


def test_an_edit_undone_is_as_before(host: Host) -> None:
    machine = host()
    before = pcrs(machine)
    old = machine.command_line("kernel-cmdline")
    machine.edit("kernel-cmdline", content="init=/bin/sh")
    machine.reboot()
    assert changed(before, pcrs(machine)) == {8, 9}
    machine.edit("kernel-cmdline", content=old)
    machine.reboot()
    assert pcrs(machine) == before


def test_uefi_host_has_no_dynamic_launch(host: Host) -> None:
    machine = host()
    ones = {b"\xff" * 20, b"\xff" * 32}
    assert {value for (_, pcr), value in pcrs(machine).items() if 17 <= pcr <= 22} == ones
    assert all(any(machine.tpm.read_pcr("sha256", pcr)) for pcr in range(10) if pcr not in (3,))


def test_txt_host_measures_nothing_in_grub(host: Host) -> None:
    machine = host("txt")
    assert machine.tpm.read_pcr("sha256", 8) == machine.tpm.read_pcr("sha256", 9) == bytes(32)
    assert any(machine.tpm.read_pcr("sha256", 17)) and any(machine.tpm.read_pcr("sha256", 19))
    assert machine.tpm.read_pcr("sha256", 22) == bytes(32)


@pytest.mark.parametrize("size", [20, 32, 48])
def test_asset_tag_in_pcr_22(host: Host, size: int) -> None:
    machine = host("txt")
    tag = bytes(range(1, size + 1))
    write_tag(machine, tag)
    assert machine.tpm.read_pcr("sha256", 22) == bytes(32)
    machine.reboot()
    for bank, length in (("sha1", 20), ("sha256", 32)):
        value = tag if size == length else hashlib.new(bank, tag).digest()
        assert machine.tpm.read_pcr(bank, 22) == hashlib.new(bank, bytes(length) + value).digest()


def test_a_tag_that_was_never_written_is_none(host: Host) -> None:
    machine = host("txt")
    define_tag(machine, 20)
    machine.reboot()
    assert machine.tpm.read_pcr("sha256", 22) == bytes(32)


def test_hosts_differ_where_real_ones_do(host: Host, made) -> None:
    one, other = host("uefi"), Machine.load(made / "txt")
    assert one.uuid != other.uuid
    tables = [(machine.root / "sys/class/dmi/id/product_serial").read_text() for machine in (one, other)]
    assert tables[0] != tables[1]


def test_no_event_log_when_not_wanted(made, plugin, tmp_path) -> None:
    machine = Machine.create(
        tmp_path / "host", "host", event_log=False, ca_dir=made / "ca", plugin_source=plugin
    )
    machine.power_on()
    assert not (machine.root / EVENT_LOG).exists()
    assert not (machine.root / EVENT_LOG).parent.exists()
    machine.power_off()


def test_a_file_that_is_missing_stops_the_boot(host: Host) -> None:
    machine = host()
    machine.power_off()
    (machine.root / "boot/xen.gz").unlink()
    with pytest.raises(UsageError, match="boot loader cannot read"):
        machine.power_on()
    assert not machine.powered
    (machine.root / "boot/firmware/firmware.bin").unlink()
    with pytest.raises(UsageError, match="does not boot"):
        machine.power_on()


def test_a_grub_cfg_that_is_not_understood_stops_the_boot(host: Host) -> None:
    machine = host()
    config = machine.root / "boot/efi/EFI/xenserver/grub.cfg"
    config.write_text("if true; then\n" + config.read_text())
    with pytest.raises(FormatError, match="line 1"):
        machine.reboot()
    assert not machine.powered


def define_tag(machine: Machine, size: int) -> None:
    """Define the tag's index: OWNERWRITE, OWNERREAD, AUTHREAD, NO_DA."""
    attributes = (1 << 1) | (1 << 17) | (1 << 18) | (1 << 25)
    public = TAG_INDEX.to_bytes(4, "big") + b"\0\x0b" + attributes.to_bytes(4, "big") + b"\0\0"
    public += size.to_bytes(2, "big")
    parameters = b"\0\0" + len(public).to_bytes(2, "big") + public
    machine.tpm.run("define", authorised(machine, 0x12A, b"", parameters))


def write_tag(machine: Machine, tag: bytes) -> None:
    define_tag(machine, len(tag))
    parameters = len(tag).to_bytes(2, "big") + tag + b"\0\0"
    machine.tpm.run("write", authorised(machine, 0x137, TAG_INDEX.to_bytes(4, "big"), parameters))


def authorised(machine: Machine, code: int, handle: bytes, parameters: bytes) -> bytes:
    """A command authorised by the owner: by the password where the boot-time unit set it."""
    owner = b"\x40\x00\x00\x01"
    report = machine.boot_report
    assert report is not None
    auth = hashlib.sha1(b"xenroot").digest() if report.ok else b""
    area = b"\x40\x00\x00\x09\0\0\0" + len(auth).to_bytes(2, "big") + auth
    body = owner + handle + len(area).to_bytes(4, "big") + area + parameters
    return (
        b"\x80\x02" + (tpm_wire.HEADER_SIZE + len(body)).to_bytes(4, "big") + code.to_bytes(4, "big") + body
    )
