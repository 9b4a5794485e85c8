"""ESAPI with bytes on both sides: every structure goes in and comes out in its marshalled form.

So the rest of the project knows one representation of a TPM structure, the one that the TPM itself
uses and that `xentpm_lib.evidence` parses strictly; the C structures stay in this file.

Spec: TCG TSS 2.0 ESAPI Specification; TPM 2.0 Library, Part 3 "Commands".
"""

import time
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

from xentpm_lib.errors import TpmError
from xentpm_lib.evidence.algorithms import digest, hash_by_id
from xentpm_lib.tpm.binding import Binding
from xentpm_lib.tpm.response_codes import RC, TRANSIENT_CODES, base_code, error_of

__all__ = ["ENDORSEMENT", "LOCKOUT", "NONE", "OWNER", "PASSWORD", "Argument", "Esys", "Input", "Resource"]

NONE = 0xFFF
PASSWORD = 0x0FF
OWNER = 0x101
LOCKOUT = 0x10A
ENDORSEMENT = 0x10B
_NO_SESSIONS = (NONE, NONE, NONE)
_TRIES = 8
_FIRST_PAUSE_S = 0.02
_BUFFER_BYTES = 8192
_INTEGERS = ("ESYS_TR", "UINT32", "TPMI_YES_NO")


class Input(NamedTuple):
    """A structure to hand to a command: its TSS type's name and its marshalled bytes."""

    type: str
    data: bytes


class Resource(NamedTuple):
    """An object or NV index that is known to ESAPI.

    ``handle`` is ESAPI's (ESYS_TR); ``name`` the TPM's Name; ``public`` the marshalled TPM2B_PUBLIC
    or TPM2B_NV_PUBLIC.
    """

    handle: int
    name: bytes
    public: bytes


Argument = Union[int, None, Input]


class Esys:
    """One ESAPI context. Made and ended by `xentpm_lib.tpm.connection.connect`.

    Every object that a command made in the TPM's volatile memory is flushed by `close`.
    """

    def __init__(self, binding: Binding, context: Any) -> None:
        self._ffi, self._lib = binding
        self._context = context
        self._volatile: List[int] = []
        self.interrupted: Optional[BaseException] = None

    def command(
        self,
        name: str,
        handles: Sequence[int],
        sessions: Sequence[int],
        inputs: Sequence[Argument],
        outputs: Sequence[str] = (),
    ) -> Tuple[Any, ...]:
        """Run TPM2_``name`` and return its outputs: ints for the kinds of `_INTEGERS`, else bytes.

        An output type of ``""`` is not fetched. A busy TPM is asked again, with growing pauses.

        Raises:
            TpmError: with the TPM's response code.
        """
        function = getattr(self._lib, "Esys_" + name)
        arguments = [self._argument(value) for value in inputs]
        padded = (tuple(sessions) + _NO_SESSIONS)[:3]
        slots = [self._slot(kind) for kind in outputs]
        rc = self._until_ready(lambda: int(function(self._context, *handles, *padded, *arguments, *slots)))
        if rc:
            raise error_of(rc, name)
        return tuple(self._output(kind, slot) for kind, slot in zip(outputs, slots) if kind)

    def _until_ready(self, send: Callable[[], int]) -> int:
        """The response code of ``send``, which is called again while the TPM says that it is busy."""
        pause_s = _FIRST_PAUSE_S
        for _ in range(_TRIES - 1):
            self.stop_if_interrupted()
            rc = send()
            if base_code(rc) not in TRANSIENT_CODES:
                return rc
            time.sleep(pause_s)
            pause_s *= 2
        self.stop_if_interrupted()
        return send()

    def stop_if_interrupted(self) -> None:
        """Raise the interruption that a signal handler left, at a point where nothing can be lost."""
        if self.interrupted is not None:
            raise self.interrupted

    # Resources

    def open(self, tpm_handle: int) -> Optional[Resource]:
        """The object or NV index at a persistent or NV handle, None where there is nothing. One command."""
        slot = self._ffi.new("ESYS_TR *")
        read = self._lib.Esys_TR_FromTPMPublic
        rc = self._until_ready(lambda: int(read(self._context, tpm_handle, *_NO_SESSIONS, slot)))
        if base_code(rc) in (RC.HANDLE, RC.VALUE):
            return None
        if rc:
            raise error_of(rc, "NV_ReadPublic" if tpm_handle >> 24 == 0x01 else "ReadPublic")
        handle = int(slot[0])
        name = self._name(handle)
        return Resource(handle, name, self._public(handle, name, tpm_handle))

    def adopt_session(self, tpm_handle: int) -> int:
        """ESAPI's handle for a session or transient object that an earlier, killed process left behind."""
        slot = self._ffi.new("ESYS_TR *")
        rc = self._lib.Esys_TR_FromTPMPublic(self._context, tpm_handle, *_NO_SESSIONS, slot)
        if rc:
            raise error_of(rc, "ReadPublic")
        return int(slot[0])

    def made(self, handle: int) -> int:
        """Note that ``handle`` is in the TPM's volatile memory, to be flushed by `close`."""
        self._volatile.append(handle)
        return handle

    def flush(self, handle: int) -> None:
        """Flush a transient object or session."""
        if handle in self._volatile:
            self._volatile.remove(handle)
        rc = self._lib.Esys_FlushContext(self._context, handle)
        if rc:
            raise error_of(rc, "FlushContext")

    def set_auth(self, handle: int, auth: bytes) -> None:
        """Tell ESAPI the authorisation value to use for ``handle``. No command is sent."""
        value = self._argument(Input("TPM2B_AUTH", len(auth).to_bytes(2, "big") + auth))
        rc = self._lib.Esys_TR_SetAuth(self._context, handle, value)
        if rc:
            raise error_of(rc, "TR_SetAuth")

    def close(self) -> None:
        """Flush what is left in the TPM's volatile memory and end the ESAPI context. Never raises."""
        for handle in reversed(self._volatile):
            self._lib.Esys_FlushContext(self._context, handle)
        self._volatile = []
        self._lib.Esys_Finalize(self._ffi.new("ESYS_CONTEXT **", self._context))

    # C on one side, bytes on the other

    def _name(self, handle: int) -> bytes:
        slot = self._slot("TPM2B_NAME")
        rc = self._lib.Esys_TR_GetName(self._context, handle, slot)
        if rc:
            raise error_of(rc, "TR_GetName")
        return bytes(self._output("TPM2B_NAME", slot))[2:]

    def _public(self, handle: int, name: bytes, tpm_handle: int) -> bytes:
        """The public area that ESAPI has just read. The serialised form holds it as its last member.

        Where another TSS release arranges that otherwise, the area is read again with a command.
        """
        for candidate in _sized_tails(self._serialised(handle)):
            if _has_name(candidate[2:], name):
                return candidate
        if tpm_handle >> 24 == 0x01:
            return bytes(self.command("NV_ReadPublic", [handle], (), (), ("TPM2B_NV_PUBLIC", ""))[0])
        return bytes(self.command("ReadPublic", [handle], (), (), ("TPM2B_PUBLIC", "", ""))[0])

    def _serialised(self, handle: int) -> bytes:
        buffer, size = self._ffi.new("uint8_t **"), self._ffi.new("size_t *")
        rc = self._lib.Esys_TR_Serialize(self._context, handle, buffer, size)
        if rc:
            raise error_of(rc, "TR_Serialize")
        try:
            return bytes(self._ffi.buffer(buffer[0], size[0]))
        finally:
            self._lib.Esys_Free(buffer[0])

    def _argument(self, value: Argument) -> Any:
        if value is None:
            return self._ffi.NULL
        if isinstance(value, int):
            return value
        struct = self._ffi.new(value.type + " *")
        offset = self._ffi.new("size_t *")
        unmarshal = getattr(self._lib, "Tss2_MU_{}_Unmarshal".format(value.type))
        rc = unmarshal(value.data, len(value.data), offset, struct)
        if rc or offset[0] != len(value.data):
            raise TpmError(
                "{} of {} bytes is not well formed".format(value.type, len(value.data)), rc=rc or None
            )
        return struct

    def _slot(self, kind: str) -> Any:
        if not kind:
            return self._ffi.NULL
        return self._ffi.new(kind + (" *" if kind in _INTEGERS else " **"))

    def _output(self, kind: str, slot: Any) -> Union[bytes, int]:
        if kind in _INTEGERS:
            return int(slot[0])
        buffer, offset = self._ffi.new("uint8_t[]", _BUFFER_BYTES), self._ffi.new("size_t *")
        rc = getattr(self._lib, "Tss2_MU_{}_Marshal".format(kind))(slot[0], buffer, _BUFFER_BYTES, offset)
        self._lib.Esys_Free(slot[0])
        if rc:
            raise error_of(rc, kind)
        return bytes(self._ffi.buffer(buffer, offset[0]))


def _sized_tails(data: bytes) -> List[bytes]:
    """The ends of ``data`` that begin with their own length as a 16-bit number."""
    ends = range(max(len(data) - 2, 0))
    return [data[at:] for at in ends if int.from_bytes(data[at : at + 2], "big") == len(data) - at - 2]


def _has_name(area: bytes, name: bytes) -> bool:
    return name[2:] == digest(hash_by_id(int.from_bytes(name[:2], "big")).name, area)
