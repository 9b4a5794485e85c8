"""Answering a challenge that only the TPM with both EK and AK can answer.

Spec: TPM 2.0 Library, Part 1 "Credential Protection", Part 3 "TPM2_ActivateCredential".
"""

from xentpm_lib.errors import TpmError, UsageError
from xentpm_lib.evidence.credential_file import Credential
from xentpm_lib.tpm.ek_templates import needs_policy
from xentpm_lib.tpm.esys import ENDORSEMENT, NONE, PASSWORD, Esys, Input
from xentpm_lib.tpm.keys import EK_HANDLE, LoadedKey
from xentpm_lib.tpm.quoting import sized
from xentpm_lib.tpm.response_codes import RC, base_code

__all__ = ["activate_credential"]

_POLICY_SESSION = 1
_NO_SYMMETRIC = Input("TPMT_SYM_DEF", b"\x00\x10")  # TPM_ALG_NULL
_REFUSALS = (RC.INTEGRITY, RC.VALUE, RC.SIZE, RC.INSUFFICIENT, RC.ECC_POINT, RC.BINDING)


def activate_credential(esys: Esys, ek: LoadedKey, ak: LoadedKey, credential: Credential) -> bytes:
    """The secret in ``credential``, which was made for ``ek`` and the Name of ``ak``.

    Raises:
        UsageError: ``XENTPM_CHALLENGE`` when it was made for another EK or AK, or changed on the way.
    """
    session = _endorsement_session(esys, ek) if needs_policy(ek.public) else PASSWORD
    inputs = [
        sized("TPM2B_ID_OBJECT", credential.id_object),
        sized("TPM2B_ENCRYPTED_SECRET", credential.encrypted_secret),
    ]
    try:
        (secret,) = esys.command(
            "ActivateCredential", [ak.handle, ek.handle], [PASSWORD, session], inputs, ["TPM2B_DIGEST"]
        )
    except TpmError as error:
        if error.rc is None or not _is_refusal(esys, base_code(error.rc)):
            raise
        raise UsageError(
            "challenge: it was made for another TPM or attestation key, or was damaged on the way",
            "Make it anew from the keys that tpm_get_attestation_identity returns for this host.",
            "XENTPM_CHALLENGE",
        ) from error
    return bytes(secret[2:])


def _is_refusal(esys: Esys, code: int) -> bool:
    """Whether the TPM refused the credential. Some say FAILURE to it, which a broken TPM says to all."""
    return code in _REFUSALS or (code == RC.FAILURE and esys.open(EK_HANDLE) is not None)


def _endorsement_session(esys: Esys, ek: LoadedKey) -> int:
    """A policy session that satisfies PolicySecret(endorsement); flushed when the connection ends."""
    hash_id = ek.name[:2]
    inputs = (None, _POLICY_SESSION, _NO_SYMMETRIC, int.from_bytes(hash_id, "big"))
    (session,) = esys.command("StartAuthSession", [NONE, NONE], (), inputs, ["ESYS_TR"])
    esys.made(session)
    esys.set_auth(ENDORSEMENT, b"")
    esys.command("PolicySecret", [ENDORSEMENT, session], [PASSWORD], [None, None, None, 0], ["", ""])
    return int(session)
