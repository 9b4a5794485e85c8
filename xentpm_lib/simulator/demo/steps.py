"""The steps of the demo. Each does its work, checks the outcome, and returns one or two lines about it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path

from xentpm_lib.errors import EvidenceError
from xentpm_lib.evidence.encoding import decode_base64, encode_base64
from xentpm_lib.evidence.event_log import parse_event_log
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import extend
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Attest
from xentpm_lib.simulator.demo import tools
from xentpm_lib.simulator.demo.pool import DemoHost, DemoPool

__all__ = ["STEPS", "Demo"]

_BANK = "sha256"
_TAG_PCR = 15
_TAG_TEXT = "rack 7, shelf 3"


class Demo:
    """What the steps hand on to each other."""

    def __init__(self, pool: DemoPool, work: Path) -> None:
        self.pool = pool
        self.work = work
        self.first, self.second = pool.hosts
        self.identities: dict[str, Identity] = {}
        self.tag = hashlib.sha1(_TAG_TEXT.encode()).hexdigest()

    def quote(self, host: DemoHost) -> QuoteEvidence:
        """A quote with a fresh nonce, checked with tpm2_checkquote against the identity's attestation key."""
        nonce = secrets.token_bytes(32)
        evidence = QuoteEvidence.from_json(self.pool.call(host, "tpm_get_quote", nonce=encode_base64(nonce)))
        tools.check_quote(self.work, self.identities[host.name].ak, evidence, nonce)
        return evidence


def show_pool(demo: Demo) -> list[str]:
    """Step 1."""
    names = " and ".join(host.name for host in demo.pool.hosts)
    return [f"{names} behind {demo.pool.url};", "logged in with the XenAPI client from PyPI"]


def show_status(demo: Demo) -> list[str]:
    """Step 2."""
    status = json.loads(demo.pool.call(demo.first, "tpm_get_status"))
    checks = status["checks"]
    good = sum(check["state"] == "ok" for check in checks)
    others = [f"{check['title']}: {check['seen']}" for check in checks if check["state"] != "ok"]
    return [f"{demo.first.name}: {good} of {len(checks)} checks are ok"] + others[:1]


def get_identities(demo: Demo) -> list[str]:
    """Step 3."""
    for host in demo.pool.hosts:
        xml = demo.pool.call(host, "tpm_get_attestation_identity")
        demo.identities[host.name] = Identity.from_xml(xml)
    first, second = (demo.identities[host.name] for host in demo.pool.hosts)
    _require(first.ek != second.ek and first.ak != second.ak, "two hosts showed the same key")
    name, ek, ak = demo.first.name, first.ek, first.ak
    certified = "certified" if first.ek_certificate else "without a certificate"
    return [
        f"{name}: endorsement key RSA-{ek.key_bits}, {certified};",
        f"attestation key {ak.curve}, {ak.name().hex()[:16]}...",
    ]


def activate_credential(demo: Demo) -> list[str]:
    """Step 4."""
    for host in demo.pool.hosts:
        secret = secrets.token_bytes(32)
        challenge = tools.make_credential(demo.work, demo.identities[host.name], secret)
        answer = demo.pool.call(host, "tpm_challenge", challenge=encode_base64(challenge))
        _require(decode_base64(answer, "answer", 1, 64) == secret, "a TPM gave another secret")
    return [
        "yes: a secret sealed with tpm2_makecredential came",
        "back, so each host's two keys are in one TPM",
    ]


def check_quotes(demo: Demo) -> list[str]:
    """Step 5."""
    for host in demo.pool.hosts:
        demo.quote(host)
    return ["24 PCRs each, with fresh nonces;", "tpm2_checkquote says that the signatures hold"]


def set_tag(demo: Demo) -> list[str]:
    """Step 6."""
    state = json.loads(demo.pool.call(demo.first, "tpm_set_asset_tag", tag=demo.tag))
    _require(state["asset_tag"] == demo.tag and state["reboot_required"], "the tag was not set")
    return [f"SHA-1 of {_TAG_TEXT!r} is in {demo.first.name}'s TPM;", "a reboot is required"]


def prove_tag(demo: Demo) -> list[str]:
    """Step 7."""
    demo.pool.reboot(demo.first)
    evidence = demo.quote(demo.first)
    tag = evidence.asset_tag
    if tag is None:
        raise _wrong("the quote carries no tag")
    tools.check_signature(demo.identities[demo.first.name].ak, tag.attest, tag.signature)
    certified = Attest.from_bytes(tag.attest).nv
    _require(certified is not None and certified.contents.hex() == demo.tag, "another tag is certified")
    expected = extend(_BANK, bytes(32), hashlib.sha256(bytes.fromhex(demo.tag)).digest())
    _require(evidence.untrusted_pcrs[_BANK][_TAG_PCR] == expected, "the tag's PCR is wrong")
    return [
        f"{demo.first.name} rebooted: its TPM certifies the tag",
        f"{demo.tag[:16]}..., and PCR {_TAG_PCR} shows it",
    ]


def change_initrd(demo: Demo) -> list[str]:
    """Step 8."""
    before = demo.quote(demo.second)
    demo.pool.edit(demo.second, "initrd", "a line more")
    demo.pool.reboot(demo.second)
    after = demo.quote(demo.second)
    changed = _changed_pcrs(before, after)
    _require(changed == [9], f"PCR 9 should have changed, but {changed} did")
    return [
        f"{demo.second.name} rebooted with a line more in its initrd:",
        f"only PCR {changed[0]} changed, at {_changed_event(before, after)}",
    ]


def clear_tag(demo: Demo) -> list[str]:
    """Step 9."""
    demo.pool.call(demo.first, "tpm_clear_asset_tag")
    demo.pool.reboot(demo.first)
    evidence = demo.quote(demo.first)
    _require(evidence.asset_tag is None, "the tag is still there")
    _require(not any(evidence.untrusted_pcrs[_BANK][_TAG_PCR]), "the tag's PCR is not zero")
    return [f"{demo.first.name} rebooted: no tag, and PCR {_TAG_PCR} is zero again"]


STEPS: tuple[tuple[str, Callable[[Demo], list[str]]], ...] = (
    ("Two hosts", show_pool),
    ("Preparation check", show_status),
    ("Identity", get_identities),
    ("Same TPM?", activate_credential),
    ("Quote", check_quotes),
    ("Asset tag set", set_tag),
    ("Asset tag proven", prove_tag),
    ("Changed initrd", change_initrd),
    ("Asset tag cleared", clear_tag),
)


def _changed_pcrs(before: QuoteEvidence, after: QuoteEvidence) -> list[int]:
    old, new = before.untrusted_pcrs[_BANK], after.untrusted_pcrs[_BANK]
    return [index for index in old if old[index] != new[index]]


def _changed_event(before: QuoteEvidence, after: QuoteEvidence) -> str:
    """The description of the first event that differs between the event logs of two boots."""
    old, new = (parse_event_log(evidence.untrusted_event_log or b"").events for evidence in (before, after))
    for was, now in zip(old, new, strict=False):
        if was.digests != now.digests:
            return now.data.rstrip(b"\0").decode("utf-8", "replace")
    return "none"


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _wrong(otherwise)


def _wrong(what: str) -> EvidenceError:
    return EvidenceError(f"The demo went wrong: {what}", "This is a defect of xentpm: please report it.")
