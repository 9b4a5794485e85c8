"""The emulated machine: QEMU with OVMF as its firmware and swtpm as its TPM.

A boot is a process of each: swtpm starts with clear PCRs as a TPM does at power on, and keeps its keys and NV
indexes in its directory. What one boot wrote to the serial console is in ``boot-NN.log``.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

from lab.dom0 import Agent
from lab.failures import LabError

__all__ = ["FIRMWARE", "WITH_ME", "Machine", "free_port"]

FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
WITH_ME = ("setpriv", "--pdeathsig", "KILL")  # ends when the lab does, however that happens
_BOOT_LIMIT_S = 400
_END_LIMIT_S = 120
_MEMORY = "1024"
_UUID = "1ab00000-0000-4000-8000-0000000000b1"  # in its SMBIOS


class Machine:
    """One machine. directory: all that it has is in there.

    disk, variables: what an installer left; both are kept as they are, the machine writes to copies.
    iso: what is in its drive.
    """

    def __init__(
        self, directory: Path, disk: Path, variables: Path, tpm: Path, iso: Path | None = None
    ) -> None:
        self.directory = directory
        self.boots = 0
        self.variables = directory / "variables.fd"
        self._disk = directory / "disk.qcow2"
        self._tpm = directory / "tpm"
        self._iso = iso
        self._processes: list[subprocess.Popen[bytes]] = []
        self.agent_port, self.xapi_port = free_port(), free_port()
        self.dom0 = Agent(self.agent_port)
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(variables, self.variables)
        shutil.copytree(tpm, self._tpm)
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(disk), str(self._disk)],
            check=True,
        )

    @property
    def log(self) -> Path:
        """What this boot, or the last one, wrote to the serial console."""
        return self.directory / f"boot-{self.boots:02d}.log"

    @property
    def runs(self) -> bool:
        """Whether it is switched on."""
        return bool(self._processes) and self._processes[-1].poll() is None

    # Power

    def boot(self) -> None:
        """Switch it on and wait until dom0 answers. Raises: LabError."""
        self.boots += 1
        self._start_tpm()
        self._start_qemu()
        self._wait(self.dom0.answers, _BOOT_LIMIT_S, "dom0 did not come up")

    def reboot(self) -> None:
        """Have dom0 restart the machine, and wait until it answers again. Raises: LabError."""
        self.dom0.start("sync; sleep 0.3; systemctl reboot --force --no-wall")
        self.await_end()
        self.boot()

    def power_cut(self) -> None:
        """Nothing that has not reached the disk reaches it any more."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()

    def wait_for_xapi(self) -> None:
        """Wait until the XAPI endpoint answers. Raises: LabError."""
        self._wait(self._xapi_answers, _BOOT_LIMIT_S, "the XAPI endpoint did not come up")

    # Within

    def _start_tpm(self) -> None:
        state, control = f"dir={self._tpm}", f"type=unixio,path={self._tpm_socket}"
        self._tpm_socket.unlink(missing_ok=True)
        self._start("swtpm", "socket", "--tpm2", "--tpmstate", state, "--ctrl", control, "--terminate")
        self._wait(self._tpm_socket.exists, 20, "swtpm did not start")

    @property
    def _tpm_socket(self) -> Path:
        return self.directory / "tpm.sock"

    def _start_qemu(self) -> None:
        user = "user,id=net,restrict=on"
        for port, inside in ((self.agent_port, 7), (self.xapi_port, 443)):
            user += f",hostfwd=tcp:127.0.0.1:{port}-:{inside}"
        words = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot"]
        words += ["-m", _MEMORY, "-uuid", _UUID]
        words += ["-machine", "q35,smm=off", "-accel", "tcg,thread=multi", "-cpu", "Westmere", "-smp", "1"]
        words += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}"]
        words += ["-drive", f"if=pflash,unit=1,format=raw,file={self.variables}"]
        words += ["-chardev", f"socket,id=tpm,path={self._tpm_socket}"]
        words += ["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]
        words += ["-drive", f"if=virtio,format=qcow2,file={self._disk}"]
        if self._iso is not None:
            words += ["-drive", f"if=virtio,format=raw,readonly=on,file={self._iso}"]
        words += ["-netdev", user, "-device", "virtio-net-pci,netdev=net,romfile="]
        words += ["-chardev", f"file,id=serial,path={self.log}", "-serial", "chardev:serial"]
        self._start(*words)

    def _start(self, *words: str) -> None:
        with open(self.directory / "processes.log", "ab") as log:
            process = subprocess.Popen(
                [*WITH_ME, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(process)

    def _wait(self, condition: object, limit_s: float, otherwise: str) -> None:
        assert callable(condition)
        end = time.monotonic() + limit_s
        while not condition():
            if self._processes[-1].poll() is not None:
                raise LabError(
                    f"{otherwise}: {self._processes[-1].args!r} has ended, see {self.directory}/processes.log"
                )
            if time.monotonic() > end:
                raise LabError(f"{otherwise} within {limit_s:.0f} s; its serial console: {self.log}")
            time.sleep(0.2)

    def await_end(self) -> None:
        """Wait until it has switched itself off. Raises: LabError."""
        for process in reversed(self._processes):
            try:
                process.wait(_END_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.power_cut()
                raise LabError(f"the machine did not go down; its serial console: {self.log}") from None
        self._processes.clear()

    def _xapi_answers(self) -> bool:
        """A port that QEMU forwards takes connections before anybody listens there: so shake hands."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", self.xapi_port), 20) as connection:
                context.wrap_socket(connection).close()
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
