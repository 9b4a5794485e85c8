"""One boot: firmware and boot loader measure into the TPM, and leave an event log."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from xentpm_lib.errors import UsageError
from xentpm_lib.evidence.algorithms import digest_size
from xentpm_lib.evidence.event_log import Event, EventLog, build_event_log
from xentpm_lib.simulator import grub
from xentpm_lib.simulator.boot_files import BootFiles, disk_guid
from xentpm_lib.simulator.firmware import FirmwareView, after_boot_loader, legacy_boot, uefi_boot
from xentpm_lib.simulator.launch import dynamic_launch
from xentpm_lib.simulator.measurement import BANKS, Measurement
from xentpm_lib.simulator.swtpm import Swtpm

__all__ = ["EVENT_LOG", "event_log", "measured_boot", "write_event_log"]

EVENT_LOG = "sys/kernel/security/tpm0/binary_bios_measurements"


def measured_boot(tpm: Swtpm, files: BootFiles, host: str) -> list[Measurement]:
    """Boot the host of this uuid: extend the PCRs of ``tpm``, which was just started.

    With ``files.txt`` a BIOS starts a GRUB that measures nothing, and tboot launches Xen; else UEFI
    firmware starts a GRUB that does.
    Raises: UsageError or FormatError when the host cannot boot from its files, TpmError.
    """
    view = _firmware_view(files, host)
    run = grub.run(files.config_path, files.read)
    if files.txt:
        measured = _extend(tpm, legacy_boot(view))
        return measured + dynamic_launch(tpm, run.modules)
    return _extend(tpm, uefi_boot(view) + run.measurements + after_boot_loader())


def event_log(measurements: Iterable[Measurement]) -> bytes:
    """Return the crypto-agile log as firmware keeps it: without what a dynamic launch measured."""
    events = [
        Event(item.pcr, item.event_type, item.digests, item.data)
        for item in measurements
        if item.locality == 0
    ]
    return build_event_log(EventLog({bank: digest_size(bank) for bank in BANKS}, tuple(events)))


def write_event_log(root: Path, measurements: Iterable[Measurement] | None) -> None:
    """Show the log where Linux does, or none for None. Raises: OSError."""
    path = root / EVENT_LOG
    path.unlink(missing_ok=True)
    if measurements is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(event_log(measurements))
    elif path.parent.is_dir():
        path.parent.rmdir()


def _firmware_view(files: BootFiles, host: str) -> FirmwareView:
    firmware, loader = files.file("firmware"), files.file("boot-loader")
    try:
        return FirmwareView.of(files.root, firmware, loader, files.boot_loader_path, disk_guid(host))
    except OSError as error:
        raise UsageError(f"the host does not boot: {error.filename}: {error.strerror}") from error


def _extend(tpm: Swtpm, measurements: list[Measurement]) -> list[Measurement]:
    for measurement in measurements:
        tpm.extend(measurement.pcr, measurement.digests, measurement.locality)
    return measurements
