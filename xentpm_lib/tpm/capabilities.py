"""What the TPM says of itself.

Spec: TPM 2.0 Library, Part 3 "TPM2_GetCapability", Part 2 "TPM_PT".
"""

from typing import Dict, List, NamedTuple, Tuple

from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.evidence.wire import Reader
from xentpm_lib.tpm.esys import Esys

__all__ = ["Properties", "active_banks", "handles_from", "read_properties"]

_CAP_HANDLES, _CAP_PCRS, _CAP_TPM_PROPERTIES = 1, 5, 6
_SESSION_TYPES = (0x02, 0x03)
_MOST = 254
_FIXED, _VARIABLE = 0x100, 0x200


class Properties(NamedTuple):
    """TPM properties by their TPM_PT number."""

    values: Dict[int, int]

    def get(self, number: int) -> int:
        """A property's value, 0 where the TPM does not know it."""
        return self.values.get(number, 0)

    @property
    def manufacturer(self) -> str:
        """The four letters of TPM_PT_MANUFACTURER."""
        return self._text((0x105,))

    @property
    def vendor_string(self) -> str:
        """TPM_PT_VENDOR_STRING_1 to _4."""
        return self._text((0x106, 0x107, 0x108, 0x109))

    @property
    def family(self) -> str:
        """``2.0``"""
        return self._text((0x100,))

    @property
    def firmware(self) -> str:
        """The firmware version as four numbers, the way vendors print it."""
        high, low = self.get(0x10B), self.get(0x10C)
        return "{}.{}.{}.{}".format(high >> 16, high & 0xFFFF, low >> 16, low & 0xFFFF)

    @property
    def nv_buffer_bytes(self) -> int:
        """The most bytes that one NV_Read returns."""
        return self.get(0x12C) or 512

    @property
    def owner_auth_set(self) -> bool:
        """The owner hierarchy has a password."""
        return bool(self.get(0x200) & 0x1)

    @property
    def endorsement_auth_set(self) -> bool:
        """The endorsement hierarchy has a password."""
        return bool(self.get(0x200) & 0x2)

    @property
    def lockout_auth_set(self) -> bool:
        """The lockout authorisation has a password."""
        return bool(self.get(0x200) & 0x4)

    @property
    def in_lockout(self) -> bool:
        """Dictionary-attack protection is refusing passwords now."""
        return bool(self.get(0x200) & 0x200)

    @property
    def owner_enabled(self) -> bool:
        """The storage (owner) hierarchy is enabled."""
        return bool(self.get(0x201) & 0x2)

    @property
    def endorsement_enabled(self) -> bool:
        """The endorsement hierarchy is enabled."""
        return bool(self.get(0x201) & 0x4)

    @property
    def lockout_counter(self) -> Tuple[int, int]:
        """Wrong passwords counted, and how many are allowed."""
        return self.get(0x20E), self.get(0x20F)

    def _text(self, numbers: Tuple[int, ...]) -> str:
        data = b"".join(self.get(number).to_bytes(4, "big") for number in numbers)
        return "".join(chr(byte) for byte in data if 32 <= byte < 127).strip()


def read_properties(esys: Esys) -> Properties:
    """All fixed and variable properties. Two commands, more on a TPM that answers in small pieces."""
    values: Dict[int, int] = {}
    for first in (_FIXED, _VARIABLE):
        values.update(_properties_from(esys, first))
    return Properties(values)


def handles_from(esys: Esys, first: int) -> List[int]:
    """The TPM's handles of the kind of ``first``, in order, beginning with ``first``.

    Among loaded sessions (from 0x02000000) those of policies have 0x03 as their first byte.
    """
    kind = first >> 24
    kinds = _SESSION_TYPES if kind in _SESSION_TYPES else (kind,)
    handles: List[int] = []
    more = 1
    while more:
        at = kind << 24 | (handles[-1] + 1) & 0xFFFFFF if handles else first
        more, reader = _capability(esys, _CAP_HANDLES, at)
        new = [reader.u32() for _ in range(reader.u32())]
        handles += [handle for handle in new if handle >> 24 in kinds]
        more = more and len(new) > 0 and handles[-1:] == new[-1:]
    return handles


def active_banks(esys: Esys) -> Tuple[str, ...]:
    """The names of the PCR banks that have PCRs. One command."""
    _more, reader = _capability(esys, _CAP_PCRS, 0)
    selection = PcrSelection.from_bytes(reader.take(reader.remaining))
    return tuple(bank for bank, indices in selection.banks if indices)


def _properties_from(esys: Esys, first: int) -> Dict[int, int]:
    values: Dict[int, int] = {}
    at, more = first, 1
    while more:
        more, reader = _capability(esys, _CAP_TPM_PROPERTIES, at)
        new = [(reader.u32(), reader.u32()) for _ in range(reader.u32())]
        values.update((number, value) for number, value in new if number & 0xFF00 == first)
        at = new[-1][0] + 1 if new else at
        more = more and bool(new) and at & 0xFF00 == first
    return values


def _capability(esys: Esys, capability: int, first: int) -> Tuple[int, Reader]:
    more, data = esys.command(
        "GetCapability", (), (), (capability, first, _MOST), ("TPMI_YES_NO", "TPMS_CAPABILITY_DATA")
    )
    reader = Reader(data, "TPMS_CAPABILITY_DATA")
    reader.u32()
    return more, reader
