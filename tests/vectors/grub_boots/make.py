"""Boot GRUB in QEMU from a disk with the files of each case, and write down what the TPM was extended with.

    PYTHONPATH=. python3 tests/vectors/grub_boots/make.py [CASE]...

Needs qemu-system-x86, ovmf, swtpm, grub-efi-amd64-bin, grub-common, mtools, and Debian's Xen package where a
case boots Xen. A boot takes 10 to 30 seconds without KVM. No kernel runs: GRUB measures before it hands over.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
OVMF = Path("/usr/share/OVMF")
MODULES = Path("/usr/lib/grub/x86_64-efi")
SECTOR, START, END = 512, 2048, 2048 + 63 * 2048
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
SECONDS = 150
STANDARD = (
    "tpm gzio multiboot2 part_gpt fat normal serial search search_label search_fs_uuid search_fs_file linux"
    " test loadenv configfile echo boot true minicmd"
)


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def gpt(disk, number):
    """Write a GUID partition table whose only partition has this number (1 to 128)."""
    sectors = disk.stat().st_size // SECTOR
    entries = bytearray(128 * 128)
    name = "EFI".encode("utf-16-le").ljust(72, b"\0")
    entries[(number - 1) * 128 : number * 128] = (
        EFI_SYSTEM.bytes_le + uuid.UUID(int=number).bytes_le + struct.pack("<QQQ", START, END - 1, 0) + name
    )

    def header(at, other, table):
        fields = struct.pack("<QQQQ", at, other, 34, sectors - 34) + uuid.UUID(int=99).bytes_le
        fields += struct.pack("<QIII", table, 128, 128, zlib.crc32(bytes(entries)))
        start = b"EFI PART" + struct.pack("<II", 0x10000, 92)
        crc = zlib.crc32(start + bytes(8) + fields)
        return (start + struct.pack("<II", crc, 0) + fields).ljust(SECTOR, b"\0")

    protective = bytearray(SECTOR)
    protective[446:462] = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, sectors - 1)
    protective[510:] = b"\x55\xaa"
    with disk.open("r+b") as file:
        file.write(protective + header(1, sectors - 1, 2) + entries)
        file.seek((sectors - 33) * SECTOR)
        file.write(entries + header(sectors - 1, 1, sectors - 33))


def linux_stub():
    """What GRUB takes for a Linux kernel; it cannot run."""
    image = bytearray(64 * 1024)
    image[0x1F1] = 4  # setup sectors
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, 0x020C)
    image[0x211] = 1  # loaded high
    struct.pack_into("<I", image, 0x230, 0x200000)  # alignment
    image[0x234] = 1
    image[0x235] = 21
    struct.pack_into("<H", image, 0x236, 3)
    struct.pack_into("<I", image, 0x238, 2047)  # longest command line
    struct.pack_into("<Q", image, 0x258, 0x1000000)
    struct.pack_into("<I", image, 0x260, 0x200000)
    struct.pack_into("<I", image, 0x22C, 0x7FFFFFFF)
    struct.pack_into("<I", image, 0x1F4, (64 * 1024 - 5 * 512) // 16)
    return bytes(image)


def content(source):
    """A case's file: its text, ``@linux``, ``@noise NAME SIZE``, ``@host PATH`` or ``@module NAME``."""
    if not source.startswith("@"):
        return source.encode("latin-1")
    kind, *rest = source[1:].split()
    if kind == "linux":
        return linux_stub()
    if kind == "noise":
        return hashlib.shake_128(rest[0].encode()).digest(int(rest[1]))
    return (Path(rest[0]) if kind == "host" else MODULES / rest[0]).read_bytes()


def needs(source):
    """The modules that a module needs, in the order in which it names them; None for another file."""
    name = source.split()[-1][: -len(".mod")]
    if not source.startswith("@module") or not source.endswith(".mod"):
        return None
    data = content(source)
    names = dict(line.split(":") for line in (MODULES / "moddep.lst").read_text().splitlines())[name].split()
    return sorted(names, key=lambda one: data.find(one.encode() + b"\0"))


def image(case, target, work):
    """The GRUB image of a case, made by grub-mkimage."""
    words = case.get("modules", STANDARD).split()
    options = []
    if "embedded" in case:
        (work / "embedded.cfg").write_text(case["embedded"])
        options = ["-c", work / "embedded.cfg"]
    run(
        "grub-mkimage",
        "-O",
        "x86_64-efi",
        "-p",
        case.get("prefix", "/EFI/xenserver"),
        *options,
        "-o",
        target,
        *words,
    )


def listing(source):
    """A list of modules as it is; None for another file."""
    return content(source).decode() if source.startswith("@module") and source.endswith(".lst") else None


def image_modules(case):
    """The modules in the image: those that were asked for, and what they need."""
    lists = {
        name: rest.split()
        for name, _, rest in (
            line.partition(":") for line in (MODULES / "moddep.lst").read_text().splitlines()
        )
    }
    found, left = [], case.get("modules", STANDARD).split()
    while left:
        name = left.pop()
        if name not in found:
            found.append(name)
            left += lists.get(name, [])
    return sorted(found)


def build(case, work):
    disk = work / "disk.img"
    with disk.open("wb") as file:
        file.truncate((END + 2048) * SECTOR)
    gpt(disk, case.get("partition", 4))
    fat = "{}@@{}".format(disk, START * SECTOR)
    run("mformat", "-i", fat, "-T", END - START, "-v", "ROOT-XYZ", "-N", "0abc1234", "-F", "::")
    image(case, work / "BOOTX64.EFI", work)
    files = {"/EFI/BOOT/BOOTX64.EFI": (work / "BOOTX64.EFI").read_bytes()}
    files.update((path, content(source)) for path, source in case["files"].items())
    for path, data in files.items():
        folders = path.strip("/").split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            subprocess.run(
                ["mmd", "-i", fat, "-D", "s", "::/" + "/".join(folders[:depth])], stderr=subprocess.DEVNULL
            )
        (work / "file").write_bytes(data)
        run("mcopy", "-o", "-i", fat, work / "file", "::" + path)
    return disk, files["/EFI/BOOT/BOOTX64.EFI"]


def tpm_command(channel, code, parameters, sessions=False):
    body = struct.pack(">HII", 0x8002 if sessions else 0x8001, 10 + len(parameters), code) + parameters
    channel.sendall(body)
    return channel.recv(4096)


def read_pcrs(control):
    """PCR 8 and 9 of both banks, read from the TPM after the machine was stopped: it runs on by itself."""
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(control))
        link.sendmsg(
            [struct.pack(">I", 0x10)],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", theirs.fileno()))],
        )
        link.recv(64)
        values = {}
        for name, tpm_id, size in (("sha1", 4, 20), ("sha256", 11, 32)):
            selection = struct.pack(">IHB3B", 1, tpm_id, 3, 0, 3, 0)
            answer = tpm_command(ours, 0x17E, selection)
            assert answer[6:10] == bytes(4), answer.hex()
            at = 10 + 4 + 4 + 6 + 4
            values[name] = [
                answer[at + 2 + i * (2 + size) : at + (i + 1) * (2 + size)].hex() for i in range(2)
            ]
        return {bank: {"8": pair[0], "9": pair[1]} for bank, pair in values.items()}


def extends(log):
    """Every digest that PCR 8 and 9 were extended with: from swtpm's log of the commands that reached it."""
    data, found, inside = b"", [], False
    for line in log.read_text(errors="replace").splitlines():
        words = line.split()
        if "SWTPM_IO_Read:" in line or "SWTPM_IO_Write:" in line or "Ctrl" in line:
            found.append(data) if inside else None
            data, inside = b"", "SWTPM_IO_Read:" in line
        elif inside and words and all(len(word) == 2 for word in words):
            data += bytes.fromhex("".join(words))
    found.append(data)
    for command in found:
        if len(command) > 14 and command[6:10] == b"\x00\x00\x01\x82":
            pcr = struct.unpack(">I", command[10:14])[0]
            at = 14 + 4 + struct.unpack(">I", command[14:18])[0]
            count, at = struct.unpack(">I", command[at : at + 4])[0], at + 4
            digests = {}
            for _ in range(count):
                size = {4: 20, 11: 32, 12: 48, 13: 64}[struct.unpack(">H", command[at : at + 2])[0]]
                digests[size] = command[at + 2 : at + 2 + size].hex()
                at += 2 + size
            if pcr in (8, 9):
                yield {"pcr": pcr, "sha1": digests[20], "sha256": digests[32]}


def boot(case, work):
    disk, grub = build(case, work)
    state, control, log = work / "tpm", work / "control", work / "swtpm.log"
    state.mkdir()
    run("swtpm_setup", "--tpm2", "--tpmstate", state, "--pcr-banks", "sha1,sha256")
    tpm = subprocess.Popen(
        [
            "swtpm",
            "socket",
            "--tpm2",
            "--tpmstate",
            "dir={}".format(state),
            "--ctrl",
            "type=unixio,path={}".format(control),
        ]
        + ["--log", "file={},level=20".format(log), "--flags", "not-need-init"]
    )
    while not control.exists():
        time.sleep(0.05)
    shutil.copy(OVMF / "OVMF_VARS_4M.fd", work / "vars.fd")
    serial = work / "serial.log"
    machine = subprocess.Popen(
        [
            "qemu-system-x86_64",
            "-machine",
            "q35",
            "-accel",
            "tcg",
            "-cpu",
            "Westmere",
            "-m",
            "512",
            "-display",
            "none",
        ]
        + ["-drive", "if=pflash,format=raw,readonly=on,file={}".format(OVMF / "OVMF_CODE_4M.fd")]
        + ["-drive", "if=pflash,format=raw,file={}".format(work / "vars.fd")]
        + ["-chardev", "socket,id=tpm,path={}".format(control), "-tpmdev", "emulator,id=tpm,chardev=tpm"]
        + [
            "-device",
            "tpm-crb,tpmdev=tpm",
            "-drive",
            "format=raw,file={}".format(disk),
            "-net",
            "none",
            "-no-reboot",
            "-no-shutdown",
        ]
        + ["-serial", "file:{}".format(serial), "-monitor", "none"],
        stdin=subprocess.DEVNULL,
    )
    try:
        wait_for_end(case, machine, serial)
        machine.send_signal(signal.SIGKILL)
        machine.wait()
        return {
            "pcrs": read_pcrs(control),
            "events": list(extends(log)),
            "modules": image_modules(case),
            "image_sha256": hashlib.sha256(grub).hexdigest(),
        }
    finally:
        machine.kill()
        tpm.terminate()
        tpm.wait()


def wait_for_end(case, machine, serial):
    """GRUB's last word is on the console: ``XENTPM-END``, or what the case says; then a moment more."""
    end = time.monotonic() + SECONDS
    while machine.poll() is None and time.monotonic() < end:
        time.sleep(0.3)
        if serial.exists() and case.get("end", "XENTPM-END").encode() in serial.read_bytes():
            time.sleep(1)
            return
    raise SystemExit("it did not end: {}".format(serial.read_text(errors="replace")[-3000:]))


def main():
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("cases/*.json"))
    for name in names:
        case = json.loads((HERE / "cases" / (name + ".json")).read_text())
        with tempfile.TemporaryDirectory() as work:
            result = boot(case, Path(work))
        result["files"] = {
            path: {"size": len(content(source)), "sha1": hashlib.sha1(content(source)).hexdigest()}
            | {
                "sha256": hashlib.sha256(content(source)).hexdigest(),
                "needs": needs(source),
                "text": listing(source),
            }
            for path, source in case["files"].items()
            if source.startswith(("@host", "@module", "@linux"))
        }
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / (name + ".json")).write_text(json.dumps(result, indent=1) + "\n")
        print(name, len(result["events"]), result["pcrs"]["sha256"])


if __name__ == "__main__":
    os.umask(0o022)
    main()
