"""What the other side of an attestation does, by other code than that under test: challenges and verifies."""

import os
import subprocess
from typing import Optional

from xentpm_lib.evidence.encoding import decode_base64, encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import composite_digest
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Attest, Public, Signature


def make_challenge(folder: str, identity: Identity, secret: bytes) -> str:
    """A challenge for these keys as ``tpm_challenge`` takes it, made by tpm2-tools in ``folder``."""
    ek, plain, sealed = (os.path.join(folder, name) for name in ("ek", "secret", "challenge"))
    for path, data in ((ek, identity.ek.to_tpm2b()), (plain, secret)):
        with open(path, "wb") as file:
            file.write(data)
    command = [
        "tpm2_makecredential",
        "-Q",
        "-T",
        "none",
        "-u",
        ek,
        "-s",
        plain,
        "-n",
        identity.ak.name().hex(),
    ]
    subprocess.check_call(command + ["-o", sealed])
    with open(sealed, "rb") as file:
        return encode_base64(file.read())


def check_quote(text: str, nonce: str, tags: Optional[tuple] = None) -> QuoteEvidence:
    """Assert that the quote is signed, over ``nonce`` and its own PCR values, and proves one of ``tags``."""
    evidence = QuoteEvidence.from_json(text)
    public = Public.from_tpm2b(evidence.untrusted_ak_public)
    wanted = decode_base64(nonce, "nonce", 16, 64)
    attest = _signed(public, evidence.attest, evidence.signature)
    assert attest.extra_data == wanted
    assert attest.quote.pcr_digest == composite_digest(
        evidence.untrusted_pcrs, attest.quote.selection, "sha256"
    )
    proven = None
    if evidence.asset_tag is not None:
        certified = _signed(public, evidence.asset_tag.attest, evidence.asset_tag.signature)
        assert certified.extra_data == wanted
        proven = certified.nv.contents
    if tags is not None:
        assert proven in tags, proven
    return evidence


def _signed(public: Public, attest: bytes, signature: bytes) -> Attest:
    """The attest, after its ECDSA signature was verified. Raises: InvalidSignature."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_public_key(public.pem().encode("ascii"))
    key.verify(Signature.from_bytes(signature).der(), attest, ec.ECDSA(hashes.SHA256()))
    return Attest.from_bytes(attest)
