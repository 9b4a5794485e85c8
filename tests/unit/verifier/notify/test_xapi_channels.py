"""Messages, marks and maintenance on simulated hosts through XAPI; and what a pool in trouble means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.pool import new_pool, sim_pool  # noqa: F401
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.notify.change import Announcer, trial
from xentpm_lib.verifier.notify.config import BUILT_IN, ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.delivery import DeliveryError, NothingToDo
from xentpm_lib.verifier.notify.xapi_channels import (
    MARK_KEYS,
    MARK_TAGS,
    PRIORITIES,
    DisableHostChannel,
    MarksChannel,
    MessageChannel,
)
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient

from .conftest import NOW

MESSAGES = ChannelConfig("messages", ChannelKind.XAPI_MESSAGE)
MARKS = ChannelConfig("marks", ChannelKind.XAPI_MARKS)


def _client(pool, password=""):
    session = pool.session()
    (record,) = session.xenapi.pool.get_all_records().values()
    session.xenapi.session.logout()
    record = PoolRecord(record["uuid"], "pool", (pool.url,), TlsTrust(pool.certificate.read_text()))
    return PoolClient(record, lambda: Credentials(pool.username, password or pool.password))


@pytest.fixture
def client(sim_pool):  # noqa: F811
    """The client of a pool of two hosts."""
    with _client(sim_pool) as client:
        yield client


@pytest.fixture
def tell(client, sim_pool, make_change):  # noqa: F811
    """Returns a function that tells a channel of a change of host1."""

    def make(channel, new, old=State.TRUSTED, host=None, passed=frozenset(), **words):
        uuid = sim_pool.host("host1").uuid if host is None else host
        change = make_change(new, old=old, host=uuid, pool="pool", disable=channel is BUILT_IN, **words)
        change = replace(change, passed=passed)
        (told,) = Announcer([] if channel is BUILT_IN else [channel]).changed(change)
        kinds = {MESSAGES: MessageChannel, MARKS: MarksChannel, BUILT_IN: DisableHostChannel}
        kinds[channel](channel, (lambda _: client)).deliver(told)
        return told

    return make


def _ours(record):
    tags = [tag for tag in record["tags"] if tag.startswith("xentpm:")]
    return tags, {key: value for key, value in record["other_config"].items() if key.startswith("xentpm_")}


@pytest.mark.parametrize("new", [state for state in State if state is not State.TRUSTED])
def test_a_message_is_on_the_host_and_can_be_read(sim_pool, tell, new):  # noqa: F811
    before = {message["uuid"] for message in sim_pool.messages()}
    tell(MESSAGES, new)
    (message,) = [one for one in sim_pool.messages() if one["uuid"] not in before]
    assert (message["cls"], message["obj_uuid"]) == ("Host", sim_pool.host("host1").uuid)
    assert int(message["priority"]) == PRIORITIES[new]
    assert message["name"].startswith("xentpm_host_")
    assert message["body"].startswith("host1 is ")
    assert f"State {new.value} since 2027-01-15T08:00:00.000Z, before that: trusted" in message["body"]


def test_a_message_says_what_to_do_and_recovery_is_for_information(sim_pool, tell):  # noqa: F811
    found = finding("PCR_CHANGED", expected="aa" * 32, actual="bb" * 32, where="sha256:9", component="initrd")
    before = {message["uuid"] for message in sim_pool.messages()}
    tell(MESSAGES, State.UNTRUSTED_MEASUREMENT, findings=[found])
    tell(MESSAGES, State.TRUSTED, old=State.UNTRUSTED_MEASUREMENT)
    bad, good = [one for one in sim_pool.messages() if one["uuid"] not in before]
    if bad["priority"] == "5":
        bad, good = good, bad
    assert "PCR_CHANGED (initrd): A measurement is not the expected one." in bad["body"]
    assert f"  expected: {'aa' * 32}\n  seen: {'bb' * 32}\n" in bad["body"]
    assert "  To do: If the change was planned, approve it" in bad["body"]
    assert (good["name"], good["priority"]) == ("xentpm_host_trusted", "5")
    assert good["body"].startswith("host1 is trusted again.\n")


def test_strange_characters_of_a_host_reach_nobody(sim_pool, tell):  # noqa: F811
    found = finding("PCR_CHANGED", component="a\x00b\x1b[2J\u202ec\ud800<&>]]>")
    tell(MESSAGES, State.UNTRUSTED_MEASUREMENT, findings=[found])
    assert any("a?b?[2J?c?<&>]]>" in message["body"] for message in sim_pool.messages())


def test_a_test_message(sim_pool, client):  # noqa: F811
    told = trial(MESSAGES, "station", NOW, sim_pool.host("host2").uuid, "pool")
    MessageChannel(MESSAGES, (lambda _: client)).deliver(told)
    (message,) = [one for one in sim_pool.messages() if one["name"] == "xentpm_test"]
    assert message["obj_uuid"] == sim_pool.host("host2").uuid
    with pytest.raises(DeliveryError) as failure:
        MessageChannel(MESSAGES, (lambda _: client)).deliver(trial(MESSAGES, "station", NOW))
    assert failure.value.final


def test_marks_go_through_all_states_and_back(sim_pool, tell):  # noqa: F811
    """One tag at a time, never two; what others set stays; nothing is left of a host that is forgotten."""
    session = sim_pool.session()
    ref = sim_pool.host("host1").ref
    session.xenapi.host.add_tags(ref, "mine")
    session.xenapi.host.add_to_other_config(ref, "mine", "1")
    old = State.STALE
    for state in [State.TRUSTED, *State, State.TRUSTED]:
        if state is old:
            continue
        for _ in range(2):  # the second time nothing changes
            tell(MARKS, state, old=old)
            record = sim_pool.record("host1")
            tags, keys = _ours(record)
            assert "mine" in record["tags"] and record["other_config"]["mine"] == "1"
            if state is State.NOT_ENROLLED:
                assert (tags, keys) == ([], {})
                continue
            word = "untrusted" if state.value.startswith("untrusted") else state.value
            assert tags == [f"xentpm:{word}"] and set(tags) <= set(MARK_TAGS)
            assert keys["xentpm_state"] == state.value and set(keys) <= set(MARK_KEYS)
            assert ("xentpm_expires" in keys) is (state is State.TRUSTED)
        old = state
    session.xenapi.session.logout()


def test_marks_say_why_and_until_when(sim_pool, tell):  # noqa: F811
    found = [finding("EK_CHANGED"), finding("CLOCK_UNSAFE"), finding("HOST_REBOOTED"), finding("EK_CHANGED")]
    tell(MARKS, State.UNTRUSTED_KEY, findings=found)
    assert _ours(sim_pool.record("host1"))[1] == {
        "xentpm_state": "untrusted-key",
        "xentpm_since": "2027-01-15T08:00:00.000Z",
        "xentpm_findings": "CLOCK_UNSAFE,EK_CHANGED",
        "xentpm_policy": "uefi-grub",
    }
    tell(MARKS, State.TRUSTED, old=State.UNTRUSTED_KEY)
    assert _ours(sim_pool.record("host1"))[1] == {
        "xentpm_state": "trusted",
        "xentpm_since": "2027-01-15T08:00:00.000Z",
        "xentpm_expires": "2027-01-15T08:15:00.000Z",
        "xentpm_policy": "uefi-grub",
    }


def test_the_same_marks_again_write_nothing(sim_pool, tell):  # noqa: F811
    tell(MARKS, State.UNREACHABLE)
    log = sim_pool.directory / "simulator.log"

    def writes():
        text = log.read_text()
        return sum(text.count(f"host.{word}") for word in ("add_t", "remove_"))

    before = writes()
    tell(MARKS, State.UNREACHABLE)
    assert writes() == before > 0


def test_a_host_is_disabled_when_it_is_untrusted_and_never_enabled(sim_pool, tell):  # noqa: F811
    passed = frozenset({State.UNTRUSTED_KEY})
    with pytest.raises(NothingToDo):
        tell(BUILT_IN, State.TRUSTED, old=State.UNTRUSTED_KEY, passed=passed)
    assert sim_pool.record("host1")["enabled"]
    tell(BUILT_IN, State.UNTRUSTED_KEY)
    tell(BUILT_IN, State.UNTRUSTED_MEASUREMENT)
    assert not sim_pool.record("host1")["enabled"]
    with pytest.raises(NothingToDo):
        tell(BUILT_IN, State.TRUSTED, old=State.UNTRUSTED_KEY, passed=passed)
    assert not sim_pool.record("host1")["enabled"]
    assert sim_pool.record("host2")["enabled"]
    session = sim_pool.session()
    session.xenapi.host.enable(sim_pool.host("host1").ref)
    session.xenapi.session.logout()


@pytest.mark.parametrize("channel", [MESSAGES, MARKS, BUILT_IN], ids=lambda channel: channel.name)
def test_a_host_that_left_the_pool_is_never_tried_again(tell, channel):
    with pytest.raises(DeliveryError) as failure:
        tell(channel, State.UNTRUSTED_KEY, host="00000000-0000-4000-8000-000000000000")
    assert failure.value.final and not failure.value.wide


def test_a_pool_that_is_down_blocks_its_own_notifications_only(new_pool, make_change):  # noqa: F811
    pool = new_pool(1)
    change = make_change(State.UNTRUSTED_KEY, host=pool.host("host1").uuid, pool="pool")
    (told,) = Announcer([MARKS]).changed(change)
    with _client(pool, password="wrong") as client, pytest.raises(DeliveryError) as failure:
        MarksChannel(MARKS, (lambda _: client)).deliver(told)
    assert failure.value.wide and not failure.value.final and "wrong" in failure.value.message
    with _client(pool) as client:
        channel = MarksChannel(MARKS, (lambda _: client))
        channel.deliver(told)
        pool.process.communicate(timeout=60)
        with pytest.raises(DeliveryError) as failure:
            channel.deliver(told)
    assert failure.value.wide and not failure.value.final


def test_marks_of_a_host_that_is_off_are_set(sim_pool, tell):  # noqa: F811
    sim_pool.power_off("host2")
    try:
        tell(MARKS, State.UNREACHABLE, host=sim_pool.host("host2").uuid)
        assert _ours(sim_pool.record("host2"))[0] == ["xentpm:unreachable"]
        with pytest.raises(DeliveryError) as failure:
            tell(BUILT_IN, State.UNTRUSTED_KEY, host=sim_pool.host("host2").uuid)
        assert not failure.value.wide and not failure.value.final
    finally:
        sim_pool.power_on("host2")


def test_what_is_not_a_notification_is_never_tried_again(client, make_notification):
    from xentpm_lib.errors import UsageError

    told = make_notification(kind=ChannelKind.XAPI_MARKS)
    with pytest.raises(DeliveryError) as failure:
        MarksChannel(MARKS, (lambda _: client)).deliver(replace(told, body="{}"))
    assert failure.value.final

    def forgotten(pool_id):
        raise UsageError(f"the pool {pool_id} is not known")

    with pytest.raises(DeliveryError) as failure:
        MarksChannel(MARKS, forgotten).deliver(told)
    assert failure.value.final

    def broken(pool_id):
        raise CollectionError("POOL_UNREACHABLE", "no route")

    with pytest.raises(DeliveryError, match="no route") as failure:
        MarksChannel(MARKS, broken).deliver(told)
    assert failure.value.wide
