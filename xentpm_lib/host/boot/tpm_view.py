"""What a TPM shows of the boot: which registers were extended. It reads only."""

from typing import Dict, NamedTuple, Optional, Tuple

from xentpm_lib.errors import TpmError, XenTpmError
from xentpm_lib.evidence.pcr import PCR_COUNT, PcrSelection
from xentpm_lib.host.config import Config, load_config
from xentpm_lib.host.host import Host, HostTpm
from xentpm_lib.host.paths import Paths
from xentpm_lib.tpm.capabilities import active_banks
from xentpm_lib.tpm.ownership import OLD_DEFAULT_AUTH
from xentpm_lib.tpm.quoting import QUOTABLE_BANKS, is_measured, read_pcrs
from xentpm_lib.tpm.tag_pcr import TagPcr

__all__ = ["TpmView", "read_view", "view_of"]

_FIRMWARE_PCRS = 8


class TpmView(NamedTuple):
    """The registers of the strongest bank that firmware measures.

    banks: all active banks.
    values: PCR 0 to 23 of ``bank``.
    tag: the asset tag, None where there is none.
    tag_pcr: the register that shows it, None where that is off.
    tag_shown: whether that register shows the tag as it is now.
    """

    banks: Tuple[str, ...]
    bank: str
    values: Dict[int, bytes]
    tag: Optional[bytes] = None
    tag_pcr: Optional[int] = None
    tag_shown: bool = False

    def extended(self, *pcrs: int) -> bool:
        """Whether all of these registers were extended since the TPM was reset."""
        return all(self.values[pcr].strip(b"\x00") and self.values[pcr].strip(b"\xff") for pcr in pcrs)

    @property
    def launched(self) -> bool:
        """Whether a dynamic launch happened. Without one PCR 17 is all ones, on some TPMs all zeros."""
        return self.extended(17)


def view_of(host: Host, tpm: HostTpm) -> TpmView:
    """Look at an open TPM.

    Raises:
        TpmError: it does not answer, or has no active bank.
    """
    banks = tuple(active_banks(tpm.esys))
    by_strength = [bank for bank in QUOTABLE_BANKS if bank in banks]
    by_strength += [bank for bank in banks if bank not in QUOTABLE_BANKS]
    if not by_strength:
        raise TpmError("the TPM has no active PCR bank", "Activate the SHA-256 bank in the BIOS.")
    found = [(bank, _all_of(tpm, bank)) for bank in by_strength]
    measured = [pair for pair in found if is_measured(pair[1][pcr] for pcr in range(_FIRMWARE_PCRS))]
    bank, values = (measured or found)[0]
    tag, index = tpm.tag.peek(), host.config.asset_tag_pcr
    shown = tag is not None and index is not None and not TagPcr(tpm.esys, index).is_behind(tag)
    return TpmView(banks, bank, values, tag, index, shown)


def read_view(paths: Paths) -> Tuple[Optional[TpmView], str]:
    """Look at the host's TPM: the view, and why there is none where it is None."""
    try:
        config = load_config(paths.config)
    except XenTpmError:
        config = Config(owner_auth=OLD_DEFAULT_AUTH)  # at its usual place; nothing here needs a password
    host = Host(paths, config)
    try:
        with host.tpm("probe") as tpm:
            return view_of(host, tpm), ""
    except XenTpmError as error:
        return None, error.message


def _all_of(tpm: HostTpm, bank: str) -> Dict[int, bytes]:
    return read_pcrs(tpm.esys, PcrSelection(((bank, tuple(range(PCR_COUNT))),)))[bank]
