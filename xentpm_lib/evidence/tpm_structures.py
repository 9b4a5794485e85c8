"""The TPM 2.0 structures that evidence is made of, in one place to import from.

Each record parses its structure strictly and writes it back byte for byte:

=============  ==============================  =====================================
record         structure                       module
=============  ==============================  =====================================
Public         TPMT_PUBLIC, TPM2B_PUBLIC       ``public``, ``key_parameters``
Attest         TPMS_ATTEST                     ``attest``
Signature      TPMT_SIGNATURE                  ``signature``
NvPublic       TPM2B_NV_PUBLIC                 ``nv_public``
PcrSelection   TPML_PCR_SELECTION              ``pcr``
=============  ==============================  =====================================
"""

from xentpm_lib.evidence.attest import Attest, NvCertifyInfo, QuoteInfo
from xentpm_lib.evidence.attributes import (
    ADMIN_WITH_POLICY,
    DECRYPT,
    FIXED_PARENT,
    FIXED_TPM,
    NO_DA,
    NV_AUTHREAD,
    NV_AUTHWRITE,
    NV_NO_DA,
    NV_OWNERREAD,
    NV_OWNERWRITE,
    NV_PLATFORMCREATE,
    NV_POLICY_DELETE,
    NV_POLICYREAD,
    NV_POLICYWRITE,
    NV_PPREAD,
    NV_PPWRITE,
    NV_READLOCKED,
    NV_TYPE_MASK,
    NV_WRITELOCKED,
    NV_WRITTEN,
    RESTRICTED,
    SENSITIVE_DATA_ORIGIN,
    SIGN,
    USER_WITH_AUTH,
)
from xentpm_lib.evidence.key_parameters import Scheme, Symmetric
from xentpm_lib.evidence.names import (
    ENDORSEMENT_HIERARCHY,
    NULL_HIERARCHY,
    OWNER_HIERARCHY,
    PLATFORM_HIERARCHY,
    check_name,
    qualified_name,
)
from xentpm_lib.evidence.nv_public import NvPublic
from xentpm_lib.evidence.public import Public
from xentpm_lib.evidence.signature import Signature

__all__ = [
    "ADMIN_WITH_POLICY",
    "DECRYPT",
    "ENDORSEMENT_HIERARCHY",
    "FIXED_PARENT",
    "FIXED_TPM",
    "NO_DA",
    "NULL_HIERARCHY",
    "NV_AUTHREAD",
    "NV_AUTHWRITE",
    "NV_NO_DA",
    "NV_OWNERREAD",
    "NV_OWNERWRITE",
    "NV_PLATFORMCREATE",
    "NV_POLICYREAD",
    "NV_POLICYWRITE",
    "NV_POLICY_DELETE",
    "NV_PPREAD",
    "NV_PPWRITE",
    "NV_READLOCKED",
    "NV_TYPE_MASK",
    "NV_WRITELOCKED",
    "NV_WRITTEN",
    "OWNER_HIERARCHY",
    "PLATFORM_HIERARCHY",
    "RESTRICTED",
    "SENSITIVE_DATA_ORIGIN",
    "SIGN",
    "USER_WITH_AUTH",
    "Attest",
    "NvCertifyInfo",
    "NvPublic",
    "Public",
    "QuoteInfo",
    "Scheme",
    "Signature",
    "Symmetric",
    "check_name",
    "qualified_name",
]
