"""The legacy variant: SeaBIOS, GRUB, and the menu entry that ``xentpm-boot enable`` writes for tboot.

QEMU has no SMX, which tboot says. It looks at what GRUB loaded all the same: Xen has to be the first of it.
The tree that ``enable`` sees claims SMX, a chipset with TXT, a Xen that tboot can launch and a SINIT module
for that chipset: no emulated machine has them.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from lab.failures import LabError
from lab.images import Images
from lab.machine import WITH_ME
from lab.progress import step
from support.boot_host import SETUP, TBOOT_CONFIG, TBOOT_MENU, BootHost, make_tboot_host

__all__ = ["tell"]

_LABEL = "root-ylhdxw"  # in the tree's menu
_NO_SMX = "CPU does not support SMX"
_XEN_IS_FIRST = "kernel is ELF format"
_LIMIT_S = 300
_MENU = TBOOT_MENU.replace("115200\n", "115200\nterminal_output serial console\nset timeout=0\n", 1)


def tell(images: Images, place: Path) -> None:
    """Raises: AssertionError, LabError."""
    with step("legacy: enable refuses on a CPU without SMX, and changes nothing"):
        host = _host(place / "without-smx")
        host.write("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme de pse\n")
        status, _, said = host.start("enable")
        assert status == 1 and "SMX" in said, said
        assert host.read(TBOOT_CONFIG) == _MENU.encode() and host.read(SETUP) is None
    with step("legacy: enable writes an entry for tboot that GRUB understands"):
        host = _host(place / "legacy")
        status, _, said = host.start("enable", "--default")
        assert status == 0, said
        config = host.paths.at(TBOOT_CONFIG)
        subprocess.run(["grub-script-check", config], check=True)
    with step(f"legacy: SeaBIOS, GRUB, that entry, tboot: {_NO_SMX}"):
        _boots(_iso(host, images, place), place / "legacy.log")


def _host(root: Path) -> BootHost:
    host = make_tboot_host(root)
    host.write(TBOOT_CONFIG, _MENU)
    return host


def _iso(host: BootHost, images: Images, place: Path) -> Path:
    """What the tree boots from, with Debian's Xen and kernel, on a disk that SeaBIOS can start."""
    files, iso = place / "legacy-files", place / "legacy.iso"
    shutil.copytree(host.paths.at("boot"), files / "boot")
    (files / "boot/xen.gz").write_bytes(images.xen)
    (files / "boot/vmlinuz-4.19-xen").write_bytes(images.kernel)
    (files / "boot/initrd-4.19-xen.img").write_bytes(bytes(4096))
    words = [
        "grub-mkrescue",
        "-d",
        "/usr/lib/grub/i386-pc",
        "-o",
        str(iso),
        str(files),
        "--",
        "-volid",
        _LABEL,
    ]
    ended = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        raise LabError(f"grub-mkrescue ended with {ended.returncode}:\n{ended.stdout}")
    return iso


def _boots(iso: Path, log: Path) -> None:
    words = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-m", "512"]
    words += ["-machine", "q35", "-accel", "tcg", "-cpu", "Westmere", "-cdrom", str(iso)]
    words += ["-chardev", f"file,id=serial,path={log}", "-serial", "chardev:serial"]
    with subprocess.Popen([*WITH_ME, *words], stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            _wait_for(_XEN_IS_FIRST, log, process)
            assert _NO_SMX in log.read_text("utf-8", "replace")
        finally:
            process.kill()


def _wait_for(text: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + _LIMIT_S
    while text not in (said := log.read_text("utf-8", "replace") if log.exists() else ""):
        if time.monotonic() > limit or process.poll() is not None:
            raise LabError(f"nobody said `{text}` on the serial console:\n{said[-4000:]}")
        time.sleep(0.2)
