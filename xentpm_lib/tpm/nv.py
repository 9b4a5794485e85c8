"""Reading NV indexes.

Spec: TPM 2.0 Library, Part 3 "NV_Read", "NV_ReadPublic".
"""

from typing import Optional

from xentpm_lib.errors import TpmError
from xentpm_lib.evidence.tpm_structures import NvPublic
from xentpm_lib.tpm.capabilities import read_properties
from xentpm_lib.tpm.esys import PASSWORD, Esys, Resource
from xentpm_lib.tpm.response_codes import RC, base_code

__all__ = ["MAXIMUM_INDEX_BYTES", "read_index", "read_resource"]

MAXIMUM_INDEX_BYTES = 16384
_USUAL_CHUNK_BYTES = 1024


def read_index(esys: Esys, index: int) -> Optional[bytes]:
    """The content of an NV index whose own password is empty; None where it is absent or unwritten.

    Raises:
        TpmError: ``XENTPM_TPM_ERROR`` for an index over 16,384 bytes, or as the TPM answers.
    """
    resource = esys.open(index)
    return None if resource is None else read_resource(esys, resource)


def read_resource(esys: Esys, resource: Resource) -> Optional[bytes]:
    """As `read_index`, of an index that is open."""
    size = NvPublic.from_tpm2b(resource.public).data_size
    if size > MAXIMUM_INDEX_BYTES:
        raise TpmError("An NV index of {} bytes is too large; at most {}".format(size, MAXIMUM_INDEX_BYTES))
    try:
        return _read(esys, resource, size, _USUAL_CHUNK_BYTES)
    except TpmError as error:
        code = None if error.rc is None else base_code(error.rc)
        if code == RC.NV_UNINITIALIZED:
            return None
        if code not in (RC.VALUE, RC.SIZE, RC.NV_RANGE):
            raise
    return _read(esys, resource, size, read_properties(esys).nv_buffer_bytes)


def _read(esys: Esys, resource: Resource, size: int, chunk: int) -> bytes:
    data = b""
    while len(data) < size:
        inputs = (min(chunk, size - len(data)), len(data))
        piece = esys.command(
            "NV_Read", [resource.handle, resource.handle], [PASSWORD], inputs, ["TPM2B_MAX_NV_BUFFER"]
        )[0]
        if len(piece) <= 2:
            raise TpmError("The TPM returned nothing of an NV index of {} bytes".format(size))
        data += piece[2:]
    return data
