"""Taking a free TPM into ownership, and knowing whose it is.

The owner and lockout authorisation become the configured 20 bytes; the endorsement hierarchy is left
as it is. Nothing is ever cleared.
"""

from typing import NamedTuple

from xentpm_lib.errors import TpmError
from xentpm_lib.tpm.capabilities import Properties, read_properties
from xentpm_lib.tpm.esys import LOCKOUT, OWNER, PASSWORD, Esys, Input
from xentpm_lib.tpm.response_codes import RC, base_code

__all__ = ["OLD_DEFAULT_AUTH", "Owner", "is_owned", "take_ownership", "use_owner_auth"]

OLD_DEFAULT_AUTH = bytes.fromhex("3beac9388f9b489d50bb01e2ff0fa2aaa9ee1d73")
"""SHA-1 of ``xenroot`` and a newline: what an older release of the closed pack set."""

_NO_CHANGE = 0


class Owner(NamedTuple):
    """What was found and done. ``changed`` tells whether an authorisation was written."""

    changed: bool
    was_free: bool


def is_owned(esys: Esys, auth: bytes) -> bool:
    """Whether ``auth`` (20 bytes) is the TPM's owner authorisation.

    A wrong one costs nothing: the owner hierarchy is outside the dictionary-attack protection.

    Raises:
        TpmError: when the TPM answers with anything but yes or no.
    """
    return read_properties(esys).owner_auth_set and _owner_auth_is(esys, auth)


def use_owner_auth(esys: Esys, auth: bytes) -> None:
    """Authorise as owner with ``auth`` from here on. A free TPM is taken first, a taking cut short finished.

    Raises:
        TpmError: ``XENTPM_NOT_OWNED`` when the owner is somebody else.
    """
    take_ownership(esys, auth)
    esys.set_auth(OWNER, auth)


def take_ownership(esys: Esys, auth: bytes) -> Owner:
    """Make ``auth`` the owner and lockout authorisation of a TPM that is free or has the old default.

    Killed between two commands, the next call goes on where it stopped: the lockout authorisation is
    empty from before the owner's is changed until after it.

    Raises:
        TpmError: ``XENTPM_NOT_OWNED`` when another owner authorisation is set;
            ``XENTPM_LOCKED_OUT`` when the old default's lockout authorisation cannot be used now.
    """
    properties = read_properties(esys)
    _require_enabled(properties)
    if not properties.owner_auth_set:
        return _take(esys, b"", auth, properties)
    if _owner_auth_is(esys, auth):
        return _finish_lockout(esys, auth, properties)
    if auth != OLD_DEFAULT_AUTH and _owner_auth_is(esys, OLD_DEFAULT_AUTH):
        return _take(esys, OLD_DEFAULT_AUTH, auth, properties)
    raise TpmError(
        "XenServer does not own the TPM. Please clear the TPM in the BIOS",
        "Or set password= in the config to the SHA-1 of the password that the TPM has.",
        "XENTPM_NOT_OWNED",
    )


def _take(esys: Esys, old: bytes, auth: bytes, properties: Properties) -> Owner:
    lockout_is_foreign = properties.lockout_auth_set and not old
    if properties.lockout_auth_set and not lockout_is_foreign:
        _change_auth(esys, LOCKOUT, old, b"")
    _change_auth(esys, OWNER, old, auth)
    if not lockout_is_foreign:  # else a guess would cost one of its few tries
        _change_auth(esys, LOCKOUT, b"", auth)
    return Owner(changed=True, was_free=not old)


def _finish_lockout(esys: Esys, auth: bytes, properties: Properties) -> Owner:
    if properties.lockout_auth_set:
        return Owner(changed=False, was_free=False)
    _change_auth(esys, LOCKOUT, b"", auth)
    return Owner(changed=True, was_free=False)


def _change_auth(esys: Esys, hierarchy: int, old: bytes, new: bytes) -> None:
    esys.set_auth(hierarchy, old)
    value = Input("TPM2B_AUTH", len(new).to_bytes(2, "big") + new)
    esys.command("HierarchyChangeAuth", [hierarchy], [PASSWORD], [value])
    esys.set_auth(hierarchy, new)


def _owner_auth_is(esys: Esys, auth: bytes) -> bool:
    """Ask with a command that the owner may give and that changes nothing."""
    esys.set_auth(OWNER, auth)
    try:
        esys.command("ClockRateAdjust", [OWNER], [PASSWORD], [_NO_CHANGE])
    except TpmError as error:
        if error.rc is not None and base_code(error.rc) in (RC.BAD_AUTH, RC.AUTH_FAIL):
            return False
        raise
    return True


def _require_enabled(properties: Properties) -> None:
    if not (properties.owner_enabled and properties.endorsement_enabled):
        raise TpmError(
            "The TPM is deactivated. Please activate the TPM in the BIOS",
            "Enable its storage and endorsement hierarchies, then restart the host.",
            "XENTPM_DISABLED",
        )
