"""The PCR that carries the asset tag since boot, extended once by a boot-time unit.

In each bank: PCR = H(zeros || value), where the value is the tag if it has the bank's size and else
the tag's hash in that bank.

Spec: TPM 2.0 Library, Part 3 "TPM2_PCR_Extend".
"""

from typing import Dict, NamedTuple, Optional

from xentpm_lib.errors import TpmError
from xentpm_lib.evidence.algorithms import digest, digest_size, hash_by_name
from xentpm_lib.evidence.pcr import PcrSelection, extend
from xentpm_lib.evidence.wire import pack_u16, pack_u32
from xentpm_lib.tpm.capabilities import active_banks
from xentpm_lib.tpm.esys import PASSWORD, Esys, Input
from xentpm_lib.tpm.quoting import read_pcrs

__all__ = ["TagPcr", "tag_measurement"]


class TagPcr(NamedTuple):
    """PCR ``pcr`` (0 to 23) of every active bank."""

    esys: Esys
    pcr: int

    def is_behind(self, tag: Optional[bytes]) -> bool:
        """Whether the PCR says anything but ``tag`` (None: no tag), so that a reboot is required."""
        values = self._values()
        if tag is None:
            return any(value.strip(b"\x00") and value.strip(b"\xff") for value in values.values())
        return values != _extended(tag, values)

    def extend_once(self, tag: bytes) -> bool:
        """Extend the PCR by ``tag`` unless that was done since the TPM's reset; tells whether it was now.

        Raises:
            TpmError: ``XENTPM_TAG_PCR`` when something else has extended the PCR;
                ``XENTPM_UNSUPPORTED`` when dom0's locality may not extend it.
        """
        values = self._values()
        if values == _extended(tag, values):
            return False
        if any(value.strip(b"\x00") and value.strip(b"\xff") for value in values.values()):
            raise TpmError(
                "PCR {} holds something else than the asset tag".format(self.pcr),
                "After a change of the tag: restart the host. Else another program uses this PCR: "
                "choose a free one with asset_tag_pcr in the config.",
                "XENTPM_TAG_PCR",
            )
        digests = b"".join(
            pack_u16(hash_by_name(bank).tpm_id) + tag_measurement(tag, bank) for bank in values
        )
        inputs = [Input("TPML_DIGEST_VALUES", pack_u32(len(values)) + digests)]
        self.esys.command("PCR_Extend", [self.pcr], [PASSWORD], inputs)
        return True

    def _values(self) -> Dict[str, bytes]:
        selection = PcrSelection(tuple((bank, (self.pcr,)) for bank in active_banks(self.esys)))
        return {bank: values[self.pcr] for bank, values in read_pcrs(self.esys, selection).items()}


def tag_measurement(tag: bytes, bank: str) -> bytes:
    """What the PCR of ``bank`` is extended by: the tag where it has the bank's size, else its hash."""
    return tag if len(tag) == digest_size(bank) else digest(bank, tag)


def _extended(tag: bytes, values: Dict[str, bytes]) -> Dict[str, bytes]:
    return {
        bank: extend(bank, bytes(len(value)), tag_measurement(tag, bank)) for bank, value in values.items()
    }
