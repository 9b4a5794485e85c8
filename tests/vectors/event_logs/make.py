#!/usr/bin/env python3
"""Make the vectors in this directory again, with the project's builder, swtpm and tpm2-tools. See README.md.

Run it with the top of the source tree in ``PYTHONPATH``.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time

from xentpm_lib.evidence.event_log import Event, EventLog, build_event_log
from xentpm_lib.evidence.event_types import EV_NO_ACTION

HERE = os.path.dirname(os.path.abspath(__file__))
BANKS = {"sha1": 20, "sha256": 32}
STARTUP_CLEAR = bytes.fromhex("80010000000c000001440000")  # TPM2_Startup(TPM_SU_CLEAR)
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


def extend_a_tpm(log, locality):
    """What a TPM's PCRs hold that was started from ``locality`` and extended as ``log`` says."""
    state = tempfile.mkdtemp(prefix="eventlog")  # short: a socket's path has to fit into 108 bytes
    path = os.path.join(state, "tpm.sock")
    server = ["--server", "type=unixio,path=" + path, "--ctrl", "type=unixio,path={}.ctrl".format(path)]
    tpm = ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + state, "--flags", "not-need-init"]
    process = subprocess.Popen(tpm + server, stderr=subprocess.DEVNULL)
    try:
        while not os.path.exists(path + ".ctrl"):
            time.sleep(0.05)
        subprocess.run(["swtpm_ioctl", "--unix", path + ".ctrl", "-l", str(locality)], check=True)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(STARTUP_CLEAR)
            assert connection.recv(10).endswith(bytes(4))
        environment = dict(os.environ, TPM2TOOLS_TCTI="swtpm:path=" + path, TSS2_LOG="all+none")
        for event in log.events:
            if event.type != EV_NO_ACTION:
                digests = ["{}={}".format(bank, digest.hex()) for bank, digest in event.digests.items()]
                extend = ["tpm2_pcrextend", "{}:{}".format(event.pcr, ",".join(digests))]
                subprocess.run(extend, check=True, env=environment)
        selection = "+".join(bank + ":0,1,4,7,8,9" for bank in log.banks)
        read = ["tpm2_pcrread", selection]
        return subprocess.run(read, check=True, env=environment, stdout=subprocess.PIPE).stdout
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(state)


def make(name, log, locality=0):
    """Write a log, what tpm2_eventlog reads in it, and what a TPM's PCRs hold after it."""
    path = os.path.join(HERE, name)
    with open(path + ".bin", "wb") as stream:
        stream.write(build_event_log(log))
    with open(path + ".yaml", "wb") as stream:
        subprocess.run(["tpm2_eventlog", path + ".bin"], check=True, stdout=stream)
    with open(path + ".pcrs", "wb") as stream:
        stream.write(extend_a_tpm(log, locality))


if __name__ == "__main__":
    locality = Event(0, 3, {bank: bytes(size) for bank, size in BANKS.items()}, b"StartupLocality\0\3")
    make("crypto_agile", EventLog(BANKS, events(BANKS)))
    make("locality_3", EventLog(BANKS, (locality,) + events(BANKS)), locality=3)
    make("sha1_only", EventLog({"sha1": 20}, events(["sha1"]), crypto_agile=False))
