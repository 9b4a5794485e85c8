"""Enrolment of simulated hosts: what is proven, what is refused, what another TPM looks like afterwards."""

from __future__ import annotations

import base64
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.fake_machine import add_plugin
from support.pool import SimHost, SimPool
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.verifier.enrolment.ek_trust import EkAnchors
from xentpm_lib.verifier.enrolment.enrol import (
    Enrolled,
    NewHost,
    Rules,
    discover,
    enrol_hosts,
    identity_findings,
)
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.records import EkTrust, HostRecord, TlsTrust
from xentpm_lib.verifier.xapi.pool import Credentials, HostInfo, PoolClient

NOW = time.time() + 86_400  # the certificates of the TPMs are made after this module is read
ALL = frozenset(EkTrust)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return dataclasses.replace(shipped("uefi-grub"), ek_trust=ALL)


@pytest.fixture
def infos(sim_pool: SimPool) -> list[HostInfo]:
    return list(found(sim_pool).hosts)


@pytest.fixture
def client(sim_pool: SimPool) -> Iterator[PoolClient]:
    with PoolClient(found(sim_pool).pool, credentials(sim_pool)) as made:
        yield made


@pytest.fixture
def rules(sim_pool: SimPool, policy: Policy) -> Rules:
    return Rules(EkAnchors.load(sim_pool.ek_ca), policy, lambda: NOW)


def credentials(pool: SimPool) -> Callable[[], Credentials]:
    return lambda: Credentials(pool.username, pool.password)


def found(pool: SimPool):
    return discover(pool.url, TlsTrust(pool.certificates.read_text()), credentials(pool))


def good(results: list[Enrolled]) -> list[NewHost]:
    assert [str(one.error) for one in results if one.error] == []
    return [one.host for one in results if one.host]


def codes(results: list[Enrolled]) -> list[str]:
    return [one.error.code if one.error else "" for one in results]


def records(results: list[Enrolled]) -> tuple[HostRecord, ...]:
    return tuple(new.record for new in good(results))


def test_by_certificate(client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool) -> None:
    told: list[str] = []
    hosts = good(enrol_hosts(client, infos, rules, lambda one: told.append(one.info.name)))
    assert sorted(told) == ["host1", "host2"]
    for new, host in zip(hosts, sim_pool.hosts, strict=True):
        record = new.record
        identity = Identity.from_xml(sim_pool.call_plugin(host.name, "tpm_get_attestation_identity"))
        assert (record.host_id, record.name, record.group) == (host.uuid, host.name, "default")
        assert (record.ek, record.ak) == (identity.ek, identity.ak)
        assert record.system_uuid == identity.system_uuid.lower() != ""
        assert record.ek_trust is EkTrust.CERTIFICATE and record.ek_certificate == identity.ek_certificate
        assert record.pool_id == client.pool.pool_id and record.enrolled_at == NOW
        assert not new.unchanged and new.replaced is None and new.why
        assert identity_findings(client, record) == ()
        assert identity_findings(client, record, challenge=True) == ()


def test_by_pin_and_on_first_use(
    client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool, tmp_path: Path
) -> None:
    identity = Identity.from_xml(sim_pool.call_plugin("host1", "tpm_get_attestation_identity"))
    (tmp_path / "ek.pem").write_text(identity.ek.pem())
    pinned = dataclasses.replace(rules, anchors=EkAnchors.load(pins=[str(tmp_path / "ek.pem")]))
    results = enrol_hosts(client, infos, pinned)
    assert results[0].host is not None and results[0].host.record.ek_trust is EkTrust.PINNED
    assert codes(results) == ["", "XENTPM_EK_UNTRUSTED"]
    first_use = dataclasses.replace(rules, anchors=EkAnchors(allow_first_use=True))
    for new in good(enrol_hosts(client, infos, first_use)):
        assert new.record.ek_trust is EkTrust.FIRST_USE and new.warnings
    strict = dataclasses.replace(rules.policy, ek_trust=frozenset({EkTrust.CERTIFICATE}))
    refused = enrol_hosts(client, infos, dataclasses.replace(first_use, policy=strict))
    assert codes(refused) == ["XENTPM_EK_UNTRUSTED"] * 2


def test_again(client: PoolClient, infos: list[HostInfo], rules: Rules) -> None:
    before = records(enrol_hosts(client, infos, rules))
    again = good(enrol_hosts(client, infos, dataclasses.replace(rules, known=before, clock=lambda: NOW + 60)))
    assert [new.unchanged for new in again] == [True, True]


def test_again_without_what_proves_the_keys(
    client: PoolClient, infos: list[HostInfo], rules: Rules, policy: Policy
) -> None:
    """What is enrolled needs no certificates; what is to be enrolled anew does. Trust gets no weaker."""
    known = records(enrol_hosts(client, infos, rules))
    bare = dataclasses.replace(rules, known=known, anchors=EkAnchors())
    for new in good(enrol_hosts(client, infos, bare)):
        assert new.unchanged and new.record.ek_trust is EkTrust.CERTIFICATE and not new.warnings
    lax = dataclasses.replace(policy, ek_trust=frozenset(EkTrust))
    first_use = dataclasses.replace(bare, policy=lax, anchors=EkAnchors(allow_first_use=True))
    assert all(new.unchanged for new in good(enrol_hosts(client, infos, first_use)))
    others = dataclasses.replace(bare, anchors=EkAnchors(pins=frozenset({"00" * 32})))
    for new in good(enrol_hosts(client, infos, others)):
        assert new.unchanged and "not proven anew" in new.warnings[0]
    anew = enrol_hosts(client, infos, dataclasses.replace(bare, replace=True))
    assert codes(anew) == ["XENTPM_EK_UNTRUSTED"] * 2


def test_again_after_the_clock_was_ahead(client: PoolClient, infos: list[HostInfo], rules: Rules) -> None:
    """A record from the future, which no result fits, is written anew by itself."""
    ahead = dataclasses.replace(rules, clock=lambda: NOW + 864_000)
    before = records(enrol_hosts(client, infos, ahead))
    again = good(enrol_hosts(client, infos, dataclasses.replace(rules, known=before)))
    assert [(new.unchanged, new.same_keys, new.record.enrolled_at) for new in again] == [
        (False, True, NOW)
    ] * 2


def test_one_host_that_fails_stops_no_other(
    client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool
) -> None:
    sim_pool.power_off("host2")
    try:
        results = enrol_hosts(client, infos, rules)
    finally:
        sim_pool.power_on("host2")
    assert results[0].host is not None and results[0].error is None
    assert results[1].host is None and results[1].error is not None
    assert results[1].error.code == "XENTPM_COLLECTION"


def test_another_tpm(client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool) -> None:
    known = records(enrol_hosts(client, infos, rules))
    sim_pool.replace_tpm("host2")
    assert identity_findings(client, known[0]) == ()
    assert [one.code for one in identity_findings(client, known[1])] == ["EK_CHANGED", "AK_CHANGED"]
    again = dataclasses.replace(rules, known=known)
    assert codes(enrol_hosts(client, infos, again)) == ["", "XENTPM_HOST_CHANGED"]
    labelled = (known[0], dataclasses.replace(known[1], group="rack2", asset_tag=b"t" * 20))
    replaced = good(enrol_hosts(client, infos, dataclasses.replace(again, known=labelled, replace=True)))
    assert replaced[0].replaced == known[0] and replaced[0].same_keys and not replaced[0].unchanged
    assert replaced[1].replaced == labelled[1] and not replaced[1].same_keys
    assert replaced[1].record.group == "rack2" and replaced[1].record.asset_tag == b"t" * 20
    assert identity_findings(client, replaced[1].record) == ()


def test_a_tpm_that_is_enrolled_as_another_host(
    client: PoolClient, infos: list[HostInfo], rules: Rules
) -> None:
    known = records(enrol_hosts(client, infos, rules))
    elsewhere = dataclasses.replace(known[0], host_id="00000000-0000-4000-8000-000000000000", name="old")
    results = enrol_hosts(client, infos, dataclasses.replace(rules, known=[elsewhere]))
    assert codes(results) == ["XENTPM_KEY_IN_USE", ""]
    assert results[0].error is not None and "old" in results[0].error.message


class Lies:
    """A host whose dom0 answers with a program of ours instead of its plugin.

    The real plugin has to be where it always is, below the ``/`` that it serves: so there is a second one,
    all links to the first but for the plugins.
    """

    def __init__(self, host: SimHost) -> None:
        self.root = host.dir / "root"
        self.plugin = self.root / "etc/xapi.d/plugins/tpm"
        self.kept = self.plugin.read_bytes()
        self.mirror = host.dir / "mirror"
        shutil.rmtree(self.mirror, ignore_errors=True)
        self.real = add_plugin(self.mirror, "tpm", self.kept.decode())
        for folder in (Path(), Path("etc")):
            for entry in (self.root / folder).iterdir():
                if not (self.mirror / folder / entry.name).exists():
                    (self.mirror / folder / entry.name).symlink_to(entry)

    def answer(self, function: str, value: str) -> None:
        """Answer so to one function; the rest goes to the real plugin."""
        text = value.replace("&", "&amp;").replace("<", "&lt;")
        (self.root / "answer").write_text(
            "<methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value>"
            f"</member><member><name>Value</name><value>{text}</value></member></struct></value></param>"
            "</params></methodResponse>"
        )
        add_plugin(
            self.root,
            "tpm",
            "#!/bin/sh\n"
            f'case "$1" in *{function}*) cat {self.root}/answer;; *) exec {self.real} "$1";; esac\n',
        )

    def end(self) -> None:
        self.plugin.write_bytes(self.kept)


@pytest.fixture
def lies(sim_pool: SimPool) -> Iterator[Lies]:
    lying = Lies(sim_pool.host("host2"))
    yield lying
    lying.end()


IDENTITY = "tpm_get_attestation_identity"


def identities(pool: SimPool) -> list[Identity]:
    return [Identity.from_xml(pool.call_plugin(host.name, IDENTITY)) for host in pool.hosts]


def test_the_lies_are_told_well(
    client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool, lies: Lies
) -> None:
    _one, two = identities(sim_pool)
    lies.answer(IDENTITY, two.to_xml())
    assert codes(enrol_hosts(client, infos, rules)) == ["", ""]


def test_an_ak_of_another_tpm(
    client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool, lies: Lies
) -> None:
    """The EK is real and certified, the AK is real, too: but not in the same TPM."""
    known = records(enrol_hosts(client, infos, rules))
    one, two = identities(sim_pool)
    lies.answer(IDENTITY, two._replace(ak=one.ak).to_xml())
    assert codes(enrol_hosts(client, infos[1:], rules)) == ["XENTPM_CHALLENGE_FAILED"]
    (changed,) = identity_findings(client, known[1])
    assert changed.code == "AK_CHANGED" and changed.actual == one.ak.name().hex()


def test_an_ek_of_another_tpm(
    client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool, lies: Lies
) -> None:
    one, two = identities(sim_pool)
    borrowed = two._replace(ek=one.ek, ek_certificate=one.ek_certificate)
    lies.answer(IDENTITY, borrowed.to_xml())
    assert codes(enrol_hosts(client, infos[1:], rules)) == ["XENTPM_CHALLENGE_FAILED"]


def test_two_hosts_that_show_one_tpm(
    client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool, lies: Lies
) -> None:
    """A dom0 that relays to another host's TPM cannot be told from it, but that there are two can be seen."""
    known = records(enrol_hosts(client, infos, rules))
    one, _two = identities(sim_pool)
    lies.answer(IDENTITY, one.to_xml())
    assert codes(enrol_hosts(client, infos, dataclasses.replace(rules, known=known[:1]))) == [
        "",
        "XENTPM_KEY_IN_USE",
    ]


@pytest.mark.parametrize("text", ["", "<xml/>", "x" * 300_000])
def test_an_identity_that_is_none(
    client: PoolClient, infos: list[HostInfo], rules: Rules, lies: Lies, text: str
) -> None:
    known = records(enrol_hosts(client, infos, rules))
    lies.answer(IDENTITY, text)
    assert codes(enrol_hosts(client, infos[1:], rules)) == ["XENTPM_IDENTITY"]
    (found_one,) = identity_findings(client, known[1])
    assert found_one.code == "EVIDENCE_MALFORMED" and found_one.failed


@pytest.mark.parametrize("answer", [base64.b64encode(bytes(32)).decode(), "", "no base64", "A" * 100_000])
def test_a_challenge_that_is_not_met(
    client: PoolClient, infos: list[HostInfo], rules: Rules, lies: Lies, answer: str
) -> None:
    known = records(enrol_hosts(client, infos, rules))
    lies.answer("tpm_challenge", answer)
    assert codes(enrol_hosts(client, infos[1:], rules)) == ["XENTPM_CHALLENGE_FAILED"]
    assert identity_findings(client, known[1]) == ()
    assert [one.code for one in identity_findings(client, known[1], challenge=True)] == ["EK_CHANGED"]


def test_a_machine_with_another_uuid(
    client: PoolClient, infos: list[HostInfo], rules: Rules, sim_pool: SimPool, lies: Lies
) -> None:
    known = records(enrol_hosts(client, infos, rules))
    _one, two = identities(sim_pool)
    lies.answer(IDENTITY, two._replace(system_uuid="00000000-0000-4000-8000-000000000000").to_xml())
    (changed,) = identity_findings(client, known[1])
    assert (changed.code, changed.expected) == ("UUID_CHANGED", two.system_uuid.lower())
    again = dataclasses.replace(rules, known=known)
    assert codes(enrol_hosts(client, infos, again)) == ["", "XENTPM_HOST_CHANGED"]
