"""Making a software TPM one with a P-256 endorsement key, as many laptops and boards have.

swtpm's tools always certify an RSA-2048 and a P-384 key. Here the RSA key and its certificate go, and a
P-256 key gets one. Platform and owner authorisation are still empty, as a TPM leaves the factory.

Spec: TCG EK Credential Profile 2.0, template L-2 and NV index 0x01c0000a.
"""

import struct
from typing import Callable

from xentpm_lib.simulator.swtpm_manufacture import sign_key
from xentpm_lib.simulator.tpm_wire import with_password, without_authorisation

__all__ = ["exchange_certificates"]

RSA_EK = 0x81010001
RSA_CERTIFICATE = 0x01C00002
P256_CERTIFICATE = 0x01C0000A

_OWNER = 0x40000001
_ENDORSEMENT = 0x4000000B
_PLATFORM = 0x4000000C

_CC_EVICT_CONTROL = 0x00000120
_CC_NV_UNDEFINE_SPACE = 0x00000122
_CC_NV_DEFINE_SPACE = 0x0000012A
_CC_CREATE_PRIMARY = 0x00000131
_CC_NV_WRITE = 0x00000137
_CC_FLUSH_CONTEXT = 0x00000165

_COORDINATE = 32  # bytes
_POLICY_A = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
_ATTRIBUTES = 0x000300B2
_NV_ATTRIBUTES = 0x42072001  # PPWRITE WRITEDEFINE PPREAD OWNERREAD AUTHREAD NO_DA PLATFORMCREATE
_NV_CHUNK = 512  # bytes

Run = Callable[[str, bytes], bytes]


def exchange_certificates(run: Run, ca_dir: str) -> None:
    """Take the RSA key and certificate from a new TPM and certify its P-256 key.

    ``run`` sends a named raw command and returns what follows its answer's header (``Swtpm.run``).
    Raises: TpmError, UsageError.
    """
    certificate = sign_key(ca_dir, _p256_key(run))
    objects = struct.pack(">II", _OWNER, RSA_EK)
    run("TPM2_EvictControl", with_password(_CC_EVICT_CONTROL, objects, struct.pack(">I", RSA_EK)))
    index = struct.pack(">II", _PLATFORM, RSA_CERTIFICATE)
    run("TPM2_NV_UndefineSpace", with_password(_CC_NV_UNDEFINE_SPACE, index, b""))
    _store(run, certificate)


def _p256_key(run: Run) -> str:
    """Make the endorsement key and return its point as swtpm_localca takes it."""
    template = struct.pack(">HHI", 0x0023, 0x000B, _ATTRIBUTES) + _tpm2b(_POLICY_A)
    template += struct.pack(">HHHHHH", 0x0006, 128, 0x0043, 0x0010, 0x0003, 0x0010)
    template += _tpm2b(bytes(_COORDINATE)) * 2
    parameters = _tpm2b(_tpm2b(b"") * 2) + _tpm2b(template) + _tpm2b(b"") + struct.pack(">I", 0)
    command = with_password(_CC_CREATE_PRIMARY, struct.pack(">I", _ENDORSEMENT), parameters)
    answer = run("TPM2_CreatePrimary", command)
    run("TPM2_FlushContext", without_authorisation(_CC_FLUSH_CONTEXT, answer[:4]))
    end = 10 + int.from_bytes(
        answer[8:10], "big"
    )  # after handle, size of parameters, size of the public area
    x = answer[end - 2 * _COORDINATE - 2 : end - _COORDINATE - 2]
    y = answer[end - _COORDINATE : end]
    return "x={},y={},id=secp256r1".format(x.hex(), y.hex())


def _store(run: Run, certificate: bytes) -> None:
    public = struct.pack(">IHIHH", P256_CERTIFICATE, 0x000B, _NV_ATTRIBUTES, 0, len(certificate))
    parameters = _tpm2b(b"") + _tpm2b(public)
    define = with_password(_CC_NV_DEFINE_SPACE, struct.pack(">I", _PLATFORM), parameters)
    run("TPM2_NV_DefineSpace", define)
    handles = struct.pack(">II", _PLATFORM, P256_CERTIFICATE)
    for start in range(0, len(certificate), _NV_CHUNK):
        part = _tpm2b(certificate[start : start + _NV_CHUNK]) + struct.pack(">H", start)
        run("TPM2_NV_Write", with_password(_CC_NV_WRITE, handles, part))


def _tpm2b(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
