"""The way to the TPM: the host's lock, the TCTI, an ESAPI context, and clean hands afterwards."""

import os
import signal
from contextlib import contextmanager
from typing import Any, Iterator, List, NamedTuple

from xentpm_lib.errors import TpmError
from xentpm_lib.tpm.binding import Binding, load_binding
from xentpm_lib.tpm.capabilities import handles_from
from xentpm_lib.tpm.esys import Esys
from xentpm_lib.tpm.lock import host_lock
from xentpm_lib.tpm.response_codes import error_of

__all__ = ["DEFAULT_TCTI", "TpmSettings", "connect"]

DEFAULT_TCTI = "device:/dev/tpmrm0"
_TRANSIENT_OBJECTS, _LOADED_SESSIONS = 0x80000000, 0x02000000


class TpmSettings(NamedTuple):
    """``tcti`` as tpm2-tools take it; ``lock_path`` is one for all processes of the host."""

    tcti: str
    lock_path: str
    lock_timeout_s: float


class Interrupted(BaseException):
    """SIGTERM or SIGINT arrived: raised between two TPM commands, so that what was made is flushed."""


@contextmanager
def connect(settings: TpmSettings, operation: str) -> Iterator[Esys]:
    """Hold the host's TPM for ``operation`` (a name for people, it is shown to others who wait).

    Raises:
        TpmError: ``XENTPM_BUSY``, ``XENTPM_NO_TPM``, ``XENTPM_IO``; whatever the body raises passes through.
    """
    binding = load_binding()
    arrived: List[int] = []
    try:
        with host_lock(settings.lock_path, operation, settings.lock_timeout_s) as held:
            with _tcti(binding, settings.tcti) as tcti:
                esys = Esys(binding, _context(binding, tcti))
                with _signals_between_commands(esys, arrived):
                    try:
                        if held.leftovers:
                            _flush_leftovers(esys)
                            held.leftovers = False
                        yield esys
                    finally:
                        esys.close()
    finally:
        if arrived:  # all is put away: now the signal does what it did before
            os.kill(os.getpid(), arrived[0])


@contextmanager
def _tcti(binding: Binding, conf: str) -> Iterator[Any]:
    path = conf.partition(":")[2]
    if conf.startswith("device:") and not os.path.exists(path):
        raise _no_tpm("{} does not exist".format(path))
    slot = binding.ffi.new("TSS2_TCTI_CONTEXT **")
    rc = binding.lib.Tss2_TctiLdr_Initialize(conf.encode("utf-8", "surrogateescape"), slot)
    if rc:
        raise _no_tpm("{} did not open, 0x{:08x}".format(conf, rc))
    try:
        yield slot[0]
    finally:
        binding.lib.Tss2_TctiLdr_Finalize(slot)


def _no_tpm(reason: str) -> TpmError:
    return TpmError(
        "There is no TPM on this machine or it is not enabled in the BIOS ({})".format(reason),
        "Enable the TPM 2.0 in the BIOS and restart the host; if it is elsewhere, name it with tcti=.",
        "XENTPM_NO_TPM",
    )


def _context(binding: Binding, tcti: Any) -> Any:
    slot = binding.ffi.new("ESYS_CONTEXT **")
    rc = binding.lib.Esys_Initialize(slot, tcti, binding.ffi.NULL)
    if rc:
        raise error_of(rc, "Initialize")
    return slot[0]


@contextmanager
def _signals_between_commands(esys: Esys, arrived: List[int]) -> Iterator[None]:
    """SIGTERM and SIGINT wait for the TPM command under way and for the flushing; ``arrived`` notes them."""

    def note(number: int, _frame: Any) -> None:
        arrived.append(number)
        esys.interrupted = Interrupted("signal {}".format(number))

    try:
        previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: its owner looks after signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _flush_leftovers(esys: Esys) -> None:
    """Flush what a killed process left in the TPM's memory; behind a resource manager that is nothing."""
    for first in (_TRANSIENT_OBJECTS, _LOADED_SESSIONS):
        for handle in handles_from(esys, first):
            esys.flush(esys.adopt_session(handle))
