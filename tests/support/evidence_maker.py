"""A software attester: valid evidence signed by keys of `cryptography`, so that a test can change one thing.

``SoftwareAttester()`` is a host with a software TPM of which everything can be set or lied about::

    host = SoftwareAttester()
    text = host.text(nonce)                                             # valid
    text = host.text(nonce, attest={"extra_data": bytes(32)})           # signed, another nonce
    text = host.text(nonce, quote={"pcr_digest": bytes(32)})            # signed, another digest
    text = host.text(nonce, signed_bytes=lambda data: data[:-1])        # signed, any bytes
    text = host.text(nonce, key=other.key)                              # signed by another key
    text = host.text(nonce, evidence={"untrusted_pcrs": {...}})         # behind the signature's back
    text = host.text(nonce, document=lambda document: document.pop("ak"))  # the JSON itself

What a verifier knows of it: ``record()``, ``reference()``, and ``make_policy()`` for both. Nothing here is
mocked: evidence is built by the project's own writers and the signatures are real ones.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Mapping, Optional, Union

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from support.measured_boot import BOOT, boot_events
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.evidence.algorithms import digest
from xentpm_lib.evidence.event_log import EventLog, build_event_log
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import PcrSelection, PcrValues, composite_digest, extend, start_values
from xentpm_lib.evidence.quote import BootEvent, CertifiedTag, QuoteEvidence
from xentpm_lib.verifier.policy.model import BankRules, BootPath, Policy, Replay, TagRule, Timing
from xentpm_lib.verifier.records import EkTrust, HostRecord, ReferenceValues

__all__ = [
    "AK_ATTRIBUTES",
    "ASSET_TAG_INDEX",
    "ASSET_TAG_ATTRIBUTES",
    "SoftwareAttester",
    "make_key",
    "make_policy",
    "public_of",
    "sign",
    "sole_bank_rules",
]

PrivateKey = Union[ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey]
Changes = Optional[Mapping[str, Any]]

AK_ATTRIBUTES = (
    ts.FIXED_TPM
    | ts.FIXED_PARENT
    | ts.SENSITIVE_DATA_ORIGIN
    | ts.USER_WITH_AUTH
    | ts.NO_DA
    | ts.RESTRICTED
    | ts.SIGN
)
_EK_ATTRIBUTES = (
    ts.FIXED_TPM
    | ts.FIXED_PARENT
    | ts.SENSITIVE_DATA_ORIGIN
    | ts.ADMIN_WITH_POLICY
    | ts.RESTRICTED
    | ts.DECRYPT
)
ASSET_TAG_INDEX = 0x01C10110
ASSET_TAG_ATTRIBUTES = ts.NV_OWNERWRITE | ts.NV_OWNERREAD | ts.NV_AUTHREAD | ts.NV_NO_DA | ts.NV_WRITTEN

_HASHES = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_CURVES = {"secp256r1": "nist_p256", "secp384r1": "nist_p384", "secp521r1": "nist_p521"}
_SIZES = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}


def make_key(kind: str = "ecc") -> PrivateKey:
    """A private key: ``ecc`` (P-256), ``p384``, ``rsa`` (2048 bits) or ``rsa3072``."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    return ec.generate_private_key(ec.SECP384R1() if kind == "p384" else ec.SECP256R1())


def public_of(
    key: PrivateKey,
    attributes: int = AK_ATTRIBUTES,
    scheme: ts.Scheme | None = None,
    symmetric: ts.Symmetric | None = None,
    auth_policy: bytes = b"",
) -> ts.Public:
    """The TPM's public area of a key; without ``scheme`` it has none."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return ts.Public(
            "rsa",
            "sha256",
            attributes,
            auth_policy,
            symmetric,
            scheme,
            key_bits=key.key_size,
            modulus=numbers.n.to_bytes(key.key_size // 8, "big"),
        )
    point, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    return ts.Public(
        "ecc",
        "sha256",
        attributes,
        auth_policy,
        symmetric,
        scheme,
        curve=_CURVES[key.curve.name],
        x=point.x.to_bytes(size, "big"),
        y=point.y.to_bytes(size, "big"),
    )


def sign(key: PrivateKey, data: bytes, scheme: str, hash_name: str) -> bytes:
    """The TPMT_SIGNATURE over ``data``, as a TPM makes it."""
    algorithm = _HASHES[hash_name]()
    if isinstance(key, rsa.RSAPrivateKey):
        pad: Any = padding.PKCS1v15()
        if scheme == "rsapss":
            pad = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
        return ts.Signature(scheme, hash_name, rsa=key.sign(data, pad, algorithm)).to_bytes()
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(algorithm)))
    size = (key.key_size + 7) // 8
    return ts.Signature(scheme, hash_name, r=r.to_bytes(size, "big"), s=s.to_bytes(size, "big")).to_bytes()


@dataclass
class SoftwareAttester:
    """A host whose TPM is software. All of it can be set, before or between two quotes.

    kind: of the attestation key, as ``make_key`` takes it. scheme: ``rsassa`` or ``rsapss`` for RSA.
    image: what this host boots; hosts of one image show the same PCRs but PCR 1, which has the serial.
    banks: the active PCR banks. tag: the asset tag, or None.
    send_log: whether quotes carry the event log. dynamic_launch: whether PCR 17 to 22 were zeroed.
    """

    kind: str = "ecc"
    name: str = "host1"
    host_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    pool_id: str = "9d2f8a6e-4b1c-4f6e-9a53-0d5a4d1f7c11"
    system_uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    boot: tuple[tuple[int, int, bytes], ...] = BOOT
    banks: tuple[str, ...] = ("sha256",)
    tag: bytes | None = None
    send_log: bool = True
    dynamic_launch: bool = False
    scheme: str = ""
    hash_name: str = "sha256"
    hierarchy: int = ts.ENDORSEMENT_HIERARCHY
    clock: int = 3_600_000
    reset_count: int = 7
    restart_count: int = 0
    safe: bool = True
    firmware_version: int = 0x0007005500010203
    boot_log: tuple[BootEvent, ...] | None = None
    key: Any = None
    ek_key: Any = None

    def __post_init__(self) -> None:
        """Make what was not given: the keys and the measurements of a first boot."""
        self.key = self.key or make_key(self.kind)
        self.ek_key = self.ek_key or make_key("ecc")
        self.scheme = self.scheme or ("rsassa" if isinstance(self.key, rsa.RSAPrivateKey) else "ecdsa")
        self.ak = public_of(self.key, AK_ATTRIBUTES, ts.Scheme(self.scheme, self.hash_name))
        policy = hashlib.sha256(b"TCG EK policy").digest()
        self.ek = public_of(self.ek_key, _EK_ATTRIBUTES, None, ts.Symmetric("aes", 128, "cfb"), policy)
        self.measure()

    # What the machine does.

    def measure(self) -> None:
        """Set events and PCRs to what ``boot`` gives from a power cycle on."""
        self.events = boot_events(self.system_uuid, self.banks, self.boot)
        self.pcrs: PcrValues = {}
        for bank in self.banks:
            values = start_values(bank, dynamic_launch=self.dynamic_launch)
            for event in self.events:
                values[event.pcr] = extend(bank, values[event.pcr], event.digests[bank])
            self.pcrs[bank] = values

    def reboot(self, **changes: Any) -> None:
        """Start the machine anew, after setting ``changes``: ``boot``, ``banks``, ``tag`` …"""
        for name, value in changes.items():
            setattr(self, name, value)
        self.reset_count += 1
        self.restart_count = 0
        self.clock += 60_000
        self.measure()

    def extend(self, pcr: int, data: bytes) -> None:
        """Measure ``data`` into ``pcr`` of every bank, without an event."""
        for bank, values in self.pcrs.items():
            values[pcr] = extend(bank, values[pcr], digest(bank, data))

    def event_log(self) -> bytes:
        """The event log of this boot, as firmware writes it."""
        banks = {bank: _SIZES[bank] for bank in self.banks}
        return build_event_log(EventLog(banks, self.events))

    # What the verifier knows of it.

    def record(self, **changes: Any) -> HostRecord:
        """The host as it is enrolled; ``changes`` are fields of the record."""
        record = HostRecord(
            host_id=self.host_id,
            pool_id=self.pool_id,
            name=self.name,
            system_uuid=self.system_uuid,
            ek=self.ek,
            ak=self.ak,
            ek_trust=EkTrust.PINNED,
            ek_certificate=None,
            enrolled_at=1_700_000_000.0,
            serial=1,
            asset_tag=self.tag,
        )
        return replace(record, **changes)

    def reference(self, **changes: Any) -> ReferenceValues:
        """Reference values captured now, assigned to the host itself; ``changes`` are their fields."""
        reference = ReferenceValues(
            reference_id=str(uuid.uuid4()),
            label="as installed",
            origin="captured",
            created_at=1_700_000_000.0,
            created_by="admin",
            pcrs={bank: dict(values) for bank, values in self.pcrs.items()},
            source_host=self.host_id,
            boot_log=self.boot_log,
            hosts=frozenset({self.host_id}),
        )
        return replace(reference, **changes)

    def identity(self) -> str:
        """The identity document (XML), without a certificate."""
        return Identity(None, self.ek, self.ak, self.system_uuid).to_xml()

    # What it answers.

    def text(
        self,
        nonce: bytes,
        selection: PcrSelection | None = None,
        document: Callable[[dict[str, Any]], Any] | None = None,
        **changes: Any,
    ) -> str:
        """The evidence document; ``document`` may change its JSON. ``changes``: as of ``quote_evidence``."""
        made = json.loads(self._json(self.quote_evidence(nonce, selection, **changes)))
        if document is not None:
            document(made)
        return json.dumps(made, separators=(",", ":"))

    def quote_evidence(
        self,
        nonce: bytes,
        selection: PcrSelection | None = None,
        *,
        attest: Changes = None,
        quote: Changes = None,
        evidence: Changes = None,
        tag_attest: Changes = None,
        tag_nv: Changes = None,
        nv_public: Changes = None,
        signed_bytes: Callable[[bytes], bytes] = bytes,
        key: Any = None,
        tag_key: Any = None,
        signature_hash: str = "",
    ) -> QuoteEvidence:
        """A valid answer to ``nonce``, but for the changes.

        attest, quote: fields of ``Attest`` and ``QuoteInfo``, before they are signed.
        tag_attest, tag_nv, nv_public: the same of the asset tag's statement and index.
        signed_bytes: makes the bytes that are signed of the right ones. key, tag_key: sign instead.
        evidence: fields of ``QuoteEvidence``, after signing.
        """
        if selection is None:
            selection = PcrSelection(tuple((bank, tuple(range(24))) for bank in self.banks))
        made = signed_bytes(self._quote(nonce, selection, attest, quote).to_bytes())
        hash_name = signature_hash or self.hash_name
        result = QuoteEvidence(
            attest=made,
            signature=sign(key or self.key, made, self.scheme, hash_name),
            untrusted_host_uuid=self.host_id,
            untrusted_created="2026-01-31T23:59:59Z",
            untrusted_ak_name=self.ak.name(),
            untrusted_ak_public=self.ak.to_tpm2b(),
            untrusted_pcrs=self._values(selection),
            asset_tag=self._certified(nonce, tag_attest, tag_nv, nv_public, tag_key),
            untrusted_event_log=self.event_log() if self.send_log else None,
            untrusted_boot_log=self.boot_log,
        )
        return result._replace(**dict(evidence or {}))

    def attest(self, nonce: bytes, **fields: Any) -> ts.Attest:
        """An unsigned statement of this TPM without what it attests."""
        common = ts.Attest(
            "quote",
            ts.qualified_name(self.hierarchy, self.ak.name()),
            nonce,
            self.clock,
            self.reset_count,
            self.restart_count,
            self.safe,
            self.firmware_version,
        )
        return common._replace(**fields)

    def _quote(self, nonce: bytes, selection: PcrSelection, attest: Changes, quote: Changes) -> ts.Attest:
        value = composite_digest(self.pcrs, selection, self.hash_name)
        info = ts.QuoteInfo(selection, value)._replace(**dict(quote or {}))
        return self.attest(nonce, quote=info)._replace(**dict(attest or {}))

    def _certified(
        self, nonce: bytes, attest: Changes, nv: Changes, public: Changes, key: Any
    ) -> CertifiedTag | None:
        if self.tag is None:
            return None
        index = ts.NvPublic(ASSET_TAG_INDEX, "sha256", ASSET_TAG_ATTRIBUTES, len(self.tag))
        index = index._replace(**dict(public or {}))
        info = ts.NvCertifyInfo(index.name(), 0, self.tag)._replace(**dict(nv or {}))
        statement = self.attest(nonce, type="nv_certify", nv=info)._replace(**dict(attest or {}))
        data = statement.to_bytes()
        signature = sign(key or self.key, data, self.scheme, self.hash_name)
        return CertifiedTag(index.to_tpm2b(), data, signature)

    def _values(self, selection: PcrSelection) -> PcrValues:
        return {bank: {pcr: self.pcrs[bank][pcr] for pcr in pcrs} for bank, pcrs in selection.banks}

    @staticmethod
    def _json(evidence: QuoteEvidence) -> str:
        """As ``to_json``, also for what ``from_json`` would refuse."""
        from xentpm_lib.evidence import quote

        return json.dumps(quote._document(evidence))


def sole_bank_rules(bank: str = "sha256") -> BankRules:
    """PCR 0, 2, 4, 7, 8 and 9 shared, 1 of the host itself; all of them extended."""
    return BankRules(bank, (0, 2, 4, 7, 8, 9), (1,), (0, 1, 2, 4, 7, 8, 9))


def make_policy(**changes: Any) -> Policy:
    """A policy for a ``SoftwareAttester`` as it is; ``changes`` are fields of the policy."""
    policy = Policy(
        name="test",
        title="for tests",
        boot=BootPath.UEFI_GRUB,
        banks=(sole_bank_rules(),),
        dynamic_launch=False,
        replay=Replay.WHEN_PRESENT,
        event_log_pcrs=(0, 1, 2, 4, 7, 8, 9),
        asset_tag=TagRule.OPTIONAL,
        ek_trust=frozenset({EkTrust.CERTIFICATE, EkTrust.PINNED}),
        hashes=frozenset({"sha256", "sha384", "sha512"}),
        timing=Timing(300.0, 0.1, 900.0, 60.0, 60.0, 3, 5.0),
        severities={},
        disable_host=False,
        keep_results_s=90 * 86_400.0,
        keep_notifications_s=90 * 86_400.0,
        text="version = 1\n",
        digest=hashlib.sha256(b"version = 1\n").hexdigest(),
    )
    return replace(policy, **changes)
