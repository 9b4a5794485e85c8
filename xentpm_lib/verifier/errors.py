"""Errors of the verifier, beside those of the project.

No message ever holds a password, a challenge secret or a session reference.
"""

from __future__ import annotations

from xentpm_lib.errors import XenTpmError

__all__ = ["CollectionError", "EnrolmentError", "StoreError"]


class CollectionError(XenTpmError):
    """Evidence could not be collected.

    finding: the finding code that says why (``HOST_OFFLINE``, ``TLS_CERTIFICATE``, ``PLUGIN_ERROR`` …).
    permanent: trying again at once is of no use: a wrong password, a missing plugin.
    """

    default_code = "XENTPM_COLLECTION"

    def __init__(self, finding: str, message: str, hint: str = "", permanent: bool = False) -> None:
        super().__init__(message, hint)
        self.finding = finding
        self.permanent = permanent


class EnrolmentError(XenTpmError):
    """A host cannot be enrolled: its keys are not proven to be a TPM's, or they are not what was pinned."""

    default_code = "XENTPM_ENROLMENT"


class StoreError(XenTpmError):
    """The store cannot be used. ``XENTPM_STORE_ALTERED``: a record was changed behind the verifier's back."""

    default_code = "XENTPM_STORE"
