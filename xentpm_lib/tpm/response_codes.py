"""What a TPM's response code means to an administrator.

Spec: TPM 2.0 Library, Part 1 "Response Code Details" and Part 2 "TPM_RC"; TSS 2.0 Overview, "Response codes".
"""

from typing import Dict, FrozenSet, NamedTuple, Optional

from xentpm_lib.errors import TpmError

__all__ = ["LOCKOUT_HINT", "RC", "TRANSIENT_CODES", "base_code", "error_of", "is_refusal"]

_LAYER_TPM = 0x00
_LAYER_TCTI = 0x0A
_LAYERS_OF_RESOURCE_MANAGERS = (0x0B, 0x0C)
_FORMAT_ONE = 0x80


class RC:
    """Response codes without layer and without the number of the parameter, handle or session."""

    INITIALIZE = 0x100
    FAILURE = 0x101
    DISABLED = 0x120
    AUTH_UNAVAILABLE = 0x12F
    REBOOT = 0x130
    COMMAND_CODE = 0x143
    NV_RANGE = 0x146
    NV_LOCKED = 0x148
    NV_AUTHORIZATION = 0x149
    NV_UNINITIALIZED = 0x14A
    NV_SPACE = 0x14B
    HASH = 0x083
    VALUE = 0x084
    HIERARCHY = 0x085
    HANDLE = 0x08B
    AUTH_FAIL = 0x08E
    SIZE = 0x095
    INSUFFICIENT = 0x09A
    INTEGRITY = 0x09F
    BINDING = 0x0A5
    ECC_POINT = 0x0A7
    BAD_AUTH = 0x0A2
    OBJECT_MEMORY = 0x902
    SESSION_MEMORY = 0x903
    SESSION_HANDLES = 0x905
    LOCALITY = 0x907
    YIELDED = 0x908
    TESTING = 0x90A
    NV_RATE = 0x920
    LOCKOUT = 0x921
    RETRY = 0x922


TRANSIENT_CODES: FrozenSet[int] = frozenset((RC.RETRY, RC.YIELDED, RC.TESTING, RC.NV_RATE))
"""The command was not executed and may be sent again after a pause."""


class _Meaning(NamedTuple):
    code: str
    message: str
    hint: str


LOCKOUT_HINT = (
    "Wait for its recovery time, or reset it with the lockout password (docs/administer.md); "
    "a wrong one there locks it for a day."
)
_CLEAR = "Clear the TPM in the BIOS, then call again: a clear also removes keys that other software made."
_ENABLE = "Enable the TPM and both its hierarchies in the BIOS, then restart the host."
_POWER_CYCLE = (
    "Shut the host down, take its power away for a minute and start it; if this stays, replace the TPM."
)
_NO_SPACE = (
    "Remove NV indexes that are not needed (`tpm2_nvreadpublic` lists them) or clear the TPM in the BIOS."
)

_MEANINGS: Dict[int, _Meaning] = {
    RC.INITIALIZE: _Meaning("XENTPM_DISABLED", "The TPM was not started by the firmware", _ENABLE),
    RC.FAILURE: _Meaning("XENTPM_TPM_FAILURE", "The TPM is in failure mode", _POWER_CYCLE),
    RC.REBOOT: _Meaning("XENTPM_TPM_FAILURE", "The TPM has to be restarted", "Restart the host."),
    RC.DISABLED: _Meaning(
        "XENTPM_DISABLED", "The TPM is deactivated. Please activate the TPM in the BIOS", _ENABLE
    ),
    RC.HIERARCHY: _Meaning(
        "XENTPM_DISABLED", "The TPM is deactivated. Please activate the TPM in the BIOS", _ENABLE
    ),
    RC.LOCKOUT: _Meaning(
        "XENTPM_LOCKED_OUT",
        "The TPM is locked after too many wrong passwords",
        LOCKOUT_HINT,
    ),
    RC.AUTH_FAIL: _Meaning("XENTPM_AUTH_FAILED", "The TPM refused the password", _CLEAR),
    RC.BAD_AUTH: _Meaning("XENTPM_AUTH_FAILED", "The TPM refused the password", _CLEAR),
    RC.AUTH_UNAVAILABLE: _Meaning("XENTPM_AUTH_FAILED", "The TPM does not take a password for this", _CLEAR),
    RC.NV_SPACE: _Meaning(
        "XENTPM_NV_SPACE", "The TPM has no room for another object in its memory", _NO_SPACE
    ),
    RC.NV_AUTHORIZATION: _Meaning(
        "XENTPM_NV_FOREIGN", "The TPM's NV index belongs to the platform or to other software", _CLEAR
    ),
    RC.NV_LOCKED: _Meaning(
        "XENTPM_NV_FOREIGN", "The TPM's NV index is locked", "Restart the host and call again."
    ),
    RC.COMMAND_CODE: _Meaning(
        "XENTPM_UNSUPPORTED", "The TPM does not support this command", "Update the TPM's firmware."
    ),
    RC.LOCALITY: _Meaning(
        "XENTPM_UNSUPPORTED",
        "The TPM does not let dom0 extend this PCR",
        "Set asset_tag_pcr to 15 in the config: PCRs 17 to 22 belong to the dynamic launch.",
    ),
    RC.OBJECT_MEMORY: _Meaning("XENTPM_TPM_MEMORY", "The TPM's memory for keys is full", "Restart the host."),
    RC.SESSION_MEMORY: _Meaning(
        "XENTPM_TPM_MEMORY", "The TPM's memory for sessions is full", "Restart the host."
    ),
    RC.SESSION_HANDLES: _Meaning("XENTPM_TPM_MEMORY", "The TPM has no session left", "Restart the host."),
    RC.RETRY: _Meaning("XENTPM_TPM_BUSY", "The TPM stayed busy", "Call again in a minute."),
    RC.TESTING: _Meaning(
        "XENTPM_TPM_BUSY", "The TPM stayed busy with its self test", "Call again in a minute."
    ),
    RC.YIELDED: _Meaning("XENTPM_TPM_BUSY", "The TPM stayed busy", "Call again in a minute."),
    RC.NV_RATE: _Meaning(
        "XENTPM_TPM_BUSY", "The TPM limits how often it is written", "Call again in a minute."
    ),
}


def base_code(rc: int) -> int:
    """``rc`` as a constant of `RC`: without the resource manager's layer and without a number."""
    layer = rc >> 16 & 0xFF
    if layer != _LAYER_TPM and layer not in _LAYERS_OF_RESOURCE_MANAGERS:
        return rc
    code = rc & 0xFFFF
    return code & 0xBF if code & _FORMAT_ONE else code


def is_refusal(rc: Optional[int]) -> bool:
    """Whether the TPM itself answered with ``rc`` and so did not do what it was asked to."""
    return bool(rc) and base_code(rc or 0) <= 0xFFFF


def error_of(rc: int, command: str) -> TpmError:
    """The error to raise when ``command`` (a TPM 2.0 command's name) was answered with ``rc``."""
    if rc >> 16 & 0xFF == _LAYER_TCTI:
        return TpmError(
            "The connection to the TPM broke during TPM2_{} (0x{:08x})".format(command, rc),
            "Call again; if this stays, restart the host and look for `tpm` in its kernel log.",
            "XENTPM_TPM_UNREACHABLE",
            rc,
        )
    meaning = _MEANINGS.get(base_code(rc))
    if meaning is None:
        return TpmError(
            "TPM2_{} failed with response code 0x{:x}".format(command, rc),
            "`tpm2_rc_decode 0x{:x}` explains the code; report it with what `xentpm --status` says.".format(
                rc
            ),
            rc=rc,
        )
    return TpmError(
        "{} (TPM2_{}: 0x{:x})".format(meaning.message, command, rc), meaning.hint, meaning.code, rc
    )
