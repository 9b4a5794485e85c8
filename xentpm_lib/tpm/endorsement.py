"""The endorsement key with its certificate: found at its handle, made by the template that has one.

Spec: TCG EK Credential Profile for TPM Family 2.0, 2.5, section 2.2.
"""

from typing import List, NamedTuple, Optional, Sequence, Tuple

from xentpm_lib.errors import FormatError, TpmError, XenTpmError
from xentpm_lib.evidence.certificate import certificate_holds_key, trim_certificate
from xentpm_lib.evidence.tpm_structures import Public
from xentpm_lib.tpm.capabilities import handles_from
from xentpm_lib.tpm.ek_templates import CERTIFICATE_CHAIN_INDICES, EK_TEMPLATES, EkTemplate, template_of
from xentpm_lib.tpm.esys import Esys
from xentpm_lib.tpm.keys import EK_HANDLE, LoadedKey, create_primary, open_key, persist
from xentpm_lib.tpm.nv import read_index
from xentpm_lib.tpm.ownership import use_owner_auth

__all__ = ["Endorsement", "endorsement_key", "find_certificate", "read_chain", "read_endorsement"]

_NV_INDICES = 0x01000000


class Endorsement(NamedTuple):
    """``certificate`` is DER without trailing bytes, None where the TPM has none for this key;
    ``chain`` the intermediate certificates that the TPM holds, as they are there.
    """

    key: LoadedKey
    certificate: Optional[bytes]
    chain: Tuple[bytes, ...]


def read_endorsement(esys: Esys, owner_auth: bytes) -> Endorsement:
    """The EK and its certificates. The EK is made and made persistent on first use.

    Raises:
        TpmError: ``XENTPM_NOT_OWNED`` when it has to be made and the TPM is somebody else's.
        XenTpmError: ``XENTPM_CERTIFICATE`` when a certificate cannot be read or parsed.
    """
    indices = handles_from(esys, _NV_INDICES)
    key = _find(esys) or _make(esys, owner_auth, indices)
    return Endorsement(key, find_certificate(esys, key.public, indices), read_chain(esys, indices))


def endorsement_key(esys: Esys, owner_auth: bytes) -> LoadedKey:
    """The EK alone. One command where it is there. Raises as `read_endorsement`."""
    return _find(esys) or _make(esys, owner_auth, handles_from(esys, _NV_INDICES))


def find_certificate(esys: Esys, public: Public, indices: Sequence[int]) -> Optional[bytes]:
    """The certificate for ``public`` among the NV ``indices``; None where there is none for this key.

    Raises:
        XenTpmError: ``XENTPM_CERTIFICATE``.
    """
    for template in template_of(public):
        if template.certificate_index in indices:
            certificate = _read_certificate(esys, template.certificate_index)
            if certificate is not None and certificate_holds_key(certificate, public):
                return certificate
    return None


def read_chain(esys: Esys, indices: Sequence[int]) -> Tuple[bytes, ...]:
    """The intermediate certificates (DER) in the TPM; several may follow each other in one index.

    Raises:
        XenTpmError: ``XENTPM_CERTIFICATE``.
    """
    data = b"".join(_read(esys, index) or b"" for index in indices if index in CERTIFICATE_CHAIN_INDICES)
    chain: List[bytes] = []
    while data.startswith(b"\x30"):  # what follows the last certificate is padding
        chain.append(_trim(data))
        data = data[len(chain[-1]) :]
    return tuple(chain)


def _find(esys: Esys) -> Optional[LoadedKey]:
    """The EK at its handle: a key of another template there is none."""
    try:
        key = open_key(esys, EK_HANDLE)
    except FormatError as error:
        raise _foreign_key() from error
    if key is not None and not template_of(key.public):
        raise _foreign_key()
    return key


def _foreign_key() -> TpmError:
    return TpmError(
        "The key at 0x{:08x} is no endorsement key".format(EK_HANDLE),
        "Other software put it there: remove it with tpm2_evictcontrol; the next call puts the EK there.",
        "XENTPM_FOREIGN_KEY",
    )


def _make(esys: Esys, owner_auth: bytes, indices: Sequence[int]) -> LoadedKey:
    use_owner_auth(esys, owner_auth)
    key = _first_certified(esys, indices) or create_primary(esys, EK_TEMPLATES[0].public)
    return persist(esys, key, EK_HANDLE)


def _first_certified(esys: Esys, indices: Sequence[int]) -> Optional[LoadedKey]:
    for template in _in_order_of_certificates(indices):
        key = create_primary(esys, template.public)
        if find_certificate(esys, key.public, [template.certificate_index]) is not None:
            return key
        esys.flush(key.handle)
    return None


def _in_order_of_certificates(indices: Sequence[int]) -> Tuple[EkTemplate, ...]:
    return tuple(template for template in EK_TEMPLATES if template.certificate_index in indices)


def _read_certificate(esys: Esys, index: int) -> Optional[bytes]:
    data = _read(esys, index)
    return None if data is None else _trim(data)


def _read(esys: Esys, index: int) -> Optional[bytes]:
    try:
        return read_index(esys, index)
    except TpmError as error:
        raise XenTpmError(
            "XenServer could not read TPM certificate: {}".format(error),
            "`tpm2_getekcertificate` shows what the TPM holds; report it with what `xentpm --status` says.",
            "XENTPM_CERTIFICATE",
        ) from error


def _trim(data: bytes) -> bytes:
    try:
        return trim_certificate(data)
    except FormatError as error:
        raise XenTpmError(
            "XenServer could not parse TPM certificate: {}".format(error),
            "Ask the TPM's maker for a firmware update, or have the verifier pin the EK by its public key.",
            "XENTPM_CERTIFICATE",
        ) from error
