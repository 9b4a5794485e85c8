"""The errors of the project: one root, and a child for each party who can act.

``code`` is from the stable list in docs/plugin-api.md; ``message`` says what went wrong, with
what was got and wanted; ``hint`` is the next step of the person who reads it.
No message ever holds a password, an authorisation value, a secret or a session reference.
"""

from typing import Optional

__all__ = ["EvidenceError", "FormatError", "PolicyError", "TpmError", "UsageError", "XenTpmError"]


class XenTpmError(Exception):
    """The root of every error that this project raises on purpose."""

    default_code = "XENTPM_ERROR"

    def __init__(self, message: str, hint: str = "", code: Optional[str] = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class TpmError(XenTpmError):
    """The TPM, or the way to it. The administrator of the host can act.

    ``rc`` is the TPM's or the TSS's 32-bit response code, None where no command was answered.
    """

    default_code = "XENTPM_TPM_ERROR"

    def __init__(
        self, message: str, hint: str = "", code: Optional[str] = None, rc: Optional[int] = None
    ) -> None:
        super().__init__(message, hint, code)
        self.rc = rc


class FormatError(XenTpmError):
    """Bytes or text that are not what they should be. The sender can act.

    ``where`` is the path of the bad value (``pcrs.sha256[7]``) or ``offset N`` in bytes.
    """

    default_code = "XENTPM_BAD_FORMAT"

    def __init__(self, message: str, hint: str = "", code: Optional[str] = None, where: str = "") -> None:
        super().__init__("{}: {}".format(where, message) if where else message, hint, code)
        self.where = where


class EvidenceError(XenTpmError):
    """Well-formed evidence that does not hold: signature, nonce, digest or replay."""

    default_code = "XENTPM_BAD_EVIDENCE"


class PolicyError(XenTpmError):
    """An appraisal policy that cannot be used. Its author can act."""

    default_code = "XENTPM_POLICY"


class UsageError(XenTpmError):
    """A wrong argument or configuration. The caller can act."""

    default_code = "XENTPM_BAD_ARGUMENT"
