"""What GRUB will measure into PCR 8 and 9 at the next boot, computed from the files that dom0 has now."""

import os
from typing import TYPE_CHECKING, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.boot_log import MAX_DESCRIPTION_LENGTH, BootEvent
from xentpm_lib.evidence.pcr import PcrValues, replay
from xentpm_lib.host.boot.digest_cache import DigestCache
from xentpm_lib.host.boot.grub_files import GrubFiles
from xentpm_lib.host.boot.grub_image import GrubImage
from xentpm_lib.host.boot.grub_run import GrubRun, run_grub
from xentpm_lib.host.boot.grub_state import COMMANDS_PCR, FILES_PCR, Measured
from xentpm_lib.host.boot.grub_syntax import boot_error
from xentpm_lib.host.boot.grub_work import Workload
from xentpm_lib.host.boot.layout import BootLayout, read_grub_image
from xentpm_lib.host.paths import Paths

if TYPE_CHECKING:
    from xentpm_lib.host.boot.prediction_report import PredictionReport

__all__ = ["Prediction", "boot_log_for_quote", "full_prefix", "predict", "predict_command", "to_events"]

_PCRS = (COMMANDS_PCR, FILES_PCR)
_DISKS = tuple("hd{}".format(number) for number in range(8))
_DEFAULT_PREFIX = "/EFI/xenserver"
_MAX_QUOTE_TEXT = 1024 * 1024  # characters of a boot log that goes with a quote
_MAX_QUOTE_SCRIPTS, _MAX_QUOTE_STEPS = 128 * 1024, 20000  # bytes; statements: a quote does not wait for more


class Prediction(NamedTuple):
    """The next boot. entry: the title of the menu entry. notes: what had to be assumed, a sentence each."""

    entry: str
    events: Tuple[BootEvent, ...]
    notes: Tuple[str, ...]

    def values(self, bank: str) -> Dict[int, bytes]:
        """What PCR 8 and 9 will hold.

        Raises:
            FormatError: the events have no digests for this bank.
        """
        try:
            pairs = [(event.pcr, event.digests[bank]) for event in self.events]
        except KeyError:
            raise FormatError("there are no digests of {}".format(ascii(bank)), where="bank") from None
        final = replay(bank, pairs)
        return {pcr: final[pcr] for pcr in _PCRS}


def predict(
    paths: Paths,
    banks: Sequence[str],
    known: Optional[PcrValues] = None,
    work: Optional[Workload] = None,
) -> Prediction:
    """Run this host's boot configuration in mind.

    banks: which digests to compute. known: values read from the TPM; of several ways in which GRUB may call
    the disk that it is started from, the one that leads to them is taken. work: bounds other than the usual.

    Raises:
        XenTpmError: ``XENTPM_BOOT``: GRUB measures nothing here, or what it does cannot be interpreted.
    """
    layout = BootLayout.find(paths)
    if not layout.uefi:
        raise boot_error(
            "this host was not booted by UEFI: its GRUB measures nothing",
            "PCR 8 and 9 are extended by a GRUB for UEFI that has the module tpm.",
        )
    if layout.esp is None:
        raise boot_error("the EFI system partition is not mounted", "Mount it at /boot/efi, then try again.")
    cache = DigestCache(paths)
    found = _candidates(paths, layout, banks, cache, work or Workload())
    first, names_disk = next(found)
    chosen = first
    if names_disk and known is None:
        note = "GRUB's name of the disk that it is started from is assumed to be hd0."
        chosen = first._replace(notes=first.notes + (note,))
    elif names_disk and known is not None and not _leads_to(first, known):
        chosen = _matching((one for one, _ in found), first, known) or first
    cache.save()
    return chosen


def _candidates(
    paths: Paths, layout: BootLayout, banks: Sequence[str], cache: DigestCache, work: Workload
) -> Iterator[Tuple[Prediction, bool]]:
    """A prediction for each name of the disk, and whether it depends on that."""
    image = read_grub_image(layout.image)
    for disk in _DISKS:
        run = _run(paths, layout, image, disk, work)
        yield _prediction(run, to_events(paths, run, banks, cache)), run.names_disk


def _matching(others: Iterator[Prediction], first: Prediction, known: PcrValues) -> Optional[Prediction]:
    """The one that leads to the known values; None where none does.

    A name goes into PCR 8 alone, so the search ends where another name leads to the same files, but not to
    those of PCR 9: files have changed since the boot.
    """
    files = _values_of(first, known, FILES_PCR)
    for made in others:
        if _leads_to(made, known):
            return made
        if files and _values_of(made, known, FILES_PCR) == files != _known_of(first, known, FILES_PCR):
            return None
    return None


def _run(paths: Paths, layout: BootLayout, image: Optional[GrubImage], disk: str, work: Workload) -> GrubRun:
    esp = os.path.relpath(layout.esp, paths.root) if layout.esp else None
    files = GrubFiles(paths, esp, disk)
    prefix = full_prefix(_prefix(layout, image), files)
    return run_grub(files, image, prefix, _folder(layout), _image_notes(layout, image), work)


def _folder(layout: BootLayout) -> Optional[str]:
    """The image's folder on the EFI partition: ``/EFI/BOOT``."""
    if layout.image is None or layout.esp is None:
        return None
    return "/" + os.path.relpath(os.path.dirname(layout.image), layout.esp)


def _prefix(layout: BootLayout, image: Optional[GrubImage]) -> str:
    """The image's prefix; where it could not be read, the folder of grub.cfg on the EFI partition."""
    if image is not None:
        return image.prefix
    if layout.config and layout.esp and layout.config.startswith(layout.esp + "/"):
        return "/" + os.path.relpath(os.path.dirname(layout.config), layout.esp)
    return _DEFAULT_PREFIX


def full_prefix(prefix: str, files: GrubFiles) -> str:
    """With the device in front, as GRUB completes it: ``/EFI/x``, ``(,gpt1)/EFI/x``, ``(hd0,gpt1)/EFI/x``."""
    disk = files.boot_device.split(",")[0]
    if prefix.startswith("(,"):
        return "({}{}".format(disk, prefix[1:])
    if prefix.startswith("()"):
        prefix = prefix[2:]
    return prefix if prefix.startswith("(") else "({}){}".format(files.boot_device, prefix)


def _image_notes(layout: BootLayout, image: Optional[GrubImage]) -> Tuple[str, ...]:
    if image is None:
        return ("GRUB's image was not found or could not be read: what it begins with is assumed.",)
    if not image.measures:
        return ("This GRUB has no tpm module: it measures nothing until xentpm-boot enable gives it one.",)
    return ()


def to_events(
    paths: Paths, run: GrubRun, banks: Sequence[str], cache: Optional[DigestCache] = None
) -> Tuple[BootEvent, ...]:
    """What GRUB measured in a run, with the digests of what the files hold now.

    Raises:
        XenTpmError: a file cannot be read.
    """
    kept = DigestCache(paths) if cache is None else cache
    return tuple(_event(measured, kept, banks) for measured in run.measured)


def _prediction(run: GrubRun, events: Tuple[BootEvent, ...]) -> Prediction:
    return Prediction(_ascii(run.entry, 500), events, tuple(_ascii(note, 500) for note in run.notes))


def _event(measured: Measured, cache: DigestCache, banks: Sequence[str]) -> BootEvent:
    if measured.path is not None and measured.data is None:
        digests = cache.digests(measured.path, banks)
    else:
        data = (measured.text or "").encode("latin-1") if measured.data is None else measured.data
        digests = {bank: digest(bank, data) for bank in banks}
    return BootEvent(measured.pcr, digests, _ascii(measured.description, MAX_DESCRIPTION_LENGTH, "\t\n"))


def _ascii(text: str, limit: int, kept: str = "") -> str:
    r"""Printable ASCII; other bytes as ``\xNN``; what is too long is cut off."""
    pieces = [
        character if " " <= character <= "~" or character in kept else "\\x{:02x}".format(ord(character))
        for character in text[:limit]
    ]
    joined = "".join(pieces)
    return joined if len(joined) <= limit and len(text) <= limit else joined[: limit - 3] + "..."


def _leads_to(prediction: Prediction, known: PcrValues) -> bool:
    values = [(_values_of(prediction, known, pcr), _known_of(prediction, known, pcr)) for pcr in _PCRS]
    return any(wanted for _, wanted in values) and all(made == wanted for made, wanted in values)


def _values_of(prediction: Prediction, known: PcrValues, pcr: int) -> List[bytes]:
    """What a register will hold, in the banks in which it is known."""
    return [prediction.values(bank)[pcr] for bank in _banks(prediction, known) if pcr in known[bank]]


def _known_of(prediction: Prediction, known: PcrValues, pcr: int) -> List[bytes]:
    return [known[bank][pcr] for bank in _banks(prediction, known) if pcr in known[bank]]


def _banks(prediction: Prediction, known: PcrValues) -> List[str]:
    events = prediction.events
    return [bank for bank in sorted(known) if events and bank in events[0].digests]


def boot_log_for_quote(paths: Paths, values: PcrValues) -> Optional[Tuple[BootEvent, ...]]:
    """The boot log that goes with a quote of these values. It explains, so it never makes a quote fail.

    None: PCR 8 and 9 are not among them or were not extended, so GRUB measured nothing; or what it measured
    cannot be computed, takes too much work, or is too long. A log that does not lead to the values is
    returned: files were changed after the boot.
    """
    banks = [bank for bank, bank_values in values.items() if _is_extended(bank_values)]
    if not banks:
        return None
    try:
        events = predict(paths, banks, values, Workload(_MAX_QUOTE_SCRIPTS, _MAX_QUOTE_STEPS)).events
    except Exception:  # whatever is wrong with the files, the quote itself is good
        return None
    size = sum(len(event.description) + 200 * len(banks) for event in events)
    return events if size <= _MAX_QUOTE_TEXT else None


def predict_command(paths: Paths) -> "PredictionReport":
    """What ``xentpm-boot predict`` prints: ``text``, ``data`` and ``exit_status``.

    Raises:
        XenTpmError: as ``predict``.
    """
    from xentpm_lib.host.boot.prediction_report import predict_command as command

    return command(paths)


def _is_extended(values: Dict[int, bytes]) -> bool:
    return all(any(values.get(pcr, b"")) for pcr in _PCRS)
