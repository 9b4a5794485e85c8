"""Results in plain words: which component, since when, expected and seen, what to do."""

import hashlib
from dataclasses import replace

import pytest

from support.evidence_maker import SoftwareAttester, make_policy
from support.measured_boot import BOOT
from xentpm_lib.evidence.boot_setup import BootSetup
from xentpm_lib.evidence.event_log import Event
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.verifier.appraisal import appraise
from xentpm_lib.verifier.appraisal.outcome import conclude, unappraised
from xentpm_lib.verifier.challenge import ChallengeBook
from xentpm_lib.verifier.explain import Known, explain, explain_unenrolled, stored_evidence
from xentpm_lib.verifier.explanation import TEXT_WIDTH, Explanation, Paragraph
from xentpm_lib.verifier.findings import FINDING_KINDS, Severity, finding
from xentpm_lib.verifier.records import PoolRecord, TlsTrust, UnenrolledHost
from xentpm_lib.verifier.result import State, TpmClock

NOW = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC
POLICY = make_policy()
INITRD, XEN = b"/boot/initrd-4.19-xen.img", b"/boot/xen.gz"
COMMAND = b"grub_cmd: multiboot2 /boot/xen.gz dom0_mem=4096M"


def attested(host, references=(), now=NOW, previous=None, **changes):
    """A real appraisal of what the host answers now, and the evidence."""
    book = ChallengeBook(clock=lambda: now)
    challenge = book.issue(host.record(), POLICY)
    evidence = host.quote_evidence(challenge.nonce, **changes)
    redeemed = book.redeem(challenge)
    appraisal = appraise(
        evidence.to_json(), redeemed, host.record(), tuple(references), POLICY, previous, now
    )
    return appraisal.result, evidence


def changed_boot(old, new):
    return tuple((pcr, kind, new if data == old else data) for pcr, kind, data in BOOT)


class Story:
    """A host that was trusted, was changed, was started anew, and is attested twice more."""

    def __init__(self, old=INITRD, new=INITRD + b" 2", log=True):
        self.host = SoftwareAttester(send_log=log)
        self.good = self.host.reference(event_log=hashlib.sha256(self.host.event_log()).hexdigest())
        self.logs = {self.good.event_log: self.host.event_log()} if log else {}
        first, _ = attested(self.host, [self.good])
        self.host.reboot(boot=changed_boot(old, new))
        second, _ = attested(self.host, [self.good], NOW + 300, first.clock)
        self.result, self.evidence = attested(self.host, [self.good], NOW + 600, second.clock)
        self.history = [second, first]

    def explained(self, **changes):
        known = Known(stored_evidence(self.evidence), [self.good], self.logs, self.history)
        return explain(self.result, NOW + 660, replace(known, **changes))


def test_a_changed_initrd_in_plain_words():
    story = Story()
    pcr = story.good.pcrs["sha256"][9].hex()
    seen = story.host.pcrs["sha256"][9].hex()
    assert story.explained().text().splitlines() == [
        "host1 is not trusted: what it booted is not what was approved.",
        "",
        "  since          2027-01-15 08:05:00 UTC (6 min ago)",
        "  looked at      2027-01-15 08:10:00 UTC (1 min ago)",
        "  last trusted   2027-01-15 08:00:00 UTC (11 min ago)",
        "  policy         test",
        "  compared with  as installed",
        "  TPM known by   pinned",
        "",
        "1. A measurement is not the expected one: dom0 initrd (sha256:9)",
        f"   expected       {pcr}",
        f"   seen           {seen}",
        "   detail         compared with as installed",
        "   since          2027-01-15 08:05:00 UTC, when the host was started anew",
        "   changed: /boot/initrd-4.19-xen.img (dom0 initrd); now: /boot/initrd-4.19-xen.img 2",
        "",
        "What to do:",
        "  - If the change was planned, approve it: xentpm-attest baseline approve",
        f"    {story.host.host_id}. Else restore the component and reboot.",
    ]


def test_the_evidence_of_an_appraisal_explains_as_well_as_that_of_the_store():
    story = Story()
    book = ChallengeBook(clock=lambda: NOW)
    challenge = book.issue(story.host.record(), POLICY)
    text = story.host.text(challenge.nonce)
    appraisal = appraise(text, book.redeem(challenge), story.host.record(), (story.good,), POLICY, None, NOW)
    found = explain(appraisal.result, NOW, Known(appraisal.evidence, (story.good,), story.logs))
    assert found.paragraphs[0].notes == story.explained().paragraphs[0].notes


@pytest.mark.parametrize(
    ("old", "new", "title"),
    [
        (XEN, b"/boot/xen.gz 2", "Xen (sha256:9)"),
        (b"/boot/vmlinuz-4.19-xen", b"/boot/vmlinuz-4.20-xen", "dom0 kernel (sha256:9)"),
        (INITRD, b"/boot/xen.gz", "dom0 initrd (sha256:9)"),
        (XEN, b"/boot/other", "Xen (sha256:9)"),
        (COMMAND, b"grub_cmd: multiboot2 /boot/xen.gz dom0_mem=1M", "boot configuration (sha256:8)"),
        (b"firmware volume", b"firmware volume 2", "firmware code (sha256:0)"),
        (b"grubx64.efi", b"another", "boot loader (sha256:4)"),
    ],
)
def test_the_component_is_named_by_the_known_good_boot(old, new, title):
    """What the changed host says of the event's name is its own claim."""
    assert Story(old, new).explained().paragraphs[0].title.endswith(": " + title)


def test_advice_names_the_host_so_that_it_can_be_typed():
    host = SoftwareAttester(name="rack 7; \\1")
    result = unappraised(host.record(), POLICY, NOW, finding("HOST_UNKNOWN"))
    for word, told in (("", host.host_id), ("'rack 7; \\1'", "'rack 7; \\1'")):
        found = explain(result, NOW, word=word)
        assert found.advice == (f"If it left the pool: xentpm-attest forget {told}.",)


def test_a_host_that_is_not_enrolled_is_told_with_both_ways_out():
    host = UnenrolledHost("7d1f7c0e-3f2b-4a3e-8f0f-3a2a6a1d4a22", "p-1", "host3\x1b[31m", NOW)
    pool = PoolRecord("p-1", "pool one", ("https://192.0.2.7",), TlsTrust(pins=("ab" * 32,)))
    found = explain_unenrolled(host, pool)
    assert (found.state, "\x1b" in found.text()) == (State.NOT_ENROLLED, False)
    assert f"enroll https://192.0.2.7 --host {host.host_id}" in found.advice[0]
    assert f"forget {host.host_id}" in found.advice[1]


def test_what_the_ledger_knows_of_the_beginning_counts():
    host = SoftwareAttester()
    result = unappraised(host.record(), POLICY, NOW, finding("HOST_OFFLINE"))
    found = explain(result, NOW, Known(since=NOW - 3600, last_trusted=NOW - 3900))
    assert dict(found.facts)["since"].startswith("2027-01-15 07:00:00 UTC")
    assert dict(found.facts)["last trusted"].startswith("2027-01-15 06:55:00 UTC")


GRUB = (
    b"grub_cmd: module2 /boot/vmlinuz-4.19 root=LABEL=x quiet splash vga=785 console=hvc0 console=tty0 nolvm"
)


def grub_boot(options):
    """A boot whose kernel command line is in three events, as GRUB measures it."""
    line = GRUB + options
    entry = b"grub_cmd: menuentry XenServer {\n" + line.partition(b" ")[2] + b"\n}"
    module = b"module_cmdline: " + line.split(b" ", 3)[3]
    return BOOT + tuple((8, 0x0D, text) for text in (entry, line, module))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (b" init=/bin/sh", "added 'init=/bin/sh'"),
        (b"", "removed 'ro'"),
        (b" rw", "removed 'ro', added 'rw'"),
    ],
)
def test_a_changed_command_line_is_told_once_and_in_its_words(options, words):
    first = grub_boot(b"" if b"init" in options else b" ro")
    host = SoftwareAttester(boot=first)
    good = host.reference(event_log="ab" * 32)
    logs = {good.event_log: host.event_log()}
    host.reboot(boot=grub_boot(options))
    result, evidence = attested(host, [good])
    (paragraph,) = explain(result, NOW, Known(stored_evidence(evidence), [good], logs)).paragraphs
    assert paragraph.title.endswith(": command line of dom0 kernel (sha256:8)")
    (note,) = paragraph.notes
    assert note.startswith(f"the command line of dom0 kernel changed: {words} (was ")
    digests = [hashlib.sha256(boot[-1][2]).hexdigest() for boot in (first, host.boot)]
    assert note.endswith("(was {}, is {})".format(*digests))


@pytest.mark.parametrize("missing", ["shown", "references", "logs"])
def test_without_a_log_on_both_sides_only_values_are_told(missing):
    paragraph = (
        Story().explained(**{missing: {"shown": None, "references": (), "logs": {}}[missing]}).paragraphs[0]
    )
    assert paragraph.title.endswith("Xen, dom0 kernel or initrd (sha256:9)")
    assert [note[:25] for note in paragraph.notes] == ["No log tells which part o"]
    assert len(paragraph.facts) == 4


def test_a_host_without_a_log():
    assert "No log tells which part" in Story(log=False).explained().text()


def test_a_log_that_lies_tells_nothing():
    story = Story()
    lie = story.host.event_log().replace(INITRD + b" 2", INITRD + b" 9")
    assert lie != story.host.event_log()
    shown = replace_log(story, lie)
    assert story.explained(shown=shown).paragraphs[0].notes != ()
    digest = hashlib.sha256(INITRD + b" 2").digest()
    shown = replace_log(story, story.host.event_log().replace(digest, hashlib.sha256(INITRD).digest()))
    assert story.explained(shown=shown).paragraphs[0].notes[0].startswith("No log tells")


def replace_log(story, log):
    return Known(stored_evidence(story.evidence._replace(untrusted_event_log=log))).shown


def test_evidence_of_a_quote_that_did_not_hold_is_not_looked_at():
    story = Story()
    result = unappraised(story.host.record(), POLICY, NOW, finding("PCR_CHANGED", where="sha256:9"))
    found = explain(result, NOW, Known(stored_evidence(story.evidence), [story.good], story.logs))
    assert found.paragraphs[0].notes[0].startswith("No log tells")


def test_an_unknown_event_is_shown():
    host = SoftwareAttester()
    good = host.reference()
    host.events += (Event(8, 0xABCD, {"sha256": hashlib.sha256(b"x").digest()}, b"x"),)
    host.extend(8, b"x")
    result, evidence = attested(host, [good])
    found = explain(result, NOW, Known(stored_evidence(evidence), [good]))
    (paragraph,) = [one for one in found.paragraphs if one.code == "EVENT_LOG_UNKNOWN_EVENT"]
    assert paragraph.notes == ("the event: PCR 8, 0x0000abcd, 1 bytes",)


@pytest.mark.parametrize("log", [None, b"\0"], ids=["none", "malformed"])
def test_an_event_that_is_not_there_is_not_shown(log):
    host = SoftwareAttester()
    found = finding("EVENT_LOG_UNKNOWN_EVENT", where="event_log[99]")
    result = conclude(host.record(), POLICY, NOW, (found,), clock=TpmClock(1, 1, 1, True, 1))
    shown = QuoteEvidence.from_json(host.text(bytes(32)))
    assert explain(result, NOW, Known(stored_evidence(shown))).paragraphs[0].notes == ()
    shown = shown._replace(untrusted_event_log=log)
    assert explain(result, NOW, Known(stored_evidence(shown))).paragraphs[0].notes == ()


def test_many_events_are_cut():
    boot = tuple((pcr, kind, data) for pcr, kind, data in BOOT if pcr != 9)
    one = boot + tuple((9, 0x0D, b"/boot/file%d" % number) for number in range(40))
    other = boot + tuple((9, 0x0D, b"/boot/other%d" % number) for number in range(40))
    host = SoftwareAttester(boot=one)
    good = host.reference(event_log="ab" * 32)
    logs = {good.event_log: host.event_log()}
    host.reboot(boot=other)
    result, evidence = attested(host, [good])
    notes = explain(result, NOW, Known(stored_evidence(evidence), [good], logs)).paragraphs[0].notes
    assert len(notes) == 13
    assert notes[-1] == "and 28 more events"


def test_a_trusted_host():
    host = SoftwareAttester()
    result, _ = attested(host, [host.reference()])
    found = explain(result, NOW + 60)
    assert found.state is State.TRUSTED
    assert found.text().splitlines() == [
        "host1 is trusted.",
        "",
        "  since          2027-01-15 08:00:00 UTC (1 min ago)",
        "  looked at      2027-01-15 08:00:00 UTC (1 min ago)",
        "  until          2027-01-15 08:15:00 UTC (in 14 min)",
        "  policy         test",
        "  matches        as installed",
        "  TPM known by   pinned",
    ]


def test_trust_that_has_expired_is_none():
    host = SoftwareAttester()
    result, _ = attested(host, [host.reference()])
    found = explain(result, NOW + 900)
    assert found.state is State.STALE
    assert found.headline.startswith("host1 counts as not trusted")
    assert found.advice[0].startswith("See whether `xentpm-attest watch` runs")
    assert explain(result, NOW, state=State.NOT_ENROLLED).headline == "host1 is not enrolled."


def test_since_when_is_told_without_a_break():
    host = SoftwareAttester()
    good = host.reference()
    offline = unappraised(host.record(), POLICY, NOW + 300, finding("HOST_OFFLINE"))
    trusted, _ = attested(host, [good])
    host.extend(9, b"x")
    changed, _ = attested(host, [good], NOW + 600)
    again, _ = attested(host, [good], NOW + 900)
    found = explain(again, NOW + 901, Known(history=[changed, offline, trusted]))
    assert dict(found.facts)["since"].startswith("2027-01-15 08:10:00 UTC")
    assert dict(found.facts)["last trusted"].startswith("2027-01-15 08:00:00 UTC")
    assert dict(found.paragraphs[0].facts)["since"].startswith("2027-01-15 08:10:00 UTC")


def test_results_of_other_hosts_and_later_ones_are_no_history():
    host, other = SoftwareAttester(), SoftwareAttester()
    mine = unappraised(host.record(), POLICY, NOW, finding("PCR_CHANGED", where="sha256:9"))
    theirs, _ = attested(other, [other.reference()], NOW - 60)
    later, _ = attested(host, [host.reference()], NOW + 60)
    found = explain(mine, NOW + 61, Known(history=[theirs, later]))
    assert dict(found.facts)["last trusted"] == "never, as far as is known"


@pytest.mark.parametrize("code", sorted(FINDING_KINDS))
def test_every_finding_has_words_and_advice_of_its_own(code):
    host = SoftwareAttester()
    clock = TpmClock(1, 1, 1, True, 1)
    result = conclude(host.record(), POLICY, NOW, (finding(code), finding("PCR_CHANGED")), clock=clock)
    text = explain(result, NOW, word="host1").text()
    assert " ".join(FINDING_KINDS[code].title.split()) in " ".join(text.split())
    if FINDING_KINDS[code].severity is not Severity.INFO:
        assert FINDING_KINDS[code].advice.replace("HOST", "host1") in " ".join(text.split())
        if "enroll --replace" in text:  # for this host alone, and with what proves its keys
            assert "enroll --replace --host host1 --ek-ca" in " ".join(text.split())


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_headline(state):
    host = SoftwareAttester()
    result = unappraised(host.record(), POLICY, NOW, finding("INTERNAL_ERROR"))
    assert explain(result, NOW, state=state).headline.startswith(("host1 ", "Nothing is known about host1"))


def test_a_tag_that_is_missing_is_none_of_what_was_booted():
    host = SoftwareAttester()
    clock = TpmClock(1, 1, 1, True, 1)
    for codes, told in ((["ASSET_TAG_MISSING"], "asset tag"), (["ASSET_TAG_WRONG", "PCR_CHANGED"], "booted")):
        result = conclude(host.record(), POLICY, NOW, [finding(code) for code in codes], clock=clock)
        assert told in explain(result, NOW).headline


def test_the_gravest_comes_first_and_advice_comes_once():
    findings = (finding("CLOCK_UNSAFE"), finding("HOST_REBOOTED"), finding("PCR_CHANGED", where="sha256:8"))
    findings += (finding("PCR_CHANGED", where="sha256:9"),)
    host = SoftwareAttester()
    found = explain(conclude(host.record(), POLICY, NOW, findings), NOW)
    assert [one.code for one in found.paragraphs] == [
        "PCR_CHANGED",
        "PCR_CHANGED",
        "CLOCK_UNSAFE",
        "HOST_REBOOTED",
    ]
    assert len(found.advice) == 2
    assert "3. warning: The TPM lost power" in found.text()
    assert "4. info: The host was started anew" in found.text()


def test_nothing_that_a_host_says_can_repaint_a_terminal():
    host = SoftwareAttester(name="ho\x1b[31mst\u202e")
    found = finding("PLUGIN_ERROR", detail="\x1b]0;x\x07\nhello", component="\x9b")
    text = explain(unappraised(host.record(), POLICY, NOW, found), NOW).text()
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\\x1b]0;x\\x07\\nhello" in text


def test_the_same_for_programs():
    story = Story().explained()
    found = story.to_object()
    assert list(found) == ["version", "host", "state", "headline", "facts", "findings", "advice"]
    assert found["state"] == "untrusted-measurement"
    assert found["findings"][0]["code"] == "PCR_CHANGED"
    assert found["findings"][0]["facts"][0]["name"] == "expected"


def test_lines_are_wrapped_but_digests_are_not_broken():
    paragraph = Paragraph("PCR_CHANGED", Severity.FAILED, "t " * 80, (("expected", "a" * 150),), ("n " * 90,))
    text = Explanation("id", "name", State.TRUSTED, "h " * 80, (), (paragraph,), ("do " * 60,)).text()
    assert "a" * 150 in text
    assert all(len(line) <= TEXT_WIDTH or "a" * 150 in line for line in text.splitlines())


def test_stored_evidence_is_read_as_it_was_sent():
    host = SoftwareAttester()
    text = host.text(bytes(32))
    shown = Known(stored_evidence(QuoteEvidence.from_json(text))).shown
    assert (shown.pcrs, shown.event_log, shown.boot_log) == (host.pcrs, host.event_log(), None)
    assert Known(stored_evidence(None)).shown is None


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_breaks_no_digest(width):
    """A line that is too long is a digest, and it stands by itself."""
    story = Story()
    lines = story.explained().text(width).splitlines()
    long = [line.split() for line in lines if len(line) > width]
    assert all(len(words) == 1 for words in long), long
    assert story.good.pcrs["sha256"][9].hex() in " ".join(lines).split()


# Measured boot that was undone

UNDONE = finding("MEASURED_BOOT_UNDONE", where="measured_boot", detail="grubx64.efi: the vendor's")
ORDINARY = "host1 is not trusted: what it booted is not what was approved."


def undone(*places, code="PCR_NOT_EXTENDED", more=(), says=UNDONE, known=None):
    host = SoftwareAttester()
    found = (finding("HOST_REBOOTED"), *(finding(code, where=place) for place in places), *more, says)
    result = conclude(host.record(), POLICY, NOW, found, clock=TpmClock(1, 1, 1, True, 1))
    return explain(result, NOW, known, word="host1")


@pytest.mark.parametrize("more", [[], [finding("PCR_CHANGED", where="sha256:4")]])
def test_measured_boot_that_was_undone_stands_behind_the_ordinary_sentence(more):
    found = undone("sha256:8", "sha256:9", more=more)
    assert found.headline == f"{ORDINARY} It says that measured boot was undone by an update."
    assert found.state is State.UNTRUSTED_MEASUREMENT
    assert [one.code for one in found.paragraphs][:2] == [UNDONE.code, "PCR_NOT_EXTENDED"]
    assert dict(found.paragraphs[0].facts)["detail"] == UNDONE.detail
    assert found.advice[0].startswith("Run xentpm-boot enable on the host")


@pytest.mark.parametrize(
    ("places", "code", "more"),
    [
        (["sha256:8", "sha256:9"], "PCR_CHANGED", []),
        (["sha256:8"], "PCR_NOT_EXTENDED", []),
        (["sha256:8"], "PCR_NOT_EXTENDED", [finding("PCR_CHANGED", where="sha256:9")]),
        (["sha256:8", "sha256:9"], "PCR_NOT_EXTENDED", [finding("PCR_CHANGED", where="sha256:7")]),
        (["sha256:8", "sha256:9"], "PCR_NOT_EXTENDED", [finding("ASSET_TAG_WRONG", where="asset_tag")]),
    ],
)
def test_it_explains_no_other_failure(places, code, more):
    found = undone(*places, code=code, more=more)
    assert found.headline == ORDINARY
    assert found.paragraphs[0].code == code


def test_that_it_contradicts_the_registers_is_said():
    shown = stored_evidence(SoftwareAttester().quote_evidence(bytes(32)))
    found = undone("sha256:9", code="PCR_CHANGED", known=Known(shown))
    (said,) = (one for one in found.paragraphs if one.code == UNDONE.code)
    assert said.notes[0].startswith("This contradicts what the TPM signed: PCR 8 or 9 is not blank")
    for one in (
        undone("sha256:0", code="PCR_CHANGED", known=Known(shown)),
        undone("sha256:9", code="PCR_CHANGED"),
        undone("sha256:9", code="PCR_CHANGED", known=Known(shown), says=replace(UNDONE, actual="tboot")),
    ):
        assert not any("contradicts" in note for paragraph in one.paragraphs for note in paragraph.notes)


@pytest.mark.parametrize("code", ["MEASURED_BOOT_UNDONE", "MEASURED_BOOT_PENDING"])
def test_a_policy_that_does_not_take_the_word_alone(code):
    """Nothing that was booted is wrong."""
    found = undone(says=finding(code, Severity.FAILED))
    assert found.headline == (
        "host1 is not trusted: the policy does not take what it says of its measured boot set-up."
    )
    found = undone("sha256:7", code="PCR_CHANGED", says=finding(code, Severity.FAILED))
    assert found.headline == ORDINARY


def test_a_host_that_says_so_beside_what_is_not_of_the_boot_loader():
    found = undone("sha256:0", code="PCR_CHANGED")
    assert [one.code for one in found.paragraphs] == ["PCR_CHANGED", UNDONE.code, "HOST_REBOOTED"]
    host = SoftwareAttester()
    says = {"untrusted_boot_setup": BootSetup("grub-tpm", "undone")}
    trusted, _ = attested(host, [host.reference()], evidence=says)
    assert explain(trusted, NOW).headline == "host1 is trusted."


def test_without_its_word_it_is_a_changed_boot():
    host = SoftwareAttester()
    result = conclude(host.record(), POLICY, NOW, (finding("PCR_CHANGED", where="sha256:8"),))
    assert explain(result, NOW).headline.endswith("what it booted is not what was approved.")
