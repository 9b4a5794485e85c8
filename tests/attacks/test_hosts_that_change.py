"""Attacks by hosts that are, or show, something else than they enrolled as.

The rules that stop them can be switched off one by one, and each test shows that the attack works then.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester
from support.pool import SimPool
from xentpm_lib.evidence.attributes import RESTRICTED
from xentpm_lib.evidence.encoding import decode_base64, encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.verifier.enrolment import enrol as enrolment
from xentpm_lib.verifier.enrolment import identity
from xentpm_lib.verifier.enrolment.ek_trust import EkAnchors, EkDecision
from xentpm_lib.verifier.enrolment.enrol import (
    Discovered,
    Enrolled,
    Rules,
    discover,
    enrol_hosts,
    identity_findings,
)
from xentpm_lib.verifier.errors import EnrolmentError
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.records import EkTrust, HostRecord, TlsTrust
from xentpm_lib.verifier.xapi.pool import Credentials, HostInfo, PoolClient


@pytest.fixture
def found(sim_pool: SimPool) -> Discovered:
    trust = TlsTrust(sim_pool.certificates.read_text())
    return discover(sim_pool.url, trust, lambda: Credentials(sim_pool.username, sim_pool.password))


@pytest.fixture
def client(sim_pool: SimPool, found: Discovered) -> Iterator[PoolClient]:
    with PoolClient(found.pool, lambda: Credentials(sim_pool.username, sim_pool.password)) as made:
        yield made


@pytest.fixture
def rules(sim_pool: SimPool) -> Rules:
    policy = dataclasses.replace(shipped("uefi-grub"), ek_trust=frozenset(EkTrust))
    now = time.time() + 3600  # some TPMs, and their certificates, are made only in the tests
    return Rules(EkAnchors.load(sim_pool.ek_ca), policy, lambda: now)


@pytest.fixture
def known(client: PoolClient, found: Discovered, rules: Rules) -> tuple[HostRecord, ...]:
    """The two hosts, enrolled."""
    return tuple(one.host.record for one in enrol_hosts(client, found.hosts, rules) if one.host)


def codes(results: list[Enrolled]) -> list[str]:
    return [one.error.code if one.error else "" for one in results]


def changed(client: PoolClient, record: HostRecord) -> list[str]:
    findings = identity_findings(client, record)
    assert all(one.failed for one in findings)
    return [one.code for one in findings]


def test_swapped_tpm(
    sim_pool: SimPool,
    client: PoolClient,
    known: tuple[HostRecord, ...],
    blind: Callable[..., None],
) -> None:
    """A TPM that never saw this host's measurements is put in; it is a real one, certified by its maker."""
    sim_pool.replace_tpm("host2")
    assert changed(client, known[1]) == ["EK_CHANGED", "AK_CHANGED"]
    assert changed(client, known[0]) == []
    blind(identity, known[1].ek.name(), known[1].ak.name())
    assert changed(client, known[1]) == []


def test_identity_overwrite_cve_2025_13609(
    sim_pool: SimPool,
    client: PoolClient,
    found: Discovered,
    rules: Rules,
    known: tuple[HostRecord, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another TPM registers under the UUID of a host that is enrolled. CVE-2025-13609 (Keylime)."""
    sim_pool.replace_tpm("host2")
    again = dataclasses.replace(rules, known=known)
    assert codes(enrol_hosts(client, found.hosts, again)) == ["", "XENTPM_HOST_CHANGED"]
    monkeypatch.setattr(Rules, "existing", lambda _rules, _host_uuid: None)
    assert codes(enrol_hosts(client, found.hosts, again)) == ["", ""]


def test_swapped_disk(
    client: PoolClient, known: tuple[HostRecord, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disks of two machines are exchanged: each boots with the UUID of the other, on its own TPM."""
    one, two = (dataclasses.replace(known[at], host_id=known[1 - at].host_id) for at in (0, 1))
    assert changed(client, one) == changed(client, two) == ["EK_CHANGED", "AK_CHANGED", "UUID_CHANGED"]
    monkeypatch.setattr(identity, "_differences", lambda _identity, _host: [])
    assert changed(client, one) == changed(client, two) == []


def test_cloned_host(
    client: PoolClient,
    found: Discovered,
    rules: Rules,
    known: tuple[HostRecord, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine takes over another's identity under a name of its own, and lets the other's TPM answer."""
    original = dataclasses.replace(known[0], host_id="00000000-0000-4000-8000-000000000000", name="original")
    watched = dataclasses.replace(rules, known=(original,))
    assert codes(enrol_hosts(client, found.hosts, watched)) == ["XENTPM_KEY_IN_USE", ""]
    monkeypatch.setattr(enrolment, "_check_unique", lambda *_anything: None)
    assert codes(enrol_hosts(client, found.hosts, watched)) == ["", ""]


def test_one_host_that_is_listed_twice(
    client: PoolClient, found: Discovered, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A master that shows one machine under two UUIDs."""
    first, second = found.hosts
    twice = dataclasses.replace(second, uuid="00000000-0000-4000-8000-000000000001")
    client._refs[twice.uuid] = first.ref
    results = enrol_hosts(client, [first, twice], rules)
    assert codes(results) == ["XENTPM_KEY_IN_USE", "XENTPM_KEY_IN_USE"]
    monkeypatch.setattr(enrolment, "_unless_twin", lambda one, _everyone: one)
    assert codes(enrol_hosts(client, [first, twice], rules)) == ["", ""]


class LyingHosts:
    """A pool whose hosts show an identity that somebody has changed, and answer challenges as they like."""

    def __init__(
        self,
        client: PoolClient,
        lie: Callable[[Identity], Identity] = lambda shown: shown,
        answers: Callable[[str], str] | None = None,
    ) -> None:
        self.pool, self._client, self._lie, self._answers = client.pool, client, lie, answers

    def call_plugin(self, host_uuid: str, function: str, args: Any, timeout: float | None = None) -> str:
        if function == "tpm_challenge" and self._answers is not None:
            return self._answers(args["challenge"])
        text = self._client.call_plugin(host_uuid, function, args, timeout)
        if function == "tpm_get_attestation_identity":
            return self._lie(Identity.from_xml(text)).to_xml()
        return text

    def enrol(self, info: HostInfo, rules: Rules) -> HostRecord:
        return enrolment.enrol_host(self, info, rules).record  # type: ignore[arg-type]


def test_ak_not_bound_to_ek_cve_2021_3406(
    client: PoolClient, found: Discovered, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attestation key is one in a file, of the right form, beside a real EK with its real certificate.

    CVE-2021-3406 and CVE-2022-1053 (Keylime): whoever verified quotes had not seen the proof, or not for
    this key.
    """
    forger = SoftwareAttester()
    hosts = LyingHosts(client, lambda shown: shown._replace(ak=forger.ak))
    with pytest.raises(EnrolmentError) as caught:
        hosts.enrol(found.hosts[1], rules)
    assert caught.value.code == "XENTPM_CHALLENGE_FAILED"
    monkeypatch.setattr(enrolment, "challenge_keys", lambda *_anything: None)
    record = hosts.enrol(found.hosts[1], rules)
    assert record.ak == forger.ak and record.ek_trust is EkTrust.CERTIFICATE


def test_challenge_that_is_passed_by_cve_2023_38201(
    client: PoolClient, found: Discovered, rules: Rules, blind: Callable[..., None]
) -> None:
    """The answer is made up, or is a part of the question. CVE-2023-38201 (Keylime)."""
    forger, guess = SoftwareAttester(), bytes(32)
    answers: tuple[Callable[[str], str], ...] = (
        lambda _question: encode_base64(guess),
        lambda question: encode_base64(decode_base64(question, "", 1, 4096)[-32:]),
        lambda _question: "",
    )
    for each in answers:
        hosts = LyingHosts(client, lambda shown: shown._replace(ak=forger.ak), each)
        with pytest.raises(EnrolmentError) as caught:
            hosts.enrol(found.hosts[1], rules)
        assert caught.value.code == "XENTPM_CHALLENGE_FAILED"
    blind(identity, guess)
    hosts = LyingHosts(client, lambda shown: shown._replace(ak=forger.ak), answers[0])
    assert hosts.enrol(found.hosts[1], rules).ak == forger.ak


def test_unrestricted_ak_at_enrolment(
    client: PoolClient, found: Discovered, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that signs anything, which its TPM would answer for: see test_an_unrestricted_key_of_the_tpm."""
    forger = SoftwareAttester()
    free = forger.ak._replace(attributes=forger.ak.attributes & ~RESTRICTED)
    hosts = LyingHosts(client, lambda shown: shown._replace(ak=free))
    monkeypatch.setattr(enrolment, "challenge_keys", lambda *_anything: None)  # the TPM has the key
    with pytest.raises(EnrolmentError) as caught:
        hosts.enrol(found.hosts[1], rules)
    assert caught.value.code == "XENTPM_AK_UNFIT"
    monkeypatch.setattr(enrolment, "check_ak", lambda _ak: None)
    assert hosts.enrol(found.hosts[1], rules).ak == free


def test_ek_that_nobody_certified(
    client: PoolClient, found: Discovered, rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TPM in software, which answers everything rightly, without or with somebody else's certificate."""
    forger = SoftwareAttester()
    trusting = dataclasses.replace(rules.policy, ek_trust=frozenset({EkTrust.CERTIFICATE, EkTrust.PINNED}))
    strict = dataclasses.replace(rules, policy=trusting)
    opened: list[bytes] = []
    monkeypatch.setattr(enrolment, "challenge_keys", lambda *_anything: opened.append(b""))
    for kept, code in (((), "XENTPM_EK_UNTRUSTED"), (("ek_certificate",), "XENTPM_EK_MISMATCH")):

        def lie(shown: Identity, kept: tuple[str, ...] = kept) -> Identity:
            certificate = shown.ek_certificate if kept else None
            return Identity(certificate, forger.ek, forger.ak, shown.system_uuid)

        with pytest.raises(EnrolmentError) as caught:
            LyingHosts(client, lie).enrol(found.hosts[1], strict)
        assert caught.value.code == code
    assert opened == []
    monkeypatch.setattr(enrolment, "check_ek", lambda *_anything: EkDecision(EkTrust.CERTIFICATE, ""))
    assert LyingHosts(client, lie).enrol(found.hosts[1], strict).ek == forger.ek
