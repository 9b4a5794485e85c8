"""The host of the story: what an administrator, an update or an attacker does in its dom0."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

from lab.dom0 import Ended
from lab.failures import LabError
from lab.machine import Machine

__all__ = ["Host"]

ROOT = Path(__file__).resolve().parents[2]
_XAPI = "/usr/lib/lab/xapi"
_ESP = "/boot/efi"
CONFIG = f"{_ESP}/EFI/xenserver/grub.cfg"
IMAGE = f"{_ESP}/EFI/xenserver/grubx64.efi"
_STOPPED = "--- stopped by SIGSTOP ---"
_STOP_LIMIT_S = 400


class Host:
    """A machine and what is in its dom0."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.dom0 = machine.dom0

    # The pack

    def install_pack(self) -> str:
        """Install the pack from the ISO in the drive, by its own script."""
        self.dom0.good("mkdir -p /media/pack && mount -t iso9660 -o ro /dev/vdb /media/pack")
        return self.dom0.good("cd /media/pack && ./install.sh --yes && cd / && umount /media/pack")

    def boot_tool(self, *words: str) -> Ended:
        """Run ``xentpm-boot``."""
        return self.dom0.run(shlex.join(("/opt/xensource/tpm/xentpm-boot", *words)))

    def links(self) -> dict[str, bool | None]:
        """What ``xentpm-boot probe`` says of each link of the chain: measured, not, or unknown."""
        probe = self._json("probe")
        return {link["name"]: link["measured"] for link in probe["links"]}

    def pcrs(self) -> dict[int, str]:
        """The TPM's SHA-256 PCRs, by the kernel's word: hex."""
        out = self.dom0.good("cd /sys/class/tpm/tpm0/pcr-sha256 && grep . *")
        return {
            int(name): value.strip().lower()
            for name, _, value in (line.partition(":") for line in out.split())
        }

    def predicted(self) -> dict[int, str]:
        """PCR 8 and 9 of the SHA-256 bank as ``xentpm-boot predict`` computes them of the files: hex."""
        return {int(index): value for index, value in self._json("predict")["pcrs"]["sha256"].items()}

    def setup_state(self) -> str:
        """What ``xentpm-boot status`` says: active, pending, undone."""
        return str(self._json("status")["state"])

    def _json(self, command: str) -> Any:
        ended = self.boot_tool(command, "--json")
        try:
            return json.loads(ended.out)
        except ValueError:
            raise LabError(str(ended)) from None

    # What happens to its files

    def sums(self) -> dict[str, str]:
        """SHA-256 of each file on the boot partition."""
        lines = self.dom0.good(f"cd {_ESP} && find . -type f -exec sha256sum {{}} +").splitlines()
        return {name: digest for digest, name in (line.split(None, 1) for line in lines)}

    def rebuild_initrd(self, note: str) -> None:
        """Make the initrd again, as a package's script does; the note makes it another one."""
        release = self.dom0.good("uname -r").strip()
        self.dom0.good(f"/usr/lib/lab/lab-mkinitrd /boot/initrd-{release}.img {release} {shlex.quote(note)}")

    def keep(self, *paths: str) -> None:
        """Lay copies of files aside."""
        self.dom0.good(
            "".join(f"mkdir -p /var/kept$(dirname {path}) && cp {path} /var/kept{path};" for path in paths)
        )

    def restore(self, *paths: str) -> None:
        """Put back what was laid aside."""
        self.dom0.good("".join(f"cp /var/kept{path} {path} && sync {path};" for path in paths))

    def initrd(self) -> str:
        """The path of the initrd."""
        return "/boot/initrd-{}.img".format(self.dom0.good("uname -r").strip())

    def change_xen_command_line(self, word: str) -> None:
        """Append a word to Xen's command line, in every entry of the menu."""
        self.dom0.good(f"sed -i '/multiboot2/s/$/ {word}/' {CONFIG} && sync {CONFIG}")

    # Enable, cut short

    def stop_enable_at(self, call: str) -> None:
        """Run ``xentpm-boot enable`` and stop it behind its first such system call on the new GRUB image.

        Raises: LabError when it ends before.
        """
        trace = "/run/enable.trace"
        inject = f"-P {IMAGE}.xentpm-new -e trace={call} -e inject={call}:signal=SIGSTOP:when=1"
        ended = "echo ended with $? >>" + trace
        self.dom0.start(f"strace -f -o {trace} {inject} /opt/xensource/tpm/xentpm-boot enable; {ended}")
        limit = time.monotonic() + _STOP_LIMIT_S
        while _STOPPED not in (said := self.dom0.run(f"cat {trace}").out):
            if "ended with" in said or time.monotonic() > limit:
                raise LabError(f"enable was not stopped at {call}:\n{said}")
            time.sleep(1)

    # XAPI

    def give_xapi(self, folder: Path, password: str) -> Path:
        """Give dom0 the simulator's XAPI endpoint, for the next boot; returns its certificate."""
        certificate, key = folder / "xapi.pem", folder / "xapi.key"
        subject = ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30"]
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subprocess.run(
            [*words, *subject, "-out", str(certificate), "-keyout", str(key)],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        self.dom0.good(f"mkdir -p {_XAPI} && tar -x -C {_XAPI} --no-same-owner", _library())
        self.dom0.write(f"{_XAPI}/xapi-ssl.pem", key.read_bytes() + certificate.read_bytes())
        self.dom0.write(f"{_XAPI}/password", password.encode())
        self.dom0.good(f"python3 -m compileall -q {_XAPI}; sync")
        return certificate


def _library() -> bytes:
    """The part of the library that the endpoint needs, as a tar archive."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in ("__init__.py", "errors.py"):
            archive.add(ROOT / "xentpm_lib" / name, f"xentpm_lib/{name}")
        for path in sorted((ROOT / "xentpm_lib/simulator").rglob("*.py")):
            archive.add(path, path.relative_to(ROOT))
    return data.getvalue()
