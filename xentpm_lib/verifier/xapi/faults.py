"""What XAPI's errors mean for the collection of evidence, and how to tell them without telling secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from xentpm_lib.verifier.errors import CollectionError

__all__ = ["XapiFailure", "as_collection_error", "plain_name", "plain_text", "raise_failure"]

_MAX_TEXT = 500  # characters of what a server says
_MAX_NAME = 128  # characters of what a host or pool is called
_REFERENCE = re.compile(r"OpaqueRef:[0-9A-Za-z-]*")
_OFFLINE = frozenset(
    "HOST_OFFLINE HOST_NOT_LIVE CANNOT_CONTACT_HOST HOST_STILL_BOOTING HOST_HAS_NO_MANAGEMENT_IP"
    " HOST_IN_EMERGENCY_MODE HOST_POWER_OFF".split()
)
_REFUSED = frozenset(("RBAC_PERMISSION_DENIED", "USER_IS_NOT_LOCAL_SUPERUSER"))
_UNKNOWN = frozenset(("UUID_INVALID", "HANDLE_INVALID"))
_PASSING = frozenset(
    "XENTPM_BUSY XENTPM_TPM_BUSY XENTPM_PCRS_CHANGE XENTPM_TPM_UNREACHABLE XENTPM_TPM_ERROR XENTPM_INTERNAL"
    " XENTPM_IO XENTPM_TPM_MEMORY".split()
)
"""The plugin's errors that may be gone a moment later."""


class XapiFailure(Exception):
    """What XAPI answers instead of a value. code, params: untrusted text."""

    def __init__(self, description: Sequence[str]) -> None:
        super().__init__(plain_text(description[0]))
        self.code = description[0]
        self.params = tuple(description[1:])


def raise_failure(description: object) -> NoReturn:
    """Raises: XapiFailure for an ``ErrorDescription``; CollectionError when it is none."""
    if not isinstance(description, list) or not description:
        raise CollectionError("XAPI_ERROR", "an error without a description")
    if not all(isinstance(item, str) for item in description):
        raise CollectionError("XAPI_ERROR", "an error whose description is no text")
    raise XapiFailure(description)


def plain_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Untrusted text for messages: printable, on one line, short; without references and ``secrets``."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    text = _REFERENCE.sub("OpaqueRef:…", text[: 4 * _MAX_TEXT])
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain if len(plain) <= _MAX_TEXT else plain[: _MAX_TEXT - 1] + "…"


def plain_name(text: str) -> str:
    """What a server calls a host or pool: as `plain_text`, and 128 characters at most."""
    plain = plain_text(text).strip()
    return plain if len(plain) <= _MAX_NAME else plain[: _MAX_NAME - 1] + "…"


def as_collection_error(failure: XapiFailure, secrets: Iterable[str] = ()) -> CollectionError:
    """The error that says why there is no evidence. secrets: what must not be repeated."""
    known = tuple(secrets)
    code = plain_text(failure.code, known)
    params = [plain_text(param, known) for param in failure.params]
    if failure.code in _OFFLINE:
        return CollectionError("HOST_OFFLINE", f"the pool's master cannot reach the host: {code}")
    if failure.code == "SESSION_AUTHENTICATION_FAILED":  # the parameters hold the user's name
        return CollectionError("XAPI_AUTHENTICATION", "user name or password are wrong", permanent=True)
    if failure.code in _REFUSED:
        message = f"the user may not do this, it takes the role pool-admin: {code}"
        return CollectionError("XAPI_AUTHENTICATION", message, permanent=True)
    if failure.code in _UNKNOWN and params and params[0].lower() == "host":  # message.create: Host
        return CollectionError("HOST_UNKNOWN", "the pool knows no such host", permanent=True)
    if failure.code == "XENAPI_MISSING_PLUGIN":
        hint = "install the supplemental pack; a host upgrade removes it"
        return CollectionError("PLUGIN_MISSING", "the host has no plugin named tpm", hint, permanent=True)
    return _plugin_error(failure, code, params) or CollectionError("XAPI_ERROR", ": ".join([code, *params]))


def _plugin_error(failure: XapiFailure, code: str, params: list[str]) -> CollectionError | None:
    if failure.code.startswith("XENTPM_"):  # [message, hint, mark]
        message, hint, mark = [*params, "", "", ""][:3]
        told = f"{code}: {message}" + (f" ({mark})" if mark else "")
        return CollectionError("PLUGIN_ERROR", told, hint, permanent=failure.code not in _PASSING)
    if failure.code == "UNKNOWN_XENAPI_PLUGIN_FUNCTION":
        message = ": ".join([code, *params])
        hint = "the host's plugin is older than this: install the newer supplemental pack on the host"
        return CollectionError("PLUGIN_ERROR", message, hint)
    if failure.code == "XENAPI_PLUGIN_FAILURE":
        hint = "install the same release of xentpm on the host and here"
        return CollectionError("PLUGIN_ERROR", ": ".join([code, *params]), hint)
    return None
