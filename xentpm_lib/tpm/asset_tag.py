"""The asset tag: an NV index that the TPM itself vouches for.

A tag of another size needs another index: the old one is removed, the new one defined and written. The
new tag is in the journal meanwhile, so that a change cut short is finished by the next call.

Spec: TPM 2.0 Library, Part 3 "NV_DefineSpace", "NV_Write", "NV_Certify".
"""

from typing import List, NamedTuple, Optional

from xentpm_lib.errors import TpmError
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.evidence.quote import CertifiedTag
from xentpm_lib.evidence.tpm_structures import NvPublic
from xentpm_lib.tpm.esys import OWNER, PASSWORD, Argument, Esys, Input, Resource
from xentpm_lib.tpm.journal import Journal
from xentpm_lib.tpm.keys import LoadedKey
from xentpm_lib.tpm.nv import read_resource
from xentpm_lib.tpm.ownership import use_owner_auth
from xentpm_lib.tpm.quoting import KEYS_OWN_SCHEME, sized
from xentpm_lib.tpm.response_codes import RC, base_code

__all__ = ["TAG_INDEX", "TAG_SIZES", "AssetTag"]

TAG_INDEX = 0x01C10110
TAG_SIZES = (20, 32, 48)
_ATTRIBUTES = ts.NV_OWNERWRITE | ts.NV_OWNERREAD | ts.NV_AUTHREAD | ts.NV_NO_DA
_PENDING = "asset_tag.pending"


class AssetTag(NamedTuple):
    """The tag in the TPM of ``esys``, whose owner authorisation is ``owner_auth`` (20 bytes)."""

    esys: Esys
    journal: Journal
    owner_auth: bytes

    def get(self) -> Optional[bytes]:
        """The tag, None where there is none.

        Raises:
            TpmError: ``XENTPM_NV_FOREIGN`` when the index is not one that `set` makes.
        """
        return self._content(self._current())

    def peek(self) -> Optional[bytes]:
        """The tag as it is in the TPM now, without finishing a change that was cut short."""
        return self._content(self.esys.open(TAG_INDEX))

    def set(self, tag: bytes) -> None:
        """Make ``tag`` (20, 32 or 48 bytes) the asset tag; when this is cut short, the next call finishes it.

        Raises:
            TpmError: ``XENTPM_NOT_OWNED``, ``XENTPM_NV_SPACE``, ``XENTPM_NV_FOREIGN``; the old tag is kept.
        """
        found = self._current()
        use_owner_auth(self.esys, self.owner_auth)
        old = None
        if found is not None:
            try:
                old = self._content(found)
            except TpmError as error:
                if error.code != _foreign().code:
                    raise
                _require_removable(found)
                self._undefine(found)  # it is no tag of ours that could be kept
                found = None
        self.journal.write(_PENDING, tag)
        try:
            self._make_it(tag)
        except TpmError:
            self._give_up(old, found)
            raise
        self.journal.remove(_PENDING)

    def clear(self) -> None:
        """Remove the tag with its index, and drop a change that was cut short. Removing nothing succeeds.

        Raises:
            TpmError: ``XENTPM_NOT_OWNED``, ``XENTPM_NV_FOREIGN``.
        """
        resource = self.esys.open(TAG_INDEX)
        if resource is not None:
            use_owner_auth(self.esys, self.owner_auth)
            self._undefine(resource)
        self.journal.remove(_PENDING)

    def certify(self, key: LoadedKey, nonce: bytes) -> Optional[CertifiedTag]:
        """The tag certified by ``key`` with ``nonce`` as extraData; None where there is none. Two commands.

        Raises:
            TpmError
        """
        resource = self._current()
        if resource is None:
            return None
        _require_ours(resource)
        size = NvPublic.from_tpm2b(resource.public).data_size
        inputs: List[Argument] = [sized("TPM2B_DATA", nonce), KEYS_OWN_SCHEME, size, 0]
        handles = [key.handle, resource.handle, resource.handle]
        try:
            attest, signature = self.esys.command(
                "NV_Certify", handles, [PASSWORD, PASSWORD], inputs, ["TPM2B_ATTEST", "TPMT_SIGNATURE"]
            )
        except TpmError as error:
            if error.rc is not None and base_code(error.rc) == RC.NV_UNINITIALIZED:
                return None
            if error.code == "XENTPM_AUTH_FAILED":
                raise _foreign() from error
            raise
        return CertifiedTag(resource.public, attest[2:], signature)

    def _content(self, resource: Optional[Resource]) -> Optional[bytes]:
        if resource is None:
            return None
        _require_ours(resource)
        try:
            return read_resource(self.esys, resource)
        except TpmError as error:  # an index of ours has no password
            if error.code == "XENTPM_AUTH_FAILED":
                raise _foreign() from error
            raise

    def _current(self) -> Optional[Resource]:
        """The index as it is, after a change that was cut short is finished."""
        pending = self.journal.read(_PENDING, TAG_SIZES)
        if pending is not None:
            use_owner_auth(self.esys, self.owner_auth)
            self._make_it(pending)
            self.journal.remove(_PENDING)
        return self.esys.open(TAG_INDEX)

    def _make_it(self, tag: bytes) -> None:
        """Undefine, define and write, as far as needed; may be repeated from any point."""
        resource = self.esys.open(TAG_INDEX)
        if resource is not None and not _fits(resource, len(tag)):
            self._undefine(resource)
            resource = None
        handle = self._define(len(tag)) if resource is None else resource.handle
        self.esys.command("NV_Write", [OWNER, handle], [PASSWORD], [sized("TPM2B_MAX_NV_BUFFER", tag), 0])

    def _give_up(self, old: Optional[bytes], found: Optional[Resource]) -> None:
        """Go back to ``old``, if the TPM answers; else the journal tells the next call to go on."""
        try:
            if old is not None:
                self.journal.write(_PENDING, old)
                self._make_it(old)
            elif found is None:
                self._remove_unwritten()
        except TpmError:
            if not self._is_as(found):
                return
        self.journal.remove(_PENDING)

    def _remove_unwritten(self) -> None:
        resource = self.esys.open(TAG_INDEX)
        if resource is not None and not NvPublic.from_tpm2b(resource.public).attributes & ts.NV_WRITTEN:
            self._undefine(resource)

    def _is_as(self, found: Optional[Resource]) -> bool:
        """Whether the TPM answers, and the index is what it was before anything was tried."""
        try:
            now = self.esys.open(TAG_INDEX)
        except TpmError:
            return False
        return (now and now.name) == (found and found.name)

    def _undefine(self, resource: Resource) -> None:
        self.esys.command("NV_UndefineSpace", [OWNER, resource.handle], [PASSWORD], ())

    def _define(self, size: int) -> int:
        public = NvPublic(
            index=TAG_INDEX, name_alg="sha256", attributes=_ATTRIBUTES, auth_policy=b"", data_size=size
        )
        inputs = [sized("TPM2B_AUTH", b""), Input("TPM2B_NV_PUBLIC", public.to_tpm2b())]
        (handle,) = self.esys.command("NV_DefineSpace", [OWNER], [PASSWORD], inputs, ["ESYS_TR"])
        return int(handle)


def _require_removable(resource: Resource) -> None:
    if NvPublic.from_tpm2b(resource.public).attributes & ts.NV_PLATFORMCREATE:
        raise TpmError(
            "The asset tag's NV index 0x{:08x} belongs to the platform's firmware".format(TAG_INDEX),
            "Remove it in the BIOS or with the maker's tool; only the platform can.",
            "XENTPM_NV_FOREIGN",
        )


def _require_ours(resource: Resource) -> None:
    if not _is_ours(resource):
        raise _foreign()


def _foreign() -> TpmError:
    return TpmError(
        "The asset tag's NV index 0x{:08x} was made by other software, not as an asset tag".format(TAG_INDEX),
        "Set the tag again, or clear it: tpm_set_asset_tag, tpm_clear_asset_tag.",
        "XENTPM_NV_FOREIGN",
    )


def _is_ours(resource: Resource) -> bool:
    return any(_fits(resource, size) for size in TAG_SIZES)


def _fits(resource: Resource, size: int) -> bool:
    public = NvPublic.from_tpm2b(resource.public)
    attributes = public.attributes & ~ts.NV_WRITTEN
    return public.data_size == size and attributes == _ATTRIBUTES and not public.auth_policy
