"""What is told of a change, to whom, and that it is once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from xentpm_lib.errors import FormatError
from xentpm_lib.verifier.findings import Severity, finding
from xentpm_lib.verifier.notification import MAX_BODY_BYTES
from xentpm_lib.verifier.notify.change import Announcer, channel_event, trial
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.document import Event, read_body
from xentpm_lib.verifier.notify.wording import text_of
from xentpm_lib.verifier.result import State, states_since_trust

from .conftest import HOST, LEASE, NOW, POOL

HOOK = ChannelConfig("hook", ChannelKind.WEBHOOK)
MAIL = ChannelConfig("mail", ChannelKind.APPRISE)
MESSAGES = ChannelConfig("messages", ChannelKind.XAPI_MESSAGE)
MARKS = ChannelConfig("marks", ChannelKind.XAPI_MARKS)
ALL = (HOOK, MAIL, MESSAGES, MARKS)


def _names(notifications):
    return [one.channel for one in notifications]


@pytest.mark.parametrize("new", [state for state in State if state is not State.TRUSTED])
def test_every_change_is_told_to_every_channel_once(make_change, new):
    told = Announcer(ALL).changed(make_change(new))
    assert _names(told) == ["hook", "mail", "messages", "marks"]
    assert len({one.notification_id for one in told}) == 4
    assert {(one.host_id, one.pool_id, one.created_at) for one in told} == {(HOST, POOL, NOW)}


def test_recovery_is_told(make_change):
    told = Announcer(ALL).changed(make_change(State.TRUSTED, old=State.UNTRUSTED_KEY))
    assert _names(told) == ["hook", "mail", "messages", "marks"]
    assert json.loads(told[0].body)["summary"] == "host1 is trusted again"


def test_no_change_is_not_told(make_change):
    assert Announcer(ALL).changed(make_change(State.UNREACHABLE, old=State.UNREACHABLE)) == ()


@pytest.mark.parametrize("old", [None, State.NOT_ENROLLED])
def test_people_are_not_told_that_a_new_host_is_trusted_but_orchestrators_are(make_change, old):
    assert _names(Announcer(ALL).changed(make_change(State.TRUSTED, old=old))) == ["hook", "marks"]
    told = Announcer(ALL).changed(make_change(State.UNTRUSTED_KEY, old=old))
    assert _names(told) == ["hook", "mail", "messages", "marks"]


def test_the_same_change_has_the_same_identifiers_and_another_has_others(make_change):
    def identifiers(change):
        return {one.notification_id for one in Announcer(ALL).changed(change)}

    first = identifiers(make_change(State.UNREACHABLE))
    assert identifiers(make_change(State.UNREACHABLE)) == first
    assert not identifiers(make_change(State.UNREACHABLE, at=NOW + 1)) & first
    assert not identifiers(make_change(State.UNTRUSTED_KEY)) & first
    assert not identifiers(make_change(State.UNREACHABLE, host=POOL)) & first


def test_a_channel_with_states_hears_when_a_host_enters_and_leaves_them(make_change):
    keys = ChannelConfig("keys", ChannelKind.WEBHOOK, states=frozenset({State.UNTRUSTED_KEY}))
    announcer = Announcer([keys])
    assert len(announcer.changed(make_change(State.UNTRUSTED_KEY))) == 1
    assert len(announcer.changed(make_change(State.TRUSTED, old=State.UNTRUSTED_KEY))) == 1
    assert announcer.changed(make_change(State.UNREACHABLE)) == ()


def test_a_host_is_to_be_disabled_only_where_the_policy_says_so_and_only_untrusted(make_change):
    announcer = Announcer([])
    assert announcer.changed(make_change(State.UNTRUSTED_KEY)) == ()
    for state in State:
        old = State.STALE if state is not State.STALE else State.TRUSTED
        told = announcer.changed(make_change(state, old=old, disable=True))
        assert [one.channel for one in told] == ["disable_host"] * state.value.startswith("untrusted")
        assert all(json.loads(one.body)["disable_host"] for one in told)


def test_what_was_not_done_before_a_host_is_trusted_again_is_taken_back(make_change):
    passed = frozenset({State.UNTRUSTED_KEY, State.UNREACHABLE})
    trusted = replace(make_change(State.TRUSTED, old=State.UNREACHABLE, disable=True), passed=passed)
    (told,) = Announcer([]).changed(trusted)
    assert (told.channel, json.loads(told.body)["disable_host"]) == ("disable_host", False)


def test_a_host_is_disabled_once_for_a_state_also_where_the_policy_says_so_later(make_change):
    def found(announcer, at, **words):
        current = make_change(State.UNTRUSTED_KEY, old=State.UNTRUSTED_KEY, at=at, **words)
        return announcer.renewed(current, since=NOW)

    announcer = Announcer([])
    announcer.stored(announcer.changed(make_change(State.UNTRUSTED_KEY)))
    assert found(announcer, NOW + 300) == ()
    (told,) = found(announcer, NOW + 600, disable=True)
    assert json.loads(told.body)["disable_host"] and told.created_at == NOW + 600
    announcer.stored([told])
    assert found(announcer, NOW + 900, disable=True) == ()
    (again,) = found(Announcer([]), NOW + 1200, disable=True)  # a restart: the outbox knows it
    (at_once,) = Announcer([]).changed(make_change(State.UNTRUSTED_KEY, disable=True))
    assert told.notification_id == again.notification_id == at_once.notification_id


def test_the_body_is_what_the_document_says(make_change):
    found = finding("PCR_CHANGED", expected="aa", actual="bb", where="sha256:9", component="dom0 initrd")
    (told,) = Announcer([HOOK]).changed(make_change(State.UNTRUSTED_MEASUREMENT, findings=[found]))
    body = json.loads(told.body)
    assert body["id"] == told.notification_id
    assert (body["version"], body["event"], body["at"]) == (1, "state_changed", "2027-01-15T08:00:00.000Z")
    assert body["host"] == {"uuid": HOST, "name": "host1", "pool": POOL, "pool_name": "pool one"}
    assert (body["verdict"], body["state"]) == ("untrusted", "untrusted-measurement")
    assert (body["previous_state"], body["expires_at"]) == ("trusted", None)
    assert body["findings"][0]["component"] == "dom0 initrd"
    assert (body["findings"][0]["expected"], body["findings"][0]["actual"]) == ("aa", "bb")
    document = read_body(told.body)
    assert document.host.state is State.UNTRUSTED_MEASUREMENT
    assert document.to_body(told.notification_id) == told.body


def test_only_trust_expires(make_change):
    (told,) = Announcer([HOOK]).changed(make_change(State.TRUSTED, old=State.STALE))
    body = json.loads(told.body)
    assert (body["verdict"], body["expires_at"]) == ("trusted", "2027-01-15T08:15:00.000Z")


def test_what_a_host_says_is_cleaned_and_cut(make_change):
    evil = "a\x1b[31m\u202eb\r\nc" + "x" * 1000
    found = finding("PCR_CHANGED", actual=evil, component=evil, detail=evil)
    (told,) = Announcer([HOOK]).changed(make_change(State.UNTRUSTED_MEASUREMENT, findings=[found]))
    for text in (json.loads(told.body)["findings"][0]["actual"], text_of(read_body(told.body))):
        assert "\x1b" not in text and "\u202e" not in text and "\r" not in text
    assert len(json.loads(told.body)["findings"][0]["detail"]) == 300


def test_a_body_is_never_too_long(make_change):
    found = [
        finding("PCR_CHANGED", *(["\U0001f600" * 400] * 1), expected="\U0001f600" * 400) for _ in range(1)
    ]
    wide = dict.fromkeys(("expected", "actual", "where", "component", "detail"), "😀" * 400)
    found = [finding("PCR_CHANGED", **wide) for _ in range(50)]
    (told,) = Announcer([HOOK]).changed(make_change(State.UNTRUSTED_MEASUREMENT, findings=found))
    body = json.loads(told.body)
    assert len(told.body) <= MAX_BODY_BYTES
    assert len(body["findings"]) + body["findings_left_out"] == 50
    assert body["findings"]


def test_failed_findings_come_first_and_the_text_tells_them_only(make_change):
    found = [
        finding("CLOCK_UNSAFE"),
        finding("HOST_REBOOTED"),
        finding("EK_CHANGED", component="endorsement key"),
    ]
    (told,) = Announcer([MAIL]).changed(make_change(State.UNTRUSTED_KEY, findings=found))
    document = read_body(told.body)
    assert [one.code for one in document.host.findings] == ["EK_CHANGED", "CLOCK_UNSAFE", "HOST_REBOOTED"]
    text = text_of(document)
    assert text.startswith("host1 is NOT trusted: its keys are not those of the enrolled machine.\n")
    assert "EK_CHANGED (endorsement key)" in text and "CLOCK_UNSAFE" not in text
    assert f"xentpm-attest explain {HOST}" in text


def test_where_more_is_to_be_found_of_a_host_that_is_not_enrolled(make_change):
    def text(old):
        (told,) = Announcer([HOOK]).changed(make_change(State.NOT_ENROLLED, old=old))
        return text_of(read_body(told.body))

    assert f"xentpm-attest history {HOST}" in text(State.TRUSTED) and "explain" not in text(State.TRUSTED)
    assert f"xentpm-attest explain {HOST}" in text(None)  # seen in its pool


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"version": 2}', "null", '{"version": 1, "event": "x"}'])
def test_another_body_is_refused(body):
    with pytest.raises(FormatError):
        read_body(body)


class TestMarks:
    """Marks say until when trust lasts, so they are renewed: often enough, and not at every result."""

    def _current(self, make_change, at, state=State.TRUSTED, **words):
        return make_change(state, old=state, at=at, **words)

    def test_they_are_renewed_before_they_run_out(self, make_change):
        announcer = Announcer(ALL)
        announcer.stored(announcer.changed(make_change(State.TRUSTED, old=State.STALE)))
        renewed_at = []
        for minutes in range(5, 61, 5):
            now = NOW + minutes * 60
            told = announcer.renewed(self._current(make_change, now), since=NOW)
            announcer.stored(told)
            if told:
                renewed_at.append(minutes)
        assert renewed_at == [10, 20, 30, 40, 50, 60]  # of 15 minutes 5 are left

    def test_only_marks_are_renewed_and_they_say_since_when(self, make_change):
        announcer = Announcer(ALL)
        (told,) = announcer.renewed(self._current(make_change, NOW + 60), since=NOW)
        announcer.stored([told])
        assert told.channel == "marks"
        document = read_body(told.body)
        assert (document.event, document.host.since) == (Event.RENEWED, NOW)
        assert document.host.expires_at == NOW + 60 + LEASE
        assert announcer.renewed(self._current(make_change, NOW + 120), since=NOW) == ()

    def test_other_findings_renew_them_and_the_same_do_not(self, make_change):
        announcer = Announcer(ALL)
        announcer.stored(announcer.changed(make_change(State.UNTRUSTED_KEY)))
        same = self._current(make_change, NOW + 3600, State.UNTRUSTED_KEY)
        assert announcer.renewed(same, since=NOW) == ()
        other = self._current(make_change, NOW, State.UNTRUSTED_KEY, findings=[finding("AK_CHANGED")])
        (told,) = announcer.renewed(other, since=NOW)
        announcer.stored([told])
        info = finding("HOST_REBOOTED", Severity.INFO)
        more = self._current(make_change, NOW, State.UNTRUSTED_KEY, findings=[finding("AK_CHANGED"), info])
        assert announcer.renewed(more, since=NOW) == ()

    def test_after_a_restart_the_first_result_renews_them(self, make_change):
        current = self._current(make_change, NOW, State.UNTRUSTED_KEY)
        assert len(Announcer(ALL).renewed(current, since=NOW - 99)) == 1

    def test_without_such_a_channel_nothing_is_renewed_or_remembered(self, make_change):
        announcer = Announcer([HOOK])
        announcer.stored(announcer.changed(make_change(State.UNTRUSTED_KEY)))
        assert announcer.renewed(self._current(make_change, NOW), since=NOW) == ()
        assert announcer._told == announcer._made == {}

    def test_what_was_not_stored_is_made_again(self, make_change):
        announcer = Announcer(ALL)
        current = self._current(make_change, NOW)
        first = announcer.renewed(current, since=NOW)
        assert announcer.renewed(current, since=NOW) == first
        later = self._current(make_change, NOW + 60)
        announcer.stored(announcer.renewed(later, since=NOW))
        assert announcer.renewed(later, since=NOW) == ()

    def test_a_host_that_is_forgotten_is(self, make_change):
        announcer = Announcer(ALL)
        announcer.stored(announcer.changed(make_change(State.UNTRUSTED_KEY)))
        announcer.forget(HOST)
        assert announcer._told == {}


def test_a_test_message_and_a_channel_that_fails():
    told = trial(HOOK, "station", NOW)
    assert read_body(told.body).event is Event.TEST
    assert told.notification_id != trial(HOOK, "station", NOW).notification_id
    failed = channel_event(Event.CHANNEL_FAILED, "mail", HOOK, NOW, "cause", "refused")
    assert failed.notification_id == (
        channel_event(Event.CHANNEL_FAILED, "mail", HOOK, NOW + 5, "cause", "").notification_id
    )
    assert json.loads(failed.body)["channel"] == "mail"
    assert read_body(failed.body).summary == "The notification channel mail cannot deliver: refused"


class TestFilteredChannels:
    """Who was told that a host is not trusted is told when that is over, whatever came in between."""

    def _told(self, make_change, states, *through, old=State.TRUSTED):
        channel, said = ChannelConfig("some", ChannelKind.WEBHOOK, states=frozenset(states)), []
        passed = states_since_trust(frozenset(), old)
        for new in through:
            change = replace(make_change(new, old=old), passed=passed)
            said += [new for _ in Announcer([channel]).changed(change)]
            old, passed = new, states_since_trust(passed, new)
        return said

    def test_trust_is_told_after_states_that_are_not(self, make_change):
        key, away, stale, good = State.UNTRUSTED_KEY, State.UNREACHABLE, State.STALE, State.TRUSTED
        assert self._told(make_change, [key], key, away, stale, good) == [key, away, good]
        assert self._told(make_change, [key], away, stale, good) == []
        assert self._told(make_change, [key], key, good, away, good) == [key, good]  # that was over before

    def test_the_end_may_be_that_the_host_is_forgotten(self, make_change):
        key, away, gone = State.UNTRUSTED_KEY, State.UNREACHABLE, State.NOT_ENROLLED
        assert self._told(make_change, [key], key, away, gone) == [key, away, gone]
        assert self._told(make_change, [key], away, gone) == []
