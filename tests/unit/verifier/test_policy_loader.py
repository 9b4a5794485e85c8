"""A policy file is used only when nothing is wrong with it, and all that is wrong is told at once."""

import hashlib

import pytest

from xentpm_lib.errors import PolicyError
from xentpm_lib.evidence.pcr import PCR_COUNT
from xentpm_lib.verifier.findings import FINDING_KINDS, Severity
from xentpm_lib.verifier.policy.loader import (
    PolicyMistakes,
    load_policy,
    policy_mistakes,
    shipped,
    shipped_names,
    shipped_text,
)
from xentpm_lib.verifier.policy.model import BankRules, BootPath, Replay, TagRule, Timing
from xentpm_lib.verifier.records import EkTrust

SMALL = """
version = 1
name = "small"
boot = "firmware"
[pcrs.sha256]
shared = [0]
"""

FULL = """
version = 1
name = "full"
title = "Everything said"
boot = "uefi-grub"
[pcrs.sha384]
shared = [7, 4, 0]
per_host = [9, 8, 1]
extended = [0, 4, 8, 9]
[pcrs.sha256]
shared = [0, 17, 18]
[dynamic_launch]
required = true
[event_log]
replay = "required"
pcrs = [4, 0]
[asset_tag]
rule = "required"
[keys]
ek = ["certificate", "first_use"]
hashes = ["sha384"]
[timing]
period = "1m"
jitter = 0.25
lease = "10m"
evidence_age = "30s"
call_timeout = "20s"
attempts = 5
backoff = "500ms"
[findings]
CLOCK_UNSAFE = "failed"
BOOT_LOG_MISMATCH = "info"
[actions]
disable_host = true
[retention]
results = "30d"
notifications = "400d"
"""


def mistakes(text):
    return [str(mistake) for mistake in policy_mistakes(text)]


def with_line(line, table="", text=SMALL):
    """The small policy with one more line, at the top or in a table of its own."""
    return f"{line}\n{text}" if not table else f"{text}\n[{table}]\n{line}\n"


def test_what_is_left_out_has_its_default():
    policy = load_policy(SMALL)
    assert (policy.name, policy.title, policy.boot) == ("small", "small", BootPath.FIRMWARE)
    assert policy.banks == (BankRules("sha256", (0,), (), (0,)),)
    assert (policy.dynamic_launch, policy.replay, policy.event_log_pcrs) == (False, Replay.WHEN_PRESENT, (0,))
    assert policy.asset_tag is TagRule.OPTIONAL
    assert policy.ek_trust == {EkTrust.CERTIFICATE, EkTrust.PINNED}
    assert policy.hashes == {"sha256", "sha384", "sha512"}
    assert policy.timing == Timing(300.0, 0.1, 900.0, 60.0, 60.0, 3, 5.0)
    assert (policy.severities, policy.disable_host, policy.keep_results_s) == ({}, False, 90 * 86400.0)
    assert policy.keep_notifications_s == 90 * 86400.0
    assert (policy.text, policy.digest) == (SMALL, hashlib.sha256(SMALL.encode()).hexdigest())


def test_everything_can_be_said():
    policy = load_policy(FULL)
    assert (policy.name, policy.title, policy.boot) == ("full", "Everything said", BootPath.UEFI_GRUB)
    assert policy.banks == (
        BankRules("sha384", (0, 4, 7), (1, 8, 9), (0, 4, 8, 9)),
        BankRules("sha256", (0, 17, 18), (), (0, 17, 18)),
    )
    assert (policy.dynamic_launch, policy.replay, policy.event_log_pcrs) == (True, Replay.REQUIRED, (0, 4))
    assert policy.asset_tag is TagRule.REQUIRED
    assert policy.ek_trust == {EkTrust.CERTIFICATE, EkTrust.FIRST_USE}
    assert policy.hashes == {"sha384"}
    assert policy.timing == Timing(60.0, 0.25, 600.0, 30.0, 20.0, 5, 0.5)
    assert policy.severities == {"CLOCK_UNSAFE": Severity.FAILED, "BOOT_LOG_MISMATCH": Severity.INFO}
    assert (policy.disable_host, policy.keep_results_s) == (True, 30 * 86400.0)
    assert policy.keep_notifications_s == 400 * 86400.0


def test_all_registers_of_each_bank_are_asked_for():
    assert load_policy(FULL).selection.to_text() == "sha384:all+sha256:all"


def test_an_empty_policy_is_none():
    assert mistakes("") == [
        "version: it is missing",
        "name: it is missing",
        "boot: it is missing",
        "pcrs: it is missing",
    ]


GRUB = SMALL.replace("firmware", "uefi-grub").replace("[0]", "[0, 4, 8, 9]") + "extended = {}\n"
SMALL_TXT = SMALL.replace("firmware", "txt").replace("[0]", "[17, 18, 19]") + "extended = [17]\n"
SMALL_TXT += "[dynamic_launch]\nrequired = true\n"
REQUIRED = SMALL + '[event_log]\nreplay = "required"\n[asset_tag]\nrule = "required"\n[findings]\n'
REQUIRED = REQUIRED.replace("{", "{{").replace("}", "}}") + '# {}\n{} = "info"\n'
BAD = [
    ("boot", SMALL.replace('"firmware"', '"bios"'), "boot: 'bios' is not known, expected one of: "),
    ("version", SMALL.replace("= 1", "= 2"), "version: 2 is out of range"),
    ("name", SMALL.replace('"small"', '"../small"'), "name: this text is not allowed here"),
    ("unknown key", with_line("surplus = 1"), "surplus: there is no such key"),
    ("unknown table", with_line("a = 1", "pcr.sha256"), "pcr: there is no such key"),
    ("misspelled key", with_line('perod = "5m"', "timing"), "timing.perod: there is no such key"),
    ("no bank", SMALL.replace("[pcrs.sha256]\nshared = [0]", "[pcrs]"), "pcrs: there is no bank"),
    ("unknown bank", with_line("shared = [0]", "pcrs.sha257"), "pcrs.sha257: there is no such bank"),
    ("SHA-1 bank", with_line("shared = [0]", "pcrs.sha1"), "pcrs.sha1: SHA-1 is broken"),
    ("SHA-1 hash", with_line('hashes = ["sha1"]', "keys"), "keys.hashes[0]: 'sha1' is not known"),
    ("no hash", with_line("hashes = []", "keys"), "keys.hashes: it is empty"),
    ("no key trust", with_line("ek = []", "keys"), "keys.ek: it is empty"),
    ("accept all", with_line('ek = ["any"]', "keys"), "keys.ek[0]: 'any' is not known"),
    ("nothing compared", SMALL.replace("[0]", "[]"), "pcrs.sha256: no PCR is compared"),
    ("no register", SMALL.replace("[0]", "[0, 24]"), "pcrs.sha256.shared[1]: 24 is out of range"),
    ("twice", SMALL.replace("[0]", "[0, 0]"), "pcrs.sha256.shared[1]: 0 is given twice"),
    ("overlap", SMALL + "per_host = [0]\n", "pcrs.sha256.per_host: PCR 0 is in shared, too"),
    ("serials", SMALL.replace("[0]", "[0, 1]"), "pcrs.sha256.shared: PCR 1 holds serial numbers"),
    ("debug", SMALL.replace("[0]", "[0, 16]"), "pcrs.sha256: PCR 16 can be reset by software"),
    ("application", SMALL + "extended = [0, 23]\n", "pcrs.sha256: PCR 23 can be reset by software"),
    ("blank bank", SMALL + "extended = []\n", "pcrs.sha256.extended: it is empty"),
    ("blank chain", GRUB.format("[0]"), 'pcrs.sha256.extended: PCR 4, 8, 9 is not in it, which boot = "uefi'),
    ("blank launch", SMALL_TXT, 'pcrs.sha256.extended: PCR 18, 19 is not in it, which boot = "txt"'),
    (
        "no log required",
        REQUIRED.format("event_log", "EVENT_LOG_MISSING"),
        "findings.EVENT_LOG_MISSING: it is",
    ),
    ("any log", REQUIRED.format("event_log", "EVENT_LOG_MISMATCH"), "findings.EVENT_LOG_MISMATCH: it is"),
    (
        "no tag required",
        REQUIRED.format("asset_tag", "ASSET_TAG_MISSING"),
        "findings.ASSET_TAG_MISSING: it is",
    ),
    ("any tag", REQUIRED.format("asset_tag", "ASSET_TAG_WRONG"), "findings.ASSET_TAG_WRONG: it is"),
    ("no chain", SMALL.replace("firmware", "uefi-grub"), 'pcrs: boot = "uefi-grub" needs PCR 4, 8, 9'),
    ("no launch", SMALL.replace("firmware", "txt"), 'pcrs: boot = "txt" needs PCR 17, 18, 19 compared'),
    ("no PCR 0", SMALL.replace("[0]", "[2]"), 'pcrs: boot = "firmware" needs PCR 0 compared'),
    ("launch", with_line("required = true", "dynamic_launch"), "dynamic_launch.required: PCR 17, 18 is not"),
    ("log", with_line("pcrs = []", "event_log"), "event_log.pcrs: no PCR has to be what the log leads to"),
    ("log PCR", with_line("pcrs = [17]", "event_log"), "event_log.pcrs[0]: 17 is out of range"),
    ("replay", with_line("replay = true", "event_log"), "event_log.replay: expected text, got true or false"),
    ("lease", with_line('lease = "5m"', "timing"), "timing.lease: trust ends after 5m, before it is renewed"),
    ("jitter", with_line("jitter = 0.6", "timing"), "timing.jitter: 0.6 is out of range"),
    ("attempts", with_line("attempts = 0", "timing"), "timing.attempts: 0 is out of range"),
    ("seconds", with_line("period = 300", "timing"), "timing.period: expected text, got a whole number: 300"),
    ("forever", with_line('lease = "31d"', "timing"), "timing.lease: 31d is out of range"),
    ("no finding", with_line('CLOCK_UNSAF = "info"', "findings"), "findings.CLOCK_UNSAF: there is no such"),
    ("severity", with_line('CLOCK_UNSAFE = "off"', "findings"), "findings.CLOCK_UNSAFE: 'off' is not known"),
    ("retention", with_line('results = "1h"', "retention"), "retention.results: 1h is out of range"),
    (
        "notifications",
        with_line('notifications = "1h"', "retention"),
        "retention.notifications: 1h is out of range",
    ),
]


@pytest.mark.parametrize(("text", "mistake"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_bad_policy_is_refused(text, mistake):
    found = mistakes(text)
    assert len(found) == 1, found
    assert found[0].startswith(mistake)
    with pytest.raises(PolicyError) as raised:
        load_policy(text, "mine.toml")
    assert str(raised.value).startswith(f"mine.toml: a mistake\n  {mistake}")


@pytest.mark.parametrize("code", [code for code, kind in FINDING_KINDS.items() if not kind.adjustable])
def test_what_holds_the_proof_together_cannot_be_weakened(code):
    assert mistakes(with_line(f'{code} = "info"', "findings")) == [
        f"findings.{code}: it always counts as {FINDING_KINDS[code].severity.value}"
    ]


@pytest.mark.parametrize("code", [code for code, kind in FINDING_KINDS.items() if kind.adjustable])
def test_the_rest_can_be_adjusted(code):
    for severity in Severity:
        policy = load_policy(with_line(f'{code} = "{severity.value}"', "findings"))
        assert policy.severities == {code: severity}


def test_a_txt_policy_cannot_do_without_the_launch():
    text = shipped_text("txt").replace("required = true", "required = false")
    assert mistakes(text) == ['dynamic_launch.required: boot = "txt" is a dynamic launch']


def test_all_mistakes_are_told_at_once_with_hints():
    text = with_line('lease = "5m"\nattempts = "3"', "timing") + '[findings]\nPCR_CHANGED = "info"\n'
    with pytest.raises(PolicyMistakes) as raised:
        load_policy("surplus = 1\n" + text, "mine.toml")
    assert str(raised.value).splitlines() == [
        "mine.toml: 4 mistakes",
        "  timing.attempts: expected a whole number, got text",
        "  findings.PCR_CHANGED: it always counts as failed",
        "    Take the line out.",
        "  timing.lease: trust ends after 5m, before it is renewed",
        "    At least 330s: period and jitter. Three times the period is usual.",
        "  surplus: there is no such key",
        "    There are: version, name, boot, pcrs, event_log, keys, dynamic_launch, title, asset_tag,"
        " timing, findings, actions, retention.",
    ]
    assert len(raised.value.mistakes) == 4
    assert raised.value.code == "XENTPM_POLICY"


def test_what_is_no_toml_is_the_only_mistake():
    assert mistakes("version = 1\nname = \n") == ["line 2, column 8: no TOML: Invalid value"]
    assert len(mistakes("name = '\udcff'")) == 1


@pytest.mark.parametrize("name", shipped_names())
def test_the_shipped_policies_have_no_mistakes_and_trust_nobody_on_first_use(name):
    policy = shipped(name)
    assert (policy.name, policy.boot.value) == (name, name)
    assert policy.text == shipped_text(name)
    assert EkTrust.FIRST_USE not in policy.ek_trust
    assert policy.severities == {}
    for rules in policy.banks:
        assert set(rules.extended) == set(rules.compared) <= set(range(PCR_COUNT))
        assert rules.bank == "sha256"


@pytest.mark.parametrize("name", ["accept-all", "", "../model", "uefi-grubb"])
def test_another_name_is_refused(name):
    with pytest.raises(PolicyError, match="ships with the verifier"):
        shipped(name)
