"""What simulated firmware measures, event by event."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from xentpm_lib.simulator.firmware import FirmwareView, after_boot_loader, legacy_boot, uefi_boot
from xentpm_lib.simulator.measurement import Measurement

VIEW = FirmwareView(
    firmware=b"firmware 1.0\nvolume",
    settings=b"serial 1",
    disk=uuid.UUID(int=1),
    boot_loader=b"grub",
    boot_loader_path="/EFI/xenserver/grubx64.efi",
    secure_boot=False,
)
SEPARATOR = 4


def differing(one: list[Measurement], other: list[Measurement]) -> set[int]:
    return {a.pcr for a, b in zip(one, other, strict=True) if a.digests != b.digests}


@pytest.mark.parametrize("boot", [uefi_boot, legacy_boot])
def test_one_separator_in_each_of_pcr_0_to_7(boot) -> None:
    assert [item.pcr for item in boot(VIEW) if item.event_type == SEPARATOR] == list(range(8))


@pytest.mark.parametrize("boot", [uefi_boot, legacy_boot])
def test_the_boot_loader_comes_after_the_separators(boot) -> None:
    types = [item.event_type for item in boot(VIEW)]
    assert types.index(SEPARATOR) < len(types) - 2 and SEPARATOR not in types[-2:]


@pytest.mark.parametrize(
    ("change", "pcrs"),
    [
        ({"firmware": b"firmware 1.0\nother"}, {0}),
        ({"settings": b"serial 2"}, {1}),
        ({"boot_loader": b"other"}, {4}),
        ({"disk": uuid.UUID(int=2)}, {5}),
        ({"secure_boot": True}, {7}),
    ],
)
def test_each_part_has_its_pcr(change, pcrs) -> None:
    assert differing(uefi_boot(VIEW), uefi_boot(replace(VIEW, **change))) == pcrs


def test_the_version_is_an_event_of_its_own() -> None:
    version = uefi_boot(VIEW)[0]
    assert version.data.decode("utf-16-le") == "firmware 1.0\0"


def test_leaving_boot_services() -> None:
    assert [item.pcr for item in after_boot_loader()] == [5, 5]
