"""TPMS_NV_PUBLIC: the public area of an NV index.

Spec: TPM 2.0 Library Part 2, TPMS_NV_PUBLIC and TPM2B_NV_PUBLIC.
"""

from typing import NamedTuple, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import MAX_DIGEST_SIZE, hash_by_name
from xentpm_lib.evidence.attributes import check_nv_attributes, nv_attribute_names
from xentpm_lib.evidence.key_parameters import read_hash
from xentpm_lib.evidence.names import check_policy, entity_name
from xentpm_lib.evidence.wire import Reader, pack_sized, pack_u16, pack_u32

__all__ = ["MAX_NV_PUBLIC_SIZE", "NvPublic"]

MAX_NV_PUBLIC_SIZE = 2 + 4 + 2 + 4 + 2 + MAX_DIGEST_SIZE + 2  # bytes of a TPM2B_NV_PUBLIC

_NV_HANDLE_TYPE = 0x01  # the highest byte of an NV index's handle


class NvPublic(NamedTuple):
    """The public area of an NV index.

    index: the handle, 0x01000000 to 0x01ffffff.
    name_alg: the hash of the Name and of the policy.
    attributes: TPMA_NV, 32 bits.
    data_size: bytes.
    auth_policy: empty, or a digest of ``name_alg``.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    name_alg: str
    attributes: int
    data_size: int
    auth_policy: bytes = b""

    @classmethod
    def from_tpm2b(cls, data: bytes) -> "NvPublic":
        """Parse a TPM2B_NV_PUBLIC. Raises: FormatError."""
        outer = Reader(data, "TPM2B_NV_PUBLIC")
        reader = Reader(outer.sized(MAX_NV_PUBLIC_SIZE - 2), "TPMS_NV_PUBLIC")
        outer.end()
        index, name_alg, attributes = reader.u32(), read_hash(reader), reader.u32()
        policy, size = reader.sized(MAX_DIGEST_SIZE), reader.u16()
        reader.end()
        public = cls(index, name_alg, attributes, size, policy)
        _check(public)
        return public

    def to_tpm2b(self) -> bytes:
        """The TPM2B_NV_PUBLIC. Raises: FormatError for a field that cannot be."""
        return pack_sized(self._to_tpms(), MAX_NV_PUBLIC_SIZE - 2)

    def name(self) -> bytes:
        """The index's Name: 2 bytes and a digest of ``name_alg``. Raises: FormatError."""
        return entity_name(self.name_alg, self._to_tpms())

    def attribute_names(self) -> Tuple[str, ...]:
        """The attributes that are set, spelled as the specification does: ``OWNERWRITE``."""
        return nv_attribute_names(self.attributes)

    def _to_tpms(self) -> bytes:
        _check(self)
        head = pack_u32(self.index) + pack_u16(hash_by_name(self.name_alg).tpm_id) + pack_u32(self.attributes)
        return head + pack_sized(self.auth_policy, MAX_DIGEST_SIZE) + pack_u16(self.data_size)


def _check(public: NvPublic) -> None:
    """What holds in a public area that is read as in one that is written."""
    if public.index >> 24 != _NV_HANDLE_TYPE:
        raise FormatError("0x{:08x} is no NV index".format(public.index), where="index")
    check_nv_attributes(public.attributes)
    check_policy(public.auth_policy, public.name_alg)
