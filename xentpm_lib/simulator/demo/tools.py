"""The verifying half of the demo: tpm2-tools and ``cryptography``, which know nothing of xentpm."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from xentpm_lib.errors import EvidenceError
from xentpm_lib.evidence.algorithms import hash_by_name
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import PcrValues
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Public, Signature

__all__ = ["check_quote", "check_signature", "make_credential"]


def make_credential(work: Path, identity: Identity, secret: bytes) -> bytes:
    """A challenge that only the TPM with both keys of ``identity`` can answer. Raises: EvidenceError."""
    ek, plain, sealed = work / "ek.pub", work / "secret", work / "challenge"
    ek.write_bytes(identity.ek.to_tpm2b())
    plain.write_bytes(secret)
    name = identity.ak.name().hex()
    _run("tpm2_makecredential", "-Q", "-T", "none", "-u", ek, "-s", plain, "-n", name, "-o", sealed)
    return sealed.read_bytes()


def check_quote(work: Path, ak: Public, evidence: QuoteEvidence, nonce: bytes) -> None:
    """Signature, nonce and PCR values of a quote. Raises: EvidenceError."""
    files = {
        "ak.pem": ak.pem().encode(),
        "attest": evidence.attest,
        "signature": evidence.signature,
        "pcrs": _serialized(evidence.untrusted_pcrs),
    }
    for name, data in files.items():
        (work / name).write_bytes(data)
    _run(
        "tpm2_checkquote", "-Q", "-u", work / "ak.pem", "-m", work / "attest", "-s", work / "signature",
        "-f", work / "pcrs", "-q", nonce.hex(), "-g", "sha256",
    )  # fmt: skip


def _serialized(pcrs: PcrValues) -> bytes:
    """PCR values in the file format of tpm2-tools: its C structures, little-endian, of fixed sizes."""
    banks = b"".join(
        struct.pack("<HB4sx", hash_by_name(bank).tpm_id, 3, sum(1 << i for i in values).to_bytes(4, "little"))
        for bank, values in pcrs.items()
    )
    digests = [
        struct.pack("<H64s", len(value), value) for values in pcrs.values() for value in values.values()
    ]
    lists = [digests[at : at + 8] for at in range(0, len(digests), 8)]
    packed = b"".join(struct.pack("<I528s", len(some), b"".join(some)) for some in lists)
    return struct.pack("<I128sI", len(pcrs), banks, len(lists)) + packed


def check_signature(ak: Public, attest: bytes, signature: bytes) -> None:
    """The attestation key's signature over any attest. Raises: EvidenceError."""
    key = load_pem_public_key(ak.pem().encode())
    parsed = Signature.from_bytes(signature)
    try:
        assert isinstance(key, ec.EllipticCurvePublicKey) and parsed.hash == "sha256"
        key.verify(parsed.der(), attest, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise EvidenceError(
            "The attestation key did not sign this", "The evidence was changed on its way."
        ) from error


def _run(*command: str | Path) -> None:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode:
        said = result.stdout.decode("utf-8", "replace").strip()
        raise EvidenceError(f"{command[0]} says: {said}", "The evidence does not hold.")
