#!/usr/bin/env python3
"""Make the vectors in this directory again, with the project's builder and tpm2-tools. See README.md.

Run it from the top of the source tree: ``python3 -m tests.vectors.event_logs.make`` or with
``PYTHONPATH`` set to it.
"""

import hashlib
import os
import subprocess

from xentpm_lib.evidence.event_log import Event, EventLog, build_event_log

HERE = os.path.dirname(os.path.abspath(__file__))
BANKS = {"sha1": 20, "sha256": 32}
MEASURED = (
    (0, 0x00000008, "1.0\0".encode("utf-16-le")),
    (0, 0x80000008, bytes(16)),
    (7, 0x80000001, bytes(16) + (10).to_bytes(8, "little") + bytes(8) + "SecureBoot".encode("utf-16-le")),
    (4, 0x80000007, b"Calling EFI Application from Boot Option"),
    (0, 0x00000004, bytes(4)),
    (7, 0x00000004, bytes(4)),
    (8, 0x0000000D, b"grub_cmd: multiboot2 /boot/xen.gz\0"),
    (9, 0x0000000D, b"/boot/xen.gz\0"),
)


def events(banks):
    return tuple(
        Event(pcr, kind, {bank: hashlib.new(bank, data).digest() for bank in banks}, data)
        for pcr, kind, data in MEASURED
    )


def make(name, log):
    """Write a log, and what tpm2_eventlog reads in it."""
    path = os.path.join(HERE, name)
    with open(path + ".bin", "wb") as stream:
        stream.write(build_event_log(log))
    with open(path + ".yaml", "wb") as stream:
        subprocess.run(["tpm2_eventlog", path + ".bin"], check=True, stdout=stream)


if __name__ == "__main__":
    locality = Event(0, 3, {bank: bytes(size) for bank, size in BANKS.items()}, b"StartupLocality\0\3")
    make("crypto_agile", EventLog(BANKS, events(BANKS)))
    make("locality_3", EventLog(BANKS, (locality,) + events(BANKS)))
    make("sha1_only", EventLog({"sha1": 20}, events(["sha1"]), crypto_agile=False))
