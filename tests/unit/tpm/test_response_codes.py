"""Response codes as an administrator reads them."""

import pytest

from xentpm_lib.tpm.response_codes import RC, base_code, error_of


@pytest.mark.parametrize(
    "rc, base",
    [
        (0, 0),
        (0x101, RC.FAILURE),
        (0x921, RC.LOCKOUT),
        (0x922, RC.RETRY),
        (0x18B, RC.HANDLE),  # handle 1
        (0x28B, RC.HANDLE),  # handle 2
        (0x1C4, RC.VALUE),  # parameter 1
        (0xFC4, RC.VALUE),  # parameter 15
        (0x98E, RC.AUTH_FAIL),  # session 1
        (0x9A2, RC.BAD_AUTH),
        (0x1DF, RC.INTEGRITY),
        (0xB0922, RC.RETRY),  # by the resource manager
        (0xC0902, RC.OBJECT_MEMORY),
        (0x70001, 0x70001),  # the TSS's own
        (0xA000A, 0xA000A),
    ],
)
def test_base_code(rc, base):
    assert base_code(rc) == base


@pytest.mark.parametrize(
    "rc, code, told",
    [
        (0x100, "XENTPM_DISABLED", "not started by the firmware"),
        (0x101, "XENTPM_TPM_FAILURE", "failure mode"),
        (0x120, "XENTPM_DISABLED", "The TPM is deactivated. Please activate the TPM in the BIOS"),
        (0x130, "XENTPM_TPM_FAILURE", "has to be restarted"),
        (0x185, "XENTPM_DISABLED", "The TPM is deactivated. Please activate the TPM in the BIOS"),
        (0x921, "XENTPM_LOCKED_OUT", "too many wrong passwords"),
        (0x98E, "XENTPM_AUTH_FAILED", "refused the password"),
        (0x9A2, "XENTPM_AUTH_FAILED", "refused the password"),
        (0x12F, "XENTPM_AUTH_FAILED", "does not take a password"),
        (0x14B, "XENTPM_NV_SPACE", "no room"),
        (0x149, "XENTPM_NV_FOREIGN", "belongs to the platform"),
        (0x148, "XENTPM_NV_FOREIGN", "locked"),
        (0x143, "XENTPM_UNSUPPORTED", "does not support this command"),
        (0x907, "XENTPM_UNSUPPORTED", "does not let dom0 extend"),
        (0x902, "XENTPM_TPM_MEMORY", "memory for keys"),
        (0x903, "XENTPM_TPM_MEMORY", "memory for sessions"),
        (0x905, "XENTPM_TPM_MEMORY", "no session left"),
        (0x922, "XENTPM_TPM_BUSY", "stayed busy"),
        (0x90A, "XENTPM_TPM_BUSY", "self test"),
        (0x908, "XENTPM_TPM_BUSY", "stayed busy"),
        (0x920, "XENTPM_TPM_BUSY", "how often it is written"),
        (0xA000A, "XENTPM_TPM_UNREACHABLE", "connection to the TPM broke"),
        (0x70011, "XENTPM_TPM_ERROR", "response code 0x70011"),
        (0x1FF, "XENTPM_TPM_ERROR", "response code 0x1ff"),
        (0xFFFFFFFF, "XENTPM_TPM_ERROR", "response code 0xffffffff"),
    ],
)
def test_error(rc, code, told):
    error = error_of(rc, "Quote")
    assert (error.code, error.rc) == (code, rc)
    assert told in error.message
    assert "TPM2_Quote" in error.message
    assert "{:x}".format(rc) in error.message
    assert error.hint
