"""What is true now, out of the ledger's entries, and their bodies there and back."""

import json
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pytest

from support.evidence_maker import SoftwareAttester
from xentpm_lib.errors import PolicyError, UsageError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.verifier import ledger_bodies as bodies
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import LedgerItem, StateChange
from xentpm_lib.verifier.ledger_readers import KINDS, check_item
from xentpm_lib.verifier.policy.loader import shipped_text
from xentpm_lib.verifier.records import EkTrust, PoolRecord, TlsTrust, UnenrolledHost
from xentpm_lib.verifier.registry import Registry
from xentpm_lib.verifier.result import State

POOL = PoolRecord("p-1", "pool", ("https://a", "https://b"), TlsTrust("PEM", ("ab" * 32,)))
NOW = 1_800_000_000.5
STRANGER = UnenrolledHost("7d1f7c0e-3f2b-4a3e-8f0f-3a2a6a1d4a22", POOL.pool_id, "host-3", NOW)


@dataclass
class Entry:
    seq: int
    kind: str
    subject: str
    body: dict[str, Any]


class History:
    """A ledger that is only a list: bodies go through JSON, as they do in the store."""

    def __init__(self):
        self.entries = []

    def add(self, *items):
        for item in items:
            check_item(item)
            body = json.loads(json.dumps(item.body))
            self.entries.append(Entry(len(self.entries) + 1, item.kind, item.subject, body))
        return Registry.from_entries(self.entries)


@pytest.fixture
def history():
    return History()


@pytest.fixture
def host():
    return replace(SoftwareAttester(tag=bytes(range(32))).record(), pool_id="p-1", name="host-1", serial=1)


def enrolled(*names):
    """A registry with a host of each name."""
    records = [
        replace(SoftwareAttester().record(), pool_id="p-1", name=name, host_id=f"{at:08x}-1111-4111-8111-0")
        for at, name in enumerate(names)
    ]
    return History().add(bodies.pool_added(POOL), *map(bodies.host_enrolled, records))


@pytest.mark.parametrize(
    "name",
    ["--all", "-h", "", "host 1", "; curl evil|sh #", "$(id)", "h\u00f6st", "a\nb", "'", "x" * 500 + "/"],
)
def test_names_that_are_not_fit_for_a_command(name):
    registry = enrolled(name, "host2")
    assert registry.word_for(registry.hosts()[0].host_id) == "00000000-1111-4111-8111-0"
    assert registry.word_for(registry.hosts()[1].host_id) == "host2"


def test_names_that_mean_several_hosts():
    registry = enrolled("host", "host", "00000000-1111-4111-8111-0", "rack7-host_4.lab")
    words = [registry.word_for(host.host_id) for host in registry.hosts()]
    assert [registry.host(word) for word in words] == list(registry.hosts())
    assert words[:3] == [host.host_id for host in registry.hosts()[:3]] and words[3] == "rack7-host_4.lab"
    assert registry.word_for("; no host") == "'; no host'"


def reference(host, **changes):
    boot_log = (BootEvent(9, {"sha256": bytes(32)}, "xen.gz"),)
    made = SoftwareAttester().reference(hosts=frozenset({host.host_id}), groups=frozenset())
    return replace(made, reference_id=str(uuid.uuid4()), boot_log=boot_log, retired_at=None, **changes)


def test_records_come_back_as_they_were(history, host):
    one = reference(host)
    history.add(bodies.host_enrolled(host), bodies.pool_added(POOL), bodies.reference_added(one))
    registry = history.add()
    assert registry.hosts() == (host,)
    assert registry.pools() == (POOL,)
    assert registry.pool("p-1") == registry.find_pool("p-1") == POOL and registry.find_pool("x") is None
    assert registry.references() == (one,)
    assert registry.references_for(host) == (one,)
    assert registry.seq == 3


def test_a_replacement_takes_the_hosts_place(history, host):
    history.add(bodies.host_enrolled(host))
    other = replace(SoftwareAttester().record(), host_id=host.host_id)
    registry = history.add(bodies.host_enrolled(other))
    assert registry.hosts() == (replace(other, serial=2),)


def test_a_host_changes_by_entries(history, host):
    history.add(bodies.host_enrolled(host), bodies.host_group(host.host_id, "lab"))
    registry = history.add(bodies.asset_tag_expected(host.host_id, b"x" * 20))
    found = registry.find_host(host.host_id)
    assert (found.group, found.asset_tag, found.serial) == ("lab", b"x" * 20, 1)
    assert history.add(bodies.asset_tag_expected(host.host_id, None)).hosts()[0].asset_tag is None


def test_an_enrolment_that_is_updated_goes_on(history, host):
    """Another pool, another name, another reason to believe its EK: the same host since the same time."""
    history.add(bodies.host_enrolled(host), bodies.host_group(host.host_id, "lab"))
    moved = replace(host, pool_id="p-2", name="host-9", ek_trust=EkTrust.PINNED, ek_certificate=None)
    (found,) = history.add(bodies.host_updated(moved)).hosts()
    assert found == replace(moved, group="lab", serial=1)


def test_hosts_that_are_not_enrolled_are_known_as_such(history, host):
    registry = history.add(bodies.pool_added(POOL), bodies.host_seen(STRANGER))
    assert registry.unenrolled() == (STRANGER,)
    assert registry.find_unenrolled(STRANGER.name) == registry.find_unenrolled("7d1f7c0e") == STRANGER
    assert registry.find_unenrolled("x") is None
    with pytest.raises(UsageError, match="is not enrolled") as caught:
        registry.host(STRANGER.name)
    assert "enroll" in caught.value.hint
    registry = history.add(bodies.host_gone(STRANGER.host_id))
    assert (registry.unenrolled(), registry.is_known(STRANGER.host_id)) == ((), False)


def test_an_enrolled_host_is_no_stranger(history, host):
    same = replace(STRANGER, host_id=host.host_id)
    registry = history.add(bodies.host_seen(same), bodies.host_enrolled(host), bodies.host_seen(same))
    assert (registry.unenrolled(), registry.is_known(host.host_id)) == ((), True)


def test_a_host_that_nobody_wants_to_see_stays_unseen_until_it_is_enrolled(history, host):
    same = replace(STRANGER, host_id=host.host_id)
    history.add(bodies.host_seen(same), bodies.host_removed(host.host_id), bodies.host_seen(same))
    assert history.add().unenrolled() == ()
    assert history.add().is_known(host.host_id)
    registry = history.add(bodies.host_enrolled(host))
    assert registry.hosts()[0].host_id == host.host_id


def test_a_pool_that_is_forgotten_takes_its_strangers_along(history):
    history.add(bodies.pool_added(POOL), bodies.host_seen(STRANGER))
    assert history.add(bodies.pool_removed(POOL.pool_id)).unenrolled() == ()


def test_a_forgotten_host_takes_its_trust_along(history, host):
    """Whatever is enrolled under its UUID later starts with nothing."""
    one = reference(host)
    change = StateChange(host.host_id, None, State.TRUSTED, NOW, (), 7)
    history.add(bodies.host_enrolled(host), bodies.reference_added(one), bodies.state_changed(change))
    assert history.add().state(host.host_id) == change
    registry = history.add(bodies.host_removed(host.host_id))
    assert registry.hosts() == ()
    assert registry.state(host.host_id) is None
    registry = history.add(bodies.host_enrolled(host))
    assert registry.references_for(registry.hosts()[0]) == ()


def test_references_are_assigned_and_retired(history, host):
    one = reference(host)
    history.add(bodies.host_enrolled(host), bodies.reference_added(one))
    identity = one.reference_id
    assert not history.add(bodies.reference_unassigned(identity, hosts=[host.host_id])).references_for(host)
    assert history.add(bodies.reference_assigned(identity, groups=[host.group])).references_for(host)
    registry = history.add(bodies.reference_retired(identity, NOW))
    assert not registry.references_for(host)
    assert registry.reference(identity).retired_at == NOW
    assert not history.add(bodies.reference_assigned(identity, hosts=[host.host_id])).references_for(host)


def test_entries_about_what_is_gone_change_nothing(history, host):
    registry = history.add(
        bodies.host_group("h", "lab"),
        bodies.host_removed("h"),
        bodies.asset_tag_expected("h", None),
        bodies.reference_assigned("r", hosts=["h"]),
        bodies.reference_unassigned("r", hosts=["h"]),
        bodies.reference_retired("r", NOW),
        bodies.pool_removed("p"),
        bodies.note("x", "text"),
    )
    assert (registry.hosts(), registry.references(), registry.pools(), registry.seq) == ((), (), (), 8)


def test_a_group_without_a_policy_has_none(history, host):
    """There is no default that everything would be appraised by."""
    registry = history.add(bodies.host_enrolled(host))
    with pytest.raises(PolicyError, match="has no policy"):
        registry.policy_for(host)
    registry = history.add(bodies.policy_assigned(host.group, shipped_text("uefi-grub")))
    assert registry.policy_for(host).name == "uefi-grub"
    registry.apply(Entry(3, "policy_assigned", host.group, history_body("firmware")))
    assert registry.policy_for(host).name == "firmware"
    assert set(registry.policies()) == {host.group}


def history_body(name):
    return bodies.policy_assigned("g", shipped_text(name)).body


def test_a_bad_policy_is_not_assigned():
    with pytest.raises(PolicyError):
        check_item(bodies.policy_assigned("g", "version = 1\nunknown = 2\n"))


def test_hosts_are_found_by_what_people_write(history, host):
    twin = replace(SoftwareAttester().record(), name="host-1")
    single = replace(SoftwareAttester().record(), name="host-2")
    registry = history.add(*map(bodies.host_enrolled, (host, twin, single)))
    assert registry.host(single.host_id).name == "host-2"
    assert registry.host("host-2").host_id == single.host_id
    assert registry.host(single.host_id[:8].upper()).host_id == single.host_id
    for text, match in (
        ("host-1", "2 hosts are called"),
        ("x", "no enrolled host"),
        ("", "no enrolled host"),
    ):
        with pytest.raises(UsageError, match=match):
            registry.host(text)
    with pytest.raises(UsageError) as caught:
        registry.host("hots-2")
    assert caught.value.hint.startswith("Did you mean 'host-2'?")
    with pytest.raises(UsageError):
        registry.host(single.host_id[:7])
    with pytest.raises(UsageError):
        registry.pool("x")


def test_references_are_found_by_what_people_write(history, host):
    first, second = reference(host, label="golden"), reference(host, label="update")
    registry = history.add(bodies.reference_added(first), bodies.reference_added(second))
    assert registry.reference("golden") == first
    assert registry.reference(second.reference_id[:8]) == second
    with pytest.raises(UsageError, match="no reference values"):
        registry.reference("x")
    registry = history.add(bodies.reference_added(reference(host, label="golden")))
    with pytest.raises(UsageError, match="several"):
        registry.reference("golden")
    assert registry.groups() == ()


@pytest.mark.parametrize("seq", [0, 1, 3, -1])
def test_entries_come_in_their_order(history, seq):
    registry = history.add(bodies.note("a", "text"))
    with pytest.raises(StoreError, match="came after"):
        registry.apply(Entry(seq, "note", "a", bodies.note("a", "b").body))


def samples(host):
    one = reference(host)
    return [
        bodies.pool_added(POOL),
        bodies.pool_changed(POOL),
        bodies.pool_removed("p-1"),
        bodies.host_enrolled(host),
        bodies.host_updated(host),
        bodies.host_removed(host.host_id),
        bodies.host_seen(STRANGER),
        bodies.host_gone(STRANGER.host_id),
        bodies.host_group(host.host_id, "g"),
        bodies.policy_assigned("g", shipped_text("txt")),
        bodies.reference_added(one),
        bodies.reference_assigned(one.reference_id, ["h"], ["g"]),
        bodies.reference_unassigned(one.reference_id, ["h"], ["g"]),
        bodies.reference_retired(one.reference_id, NOW),
        bodies.asset_tag_expected(host.host_id, bytes(48)),
        bodies.state_changed(StateChange(host.host_id, State.STALE, State.TRUSTED, NOW, ("X",), 1)),
        bodies.note("x", "y"),
    ]


def test_every_kind_has_a_sample(host):
    assert {item.kind for item in samples(host)} == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_cannot_be_read_is_an_error_never_skipped(host, kind):
    (item,) = (one for one in samples(host) if one.kind == kind)
    broken = [{**item.body, "version": 2}, {}]
    for name in item.body:
        broken.append({key: value for key, value in item.body.items() if key != name})
        broken += [{**item.body, name: value} for value in (object(), -1.5, [[]], {"x": "y"})]
    for body in broken:
        registry = Registry()
        try:
            check_item(LedgerItem(kind, item.subject, body))
        except (StoreError, PolicyError):
            pass  # not written in the first place
        else:
            registry.apply(Entry(1, kind, item.subject, body))  # what may be written can be read
    for body in (broken[0], broken[1]):
        with pytest.raises(StoreError, match="cannot be read"):
            Registry().apply(Entry(1, kind, item.subject, body))


def test_unknown_kinds_are_an_error():
    for kind in ("invented", "reference_invented", "host_invented"):
        with pytest.raises(StoreError, match="cannot be read"):
            Registry().apply(Entry(1, kind, "x", {"version": 1}))


@pytest.mark.parametrize("subject", ["", "a\nb", "\x1b[0m", "x" * 256])
def test_subjects_are_names(subject):
    with pytest.raises(StoreError):
        check_item(bodies.note(subject, "text"))


@pytest.mark.parametrize("tag", [b"", bytes(19), bytes(21), bytes(64)])
def test_asset_tags_have_three_sizes(tag):
    with pytest.raises(StoreError):
        check_item(bodies.asset_tag_expected("h", tag))


def test_a_pool_without_trust_is_not_written():
    with pytest.raises(StoreError, match="no certificate and no pin"):
        check_item(bodies.pool_added(replace(POOL, tls=TlsTrust())))
