"""One software TPM 2.0: a swtpm process with its state in a directory and two Unix sockets.

    with Swtpm(state_dir) as tpm:      # after Swtpm.manufacture(state_dir, ca_dir)
        connect(tpm.tcti)              # "swtpm:path=/…/tpm.sock"

A swtpm serves one data connection at a time: whoever connects second waits for the first to close.
So every command here has a connection of its own, and a time limit.
"""

import fcntl
import os
import struct
import subprocess
import time
from typing import Dict, Optional, Sequence

from xentpm_lib.errors import TpmError, UsageError, XenTpmError
from xentpm_lib.simulator import tpm_wire
from xentpm_lib.simulator.ecc_ek import exchange_certificates
from xentpm_lib.simulator.socket_dir import make_private, remove_if_empty, short_directory
from xentpm_lib.simulator.swtpm_channel import exchange_command, exchange_control
from xentpm_lib.simulator.swtpm_manufacture import STATE_FILE, manufacture
from xentpm_lib.simulator.swtpm_process import find_program, start_bound

__all__ = ["Swtpm"]

COMMAND_LIMIT_S = 30.0  # making an RSA key takes a while
SHUTDOWN_LIMIT_S = 3.0
START_LIMIT_S = 15.0
STOP_LIMIT_S = 5.0
LOCK_LIMIT_S = 3.0  # the swtpm of a killed simulator needs a moment to be gone

# Control channel (swtpm's tpm_ioctl.h): a command is a u32, its answer begins with a u32 result.
_CMD_SET_LOCALITY = 5
_CMD_HASH_START = 6
_CMD_HASH_DATA = 7
_CMD_HASH_END = 8
_HASH_CHUNK = 4096  # bytes


class Swtpm:
    """The TPM in ``state_dir``. Not running until :meth:`start`; stopped when the process ends."""

    def __init__(self, state_dir: str, socket_dir: Optional[str] = None) -> None:
        """``socket_dir`` is where the sockets are; a short private directory unless given."""
        self.state_dir = os.path.abspath(state_dir)
        self.socket_dir = os.path.abspath(socket_dir) if socket_dir else short_directory(self.state_dir)
        self.socket_path = os.path.join(self.socket_dir, "tpm.sock")
        self.control_path = self.socket_path + ".ctrl"
        self.log_path = os.path.join(self.state_dir, "swtpm.log")
        self._process = None  # type: Optional[subprocess.Popen[bytes]]

    @staticmethod
    def manufacture(
        state_dir: str, ca_dir: str, banks: Sequence[str] = ("sha1", "sha256"), ecc_ek: bool = False
    ) -> None:
        """Make a new TPM with endorsement keys and their certificates.

        The certificates are from a local CA in ``ca_dir``, made on first use: ``root.pem`` and
        ``issuer.pem`` there are its certificates. With ``ecc_ek`` the TPM has a certificate for a
        P-256 endorsement key (and the P-384 one that swtpm always makes), and none for an RSA one.
        Raises: UsageError when swtpm is not installed, or fails, or there is a TPM already.
        """
        manufacture(state_dir, ca_dir, banks)
        if ecc_ek:
            with Swtpm(state_dir) as tpm:
                exchange_certificates(tpm.run, ca_dir)

    @property
    def tcti(self) -> str:
        """The TPM's address for the TPM software stack."""
        return "swtpm:path=" + self.socket_path

    @property
    def running(self) -> bool:
        """Whether the swtpm process is alive."""
        process = self._process
        return process is not None and process.poll() is None

    @property
    def pid(self) -> Optional[int]:
        """The process id of the swtpm, None when it is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def __enter__(self) -> "Swtpm":
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    # Power

    def start(self) -> None:
        """Power on: start swtpm, send TPM2_Startup(CLEAR), return when it answers.

        Raises: UsageError when there is no TPM in the directory, another process runs it, or swtpm fails.
        """
        if self.running:
            return
        if not os.path.exists(os.path.join(self.state_dir, STATE_FILE)):
            raise UsageError("there is no software TPM in {}".format(self.state_dir))
        make_private(self.socket_dir)
        lock = self._lock()
        try:
            self._launch(lock)
        finally:
            os.close(lock)  # swtpm holds it from here on
        try:
            self._wait_until_ready()
        except XenTpmError:
            self.kill()
            raise

    def stop(self) -> None:
        """Power off in order: TPM2_Shutdown(CLEAR), then the end of the process."""
        if not self.running:
            self._reap()
            return
        try:
            self.run("TPM2_Shutdown", tpm_wire.shutdown(), limit_s=SHUTDOWN_LIMIT_S)
        except XenTpmError:
            pass  # a TPM in failure mode, or one that another program keeps busy, loses its power as well
        self._end(terminate=True)

    def kill(self) -> None:
        """Pull the plug: SIGKILL, without TPM2_Shutdown."""
        self._end(terminate=False)

    def power_cycle(self) -> None:
        """Power off and on: PCRs, sessions and transient objects are lost, keys and NV stay."""
        self.stop()
        self.start()

    def _launch(self, lock: int) -> None:
        command = [
            find_program("swtpm"), "socket", "--tpm2", "--tpmstate", "dir=.",
            "--server", "type=unixio,path=" + self.socket_path,
            "--ctrl", "type=unixio,path=" + self.control_path,
            "--flags", "not-need-init,startup-clear",
        ]  # fmt: skip
        try:
            with open(self.log_path, "wb") as log:
                self._process = start_bound(command, self.state_dir, log, keep_open=[lock])
        except OSError as error:
            raise UsageError("cannot write {}: {}".format(self.log_path, error.strerror)) from error

    def _lock(self) -> int:
        """Lock the directory; the lock's descriptor is inherited by swtpm and lives as long as it."""
        try:
            descriptor = os.open(os.path.join(self.state_dir, "running.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise UsageError("cannot write to {}: {}".format(self.state_dir, error.strerror)) from error
        deadline = time.monotonic() + LOCK_LIMIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except OSError as error:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    message = "the software TPM in {} is already running".format(self.state_dir)
                    raise UsageError(message, "end the simulator that uses this directory") from error
            time.sleep(0.02)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if not self.running:
                raise UsageError("swtpm ended at once: {}".format(self._log_tail()))
            if os.path.exists(self.socket_path) and os.path.exists(self.control_path):
                try:
                    self.run("TPM2_GetRandom", tpm_wire.get_random(1), limit_s=START_LIMIT_S)
                    return
                except TpmError as error:
                    if error.rc is not None:
                        return  # it answers: a TPM in failure mode is a TPM
            time.sleep(0.002)
        raise UsageError("swtpm did not answer within {:.0f} s: {}".format(START_LIMIT_S, self._log_tail()))

    def _log_tail(self) -> str:
        try:
            with open(self.log_path, "rb") as log:
                return log.read()[-400:].decode("utf-8", "replace").strip() or "its log is empty"
        except OSError:
            return "it left no log"

    def _end(self, terminate: bool) -> None:
        process = self._process
        if process is None:
            return
        if terminate:
            process.terminate()
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                pass
        if process.poll() is None:
            process.kill()
        self._reap()

    def _reap(self) -> None:
        if self._process is None:
            return  # whatever is there belongs to somebody else
        self._process.wait()
        self._process = None
        for path in (self.socket_path, self.control_path):
            if os.path.exists(path):
                os.unlink(path)
        if self.socket_dir != self.state_dir:
            remove_if_empty(self.socket_dir)

    # Commands

    def command(self, data: bytes, limit_s: float = COMMAND_LIMIT_S) -> bytes:
        """Send one raw command over a connection of its own and return the raw answer.

        Raises: TpmError when the TPM is off or does not answer in time.
        """
        return exchange_command(self.socket_path, data, limit_s)

    def run(self, what: str, data: bytes, limit_s: float = COMMAND_LIMIT_S) -> bytes:
        """Send a raw command called ``what`` and return what follows the header of the answer.

        Raises: TpmError, with ``rc`` when the TPM refuses.
        """
        return tpm_wire.check_response(what, self.command(data, limit_s))

    def extend(self, pcr: int, digests: Dict[str, bytes], locality: int = 0) -> None:
        """Extend a PCR by one digest a bank, from a locality (0 again afterwards).

        Raises: TpmError, as when the PCR cannot be extended from there (0x907).
        """
        if locality:
            self.set_locality(locality)
        try:
            self.run("TPM2_PCR_Extend", tpm_wire.pcr_extend(pcr, digests))
        finally:
            if locality:
                self.set_locality(0)

    def read_pcr(self, bank: str, pcr: int) -> bytes:
        """Return the value of a PCR. Raises: TpmError, as when the bank is not active."""
        return tpm_wire.parse_pcr(bank, pcr, self.run("TPM2_PCR_Read", tpm_wire.pcr_read(bank, pcr)))

    def set_locality(self, locality: int) -> None:
        """Set the locality of the commands that follow, whoever sends them."""
        self._control("set the locality", struct.pack(">IBxxx", _CMD_SET_LOCALITY, locality))

    def dynamic_launch(self, data: bytes) -> None:
        """Start a dynamic launch: _TPM_Hash_Start, ``data`` and _TPM_Hash_End at locality 4.

        PCR 17 to 22 become zero; PCR 17 is extended by the hash of ``data`` in every bank.
        """
        self._control("start a hash", struct.pack(">I", _CMD_HASH_START))
        for start in range(0, len(data), _HASH_CHUNK):
            chunk = data[start : start + _HASH_CHUNK]
            self._control("hash data", struct.pack(">II", _CMD_HASH_DATA, len(chunk)) + chunk)
        self._control("end a hash", struct.pack(">I", _CMD_HASH_END))

    def _control(self, what: str, message: bytes) -> None:
        code = exchange_control(self.control_path, message, COMMAND_LIMIT_S)
        if code:
            raise TpmError("swtpm cannot {}: 0x{:x}".format(what, code), rc=code)
