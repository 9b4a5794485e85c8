"""Attacks by hosts that are, or show, something else than they enrolled as.

The rules that stop them can be switched off one by one, and each test shows that the attack works then.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pytest

from support.pool import SimPool
from xentpm_lib.verifier.enrolment.ek_trust import EkAnchors
from xentpm_lib.verifier.enrolment.enrol import (
    Discovered,
    Enrolled,
    Rules,
    discover,
    enrol_hosts,
    identity_findings,
)
from xentpm_lib.verifier.policy.loader import shipped
from xentpm_lib.verifier.records import EkTrust, HostRecord, TlsTrust
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient


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
    return Rules(EkAnchors.load(sim_pool.ek_ca), policy, time.time() + 60)


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


def test_swapped_tpm(sim_pool: SimPool, client: PoolClient, known: tuple[HostRecord, ...]) -> None:
    """A TPM that never saw this host's measurements is put in; it is a real one, certified by its maker."""
    sim_pool.replace_tpm("host2")
    assert changed(client, known[1]) == ["EK_CHANGED", "AK_CHANGED"]
    assert changed(client, known[0]) == []


def test_identity_overwrite(
    sim_pool: SimPool, client: PoolClient, found: Discovered, rules: Rules, known: tuple[HostRecord, ...]
) -> None:
    """Another TPM registers under the UUID of a host that is enrolled. CVE-2025-13609 (Keylime)."""
    sim_pool.replace_tpm("host2")
    again = dataclasses.replace(rules, known=known)
    assert codes(enrol_hosts(client, found.hosts, again)) == ["", "XENTPM_HOST_CHANGED"]
    for overwriting in (rules, dataclasses.replace(again, replace=True)):
        assert codes(enrol_hosts(client, found.hosts, overwriting)) == ["", ""], "as it were without the rule"


def test_swapped_disk(sim_pool: SimPool, client: PoolClient, known: tuple[HostRecord, ...]) -> None:
    """The disks of two machines are exchanged: each boots with the UUID of the other, on its own TPM."""
    one, two = (dataclasses.replace(known[at], host_id=known[1 - at].host_id) for at in (0, 1))
    assert changed(client, one) == changed(client, two) == ["EK_CHANGED", "AK_CHANGED", "UUID_CHANGED"]


def test_cloned_host(
    client: PoolClient, found: Discovered, rules: Rules, known: tuple[HostRecord, ...]
) -> None:
    """A machine takes over another's identity under a name of its own, and lets the other's TPM answer."""
    original = dataclasses.replace(known[0], host_id="00000000-0000-4000-8000-000000000000", name="original")
    watched = dataclasses.replace(rules, known=(original,))
    assert codes(enrol_hosts(client, found.hosts, watched)) == ["XENTPM_KEY_IN_USE", ""]
    assert codes(enrol_hosts(client, found.hosts, rules)) == ["", ""], "as it were without the rule"


def test_one_host_that_is_listed_twice(client: PoolClient, found: Discovered, rules: Rules) -> None:
    """A master that shows one machine under two UUIDs."""
    first, second = found.hosts
    twice = dataclasses.replace(second, uuid="00000000-0000-4000-8000-000000000001")
    client._refs[twice.uuid] = first.ref
    results = enrol_hosts(client, [first, twice], rules)
    assert codes(results) == ["XENTPM_KEY_IN_USE", "XENTPM_KEY_IN_USE"]
