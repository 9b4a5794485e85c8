"""The endorsement key and the attestation key: found at their handles, made where they are not.

Spec: TPM 2.0 Library, Part 1 "Hierarchies", Part 3 "CreatePrimary", "EvictControl".
"""

import os
from typing import NamedTuple, Optional

from xentpm_lib.errors import FormatError, TpmError
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.evidence.tpm_structures import Public, Scheme, qualified_name
from xentpm_lib.tpm.capabilities import handles_from
from xentpm_lib.tpm.esys import ENDORSEMENT, OWNER, PASSWORD, Esys, Input, Resource
from xentpm_lib.tpm.journal import Journal
from xentpm_lib.tpm.ownership import use_owner_auth
from xentpm_lib.tpm.response_codes import is_refusal

__all__ = [
    "AK_ALGORITHMS",
    "AK_HANDLES",
    "EK_HANDLE",
    "KeyRing",
    "LoadedKey",
    "check_qualified_name",
    "create_primary",
    "evict",
    "open_key",
    "persist",
    "require_endorsement_primary",
]

EK_HANDLE = 0x81010001
AK_HANDLES = range(0x81010002, 0x81010008)
AK_ALGORITHMS = ("ecc", "rsa")
ENDORSEMENT_HIERARCHY = 0x4000000B
_ROTATION, _PENDING_ROTATION = "ak_rotation", "ak_rotation.pending"
_ROTATION_BYTES = 16
_AK_ATTRIBUTES = (
    ts.FIXED_TPM
    | ts.FIXED_PARENT
    | ts.SENSITIVE_DATA_ORIGIN
    | ts.USER_WITH_AUTH
    | ts.NO_DA
    | ts.RESTRICTED
    | ts.SIGN
)
# An empty TPM2B_SENSITIVE_CREATE, TPM2B_DATA and TPML_PCR_SELECTION.
_NO_SENSITIVE, _NO_DATA, _NO_PCRS = b"\x00\x04\x00\x00\x00\x00", b"\x00\x00", b"\x00\x00\x00\x00"


class LoadedKey(NamedTuple):
    """A key that ESAPI knows: ``handle`` is ESAPI's; ``name`` is 2 bytes of algorithm and the digest."""

    handle: int
    name: bytes
    public: Public


class _Slot(NamedTuple):
    tpm_handle: int
    key: LoadedKey


class KeyRing(NamedTuple):
    """The host's keys in its TPM, with what is needed to make them.

    ``owner_auth``: 20 bytes; ``ak_algorithm``: one of `AK_ALGORITHMS`.
    """

    esys: Esys
    journal: Journal
    owner_auth: bytes
    ak_algorithm: str

    def attestation_key(self) -> LoadedKey:
        """The AK, made and made persistent on first use. One command where it is there.

        Raises:
            TpmError: ``XENTPM_NOT_OWNED`` when it has to be made and the TPM is somebody else's.
        """
        pending = self.journal.read(_PENDING_ROTATION, (_ROTATION_BYTES,))
        if pending is not None:
            use_owner_auth(self.esys, self.owner_auth)
            return self._replace_by(create_primary(self.esys, self._template(pending)), pending)
        slot = self._slot_in_use()
        return self._make_key() if slot is None else slot.key

    def rotate(self) -> LoadedKey:
        """Replace the AK by a new one, which this host uses from now on.

        The old one is not revoked: whoever reaches the TPM can make it again from its template.

        Raises:
            TpmError: as `attestation_key`; the AK is as it was.
        """
        use_owner_auth(self.esys, self.owner_auth)
        rotation = os.urandom(_ROTATION_BYTES)
        new = create_primary(self.esys, self._template(rotation))
        self.journal.write(_PENDING_ROTATION, rotation)
        return self._replace_by(new, rotation)

    def _replace_by(self, new: LoadedKey, rotation: bytes) -> LoadedKey:
        """Every step may be repeated: cut short anywhere, the next call ends with the same new key."""
        old = self._slot_in_use()
        try:
            tpm_handle = old.tpm_handle if old else self._free_handle()
            if old is not None:
                evict(self.esys, old.key, old.tpm_handle)
        except TpmError as error:
            if is_refusal(error.rc):
                self.journal.remove(_PENDING_ROTATION)
            raise
        key = persist(self.esys, new, tpm_handle)
        self.journal.write(_ROTATION, rotation)
        self.journal.remove(_PENDING_ROTATION)
        return key

    def _make_key(self) -> LoadedKey:
        use_owner_auth(self.esys, self.owner_auth)
        rotation = self.journal.read(_ROTATION, (_ROTATION_BYTES,)) or b""
        return persist(self.esys, create_primary(self.esys, self._template(rotation)), self._free_handle())

    def _slot_in_use(self) -> Optional[_Slot]:
        """The first of our handles that holds an AK of the configured algorithm."""
        for tpm_handle in AK_HANDLES:
            try:
                key = open_key(self.esys, tpm_handle)
            except FormatError:  # of a kind that no key of ours is
                continue
            if key is not None and self._is_ours(key.public):
                return _Slot(tpm_handle, key)
        return None

    def _free_handle(self) -> int:
        used = handles_from(self.esys, AK_HANDLES[0])
        for tpm_handle in AK_HANDLES:
            if tpm_handle not in used:
                return tpm_handle
        raise TpmError(
            "No persistent handle from 0x{:08x} to 0x{:08x} is free".format(AK_HANDLES[0], AK_HANDLES[-1]),
            "Remove keys that are not needed: tpm2_getcap handles-persistent, tpm2_evictcontrol.",
            "XENTPM_NV_SPACE",
        )

    def _is_ours(self, public: Public) -> bool:
        return public._replace(modulus=b"", x=b"", y=b"") == self._template(b"")

    def _template(self, rotation: bytes) -> Public:
        """The AK's template; ``rotation`` in its ``unique`` field makes another key of the same seed."""
        if self.ak_algorithm == "rsa":
            scheme = Scheme("rsassa", "sha256")
            return Public("rsa", "sha256", _AK_ATTRIBUTES, scheme=scheme, key_bits=2048, modulus=rotation)
        scheme = Scheme("ecdsa", "sha256")
        return Public("ecc", "sha256", _AK_ATTRIBUTES, scheme=scheme, curve="nist_p256", x=rotation)


def open_key(esys: Esys, tpm_handle: int) -> Optional[LoadedKey]:
    """The key at a persistent handle, None where there is none. One command."""
    resource = esys.open(tpm_handle)
    return None if resource is None else _loaded(resource)


def require_endorsement_primary(esys: Esys, key: LoadedKey) -> None:
    """Refuse a key that was made in another hierarchy. One command.

    Raises:
        TpmError: ``XENTPM_FOREIGN_KEY``.
    """
    outputs = ("", "", "TPM2B_NAME")
    (name,) = esys.command("ReadPublic", [key.handle], (), (), outputs)
    check_qualified_name(name[2:], key)


def check_qualified_name(name: bytes, key: LoadedKey) -> None:
    """Refuse ``name`` unless it is that of ``key`` as a primary of the endorsement hierarchy.

    Raises:
        TpmError: ``XENTPM_FOREIGN_KEY``.
    """
    if name != qualified_name(ENDORSEMENT_HIERARCHY, key.name):
        raise TpmError(
            "A key at the handle of one of ours is not a primary of the endorsement hierarchy",
            "Other software put it there: remove it with tpm2_evictcontrol; the next call makes ours.",
            "XENTPM_FOREIGN_KEY",
        )


def create_primary(esys: Esys, template: Public) -> LoadedKey:
    """Make a primary key in the endorsement hierarchy (transient; flushed when the connection ends).

    Raises:
        TpmError: ``XENTPM_AUTH_FAILED`` when that hierarchy has a password.
    """
    inputs = (
        Input("TPM2B_SENSITIVE_CREATE", _NO_SENSITIVE),
        Input("TPM2B_PUBLIC", template.to_tpm2b()),
        Input("TPM2B_DATA", _NO_DATA),
        Input("TPML_PCR_SELECTION", _NO_PCRS),
    )
    outputs = ("ESYS_TR", "TPM2B_PUBLIC", "", "", "")
    esys.set_auth(ENDORSEMENT, b"")
    handle, public = esys.command("CreatePrimary", [ENDORSEMENT], [PASSWORD], inputs, outputs)
    esys.made(handle)
    parsed = Public.from_tpm2b(public)
    return LoadedKey(handle, parsed.name(), parsed)


def persist(esys: Esys, key: LoadedKey, tpm_handle: int) -> LoadedKey:
    """Keep a transient key at a persistent handle, as owner. Two commands."""
    (handle,) = esys.command("EvictControl", [OWNER, key.handle], [PASSWORD], [tpm_handle], ["ESYS_TR"])
    esys.flush(key.handle)
    return key._replace(handle=handle)


def evict(esys: Esys, key: LoadedKey, tpm_handle: int) -> None:
    """Remove a persistent key from its handle, as owner. One command."""
    esys.command("EvictControl", [OWNER, key.handle], [PASSWORD], [tpm_handle], ["ESYS_TR"])


def _loaded(resource: Resource) -> LoadedKey:
    return LoadedKey(resource.handle, resource.name, Public.from_tpm2b(resource.public))
